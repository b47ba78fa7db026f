"""The batches of a cross-encoder's training as a map-style dataset: item i is what one process reads in one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.training.batches import Batches
from tart.training.examples import Examples
from tart.training.full_settings import FullRecipe


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

    Raises:
        ConfigError: the processes can't share a batch evenly, or an epoch has fewer examples than one batch.
    """

    def __init__(self, examples: Examples, recipe: FullRecipe, reader: PairReader, world: int = 1) -> None:
        if recipe.loop.batch_size % world:
            raise ConfigError(
                f"loop.batch_size: {recipe.loop.batch_size} examples can't be shared by {world} processes"
            )
        super().__init__(examples, recipe, world)
        self._reader = reader

    def __getitem__(self, number: int) -> dict[str, Any]:
        """`parts`, each with tokens `pair_*` and a `label`: whole lists, within the token budget where one fits."""
        step, part = divmod(number, self._world)
        drawn = self.drawn(step)
        tokens = self._reader.tokens([(one.query, document) for one in drawn for document in one.documents])
        lengths = [len(ids) for ids in tokens["input_ids"]]
        rows = list(_lists([len(one.documents) for one in drawn]))
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
            parts.append({**{f"pair_{k}": v for k, v in self._reader.padded(chosen).items()}, "label": label})
        return {"parts": parts}


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
