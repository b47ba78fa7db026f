"""The batches of a cross-encoder's training as a map-style dataset: item i is what one process reads in one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.training.batch import compatible_tasks, distinct_documents, guarded, relations, units_of
from tart.training.batches import Batches
from tart.training.examples import Drawn, Examples
from tart.training.first_stage import FirstStageScores
from tart.training.full_settings import FullRecipe

GUARD = 0.9
"""Share of the positive's score from which on another query's document of the right kind may be right: no negative."""


class PairReader(Protocol):
    """What turns pairs into tokens: a reranker of this project."""

    def tokens(self, pairs: Sequence[tuple[Query, Document]]) -> dict[str, list[list[int]]]:
        """For each input of the model its values, a list for each pair."""

    def padded(self, tokens: dict[str, list[list[int]]]) -> dict[str, torch.Tensor]:
        """The same as tensors of shape (pairs, longest)."""


class FullBatches(Batches):
    """The batches of a cross-encoder.

    Args:
        examples: what to train on.
        recipe: the recipe.
        reader: makes tokens of pairs.
        world: how many processes share a step.

    Attributes:
        first_stage: the first stage's scores; to be set where the recipe needs them.

    Raises:
        ConfigError: the processes can't share a batch evenly, or an epoch has fewer examples than one batch.
    """

    def __init__(self, examples: Examples, recipe: FullRecipe, reader: PairReader, world: int = 1) -> None:
        if recipe.loop.batch_size % world:
            raise ConfigError(
                f"loop.batch_size: {recipe.loop.batch_size} examples can't be shared by {world} processes"
            )
        super().__init__(examples, recipe, world)
        self._reader, self._in_batch, self._weight = reader, recipe.loss.in_batch, recipe.model.first_stage_weight
        self.first_stage: FirstStageScores | None = None
        self._compatible, self._units = compatible_tasks(examples.collection), units_of(examples.collection)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """`parts`, each with tokens `pair_*` and a `label`: whole lists, within the token budget where one fits."""
        step, part = divmod(number, self._world)
        drawn = self.drawn(step)
        listed = [list(one.documents) for one in drawn]
        first: list[float] = []
        if self.first_stage is not None:
            listed, first = self._with_first_stage(self.first_stage, drawn)
        pairs = [(one.query, document) for one, some in zip(drawn, listed, strict=True) for document in some]
        tokens = self._reader.tokens(pairs)
        lengths = [len(ids) for ids in tokens["input_ids"]]
        rows = list(_lists([len(some) for some in listed]))
        width = [max(lengths[row] for row in some) for some in rows]
        order = sorted(range(len(drawn)), key=lambda one: width[one])[part :: self._world]
        parts = []
        for some in _within_budget(order, width, rows, self._loop.token_budget):
            chosen = {key: [values[row] for one in some for row in rows[one]] for key, values in tokens.items()}
            label = {
                "sizes": [len(rows[one]) for one in some],
                "lists": len(order),
                "step": step,
                "ids": [drawn[one].example_id for one in some],
            }
            if self._weight:
                label["first"] = [self._weight * first[row] for one in some for row in rows[one]]
            parts.append({**{f"pair_{k}": v for k, v in self._reader.padded(chosen).items()}, "label": label})
        return {"parts": parts}

    def _with_first_stage(
        self, first_stage: FirstStageScores, drawn: Sequence[Drawn]
    ) -> tuple[list[list[Document]], list[float]]:
        """The documents of each list, those of other examples that score highest behind its own; and all scores."""
        documents = distinct_documents(drawn)
        column = {document.doc_id: number for number, document in enumerate(documents)}
        found = relations(drawn, documents, self._compatible, self._units)
        scores = first_stage.of(drawn, documents)
        allowed = guarded(found, scores, GUARD) & ~found.own
        lists, flat = list[list[Document]](), list[float]()
        for row, one in enumerate(drawn):
            others = np.flatnonzero(allowed[row])
            best = others[np.argsort(-scores[row, others], kind="stable")][: self._in_batch]
            columns = [*(column[document.doc_id] for document in one.documents), *best.tolist()]
            lists.append([documents[number] for number in columns])
            flat += scores[row, columns].tolist()
        return lists, flat


def _lists(sizes: Sequence[int]) -> Iterator[range]:
    start = 0
    for size in sizes:
        yield range(start, start + size)
        start += size


def _within_budget(
    order: Sequence[int], width: Sequence[int], rows: Sequence[range], budget: int
) -> Iterator[list[int]]:
    """Lists that go through the model together, shortest first; padded to the longest they fit the budget."""
    some: list[int] = []
    for one in order:
        pairs = sum(len(rows[other]) for other in (*some, one))
        if some and pairs * width[one] > budget:
            yield some
            some = []
        some.append(one)
    if some:
        yield some
