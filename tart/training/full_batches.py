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


SPREAD = 1.5
"""Longest by shortest pair of those that are padded to one length."""


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
        """`parts`: whole lists, within the token budget where one fits; `pairs0_*` are their shortest pairs' tokens."""
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
        size = [sum(lengths[row] for row in some) for some in rows]
        order = sorted(range(len(drawn)), key=lambda one: size[one])[part :: self._world]
        parts = []
        for some in _within_budget(order, size, self._loop.token_budget):
            chosen = [row for one in some for row in rows[one]]
            groups = _of_like_length(chosen, lengths)
            place = {row: number for number, row in enumerate(row for group in groups for row in group)}
            label = {
                "sizes": [len(rows[one]) for one in some],
                "place": torch.tensor([place[row] for row in chosen]),
                "lists": len(order),
                "step": step,
                "ids": [drawn[one].example_id for one in some],
            }
            if self._weight:
                label["first"] = [self._weight * first[row] for row in chosen]
            inputs = dict[str, Any](label=label)
            for number, group in enumerate(groups):
                padded = self._reader.padded({key: [values[row] for row in group] for key, values in tokens.items()})
                inputs.update({f"pairs{number}_{key}": value for key, value in padded.items()})
            parts.append(inputs)
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


def _within_budget(order: Sequence[int], size: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Lists whose gradients are made together: of at most `budget` tokens, padding not counted."""
    some, tokens = list[int](), 0
    for one in order:
        if some and tokens + size[one] > budget:
            yield some
            some, tokens = [], 0
        some.append(one)
        tokens += size[one]
    if some:
        yield some


def _of_like_length(rows: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Pairs that go through the model together, shortest first.

    >>> _of_like_length([0, 1, 2, 3], [50, 10, 11, 60])
    [[1, 2], [0, 3]]
    """
    groups = list[list[int]]()
    for row in sorted(rows, key=lambda row: lengths[row]):
        if groups and lengths[row] <= SPREAD * lengths[groups[-1][0]]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
