"""What the batches of both kinds of models have in common: which examples stand in which step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from tart.training.examples import Drawn, Examples, draw
from tart.training.full_settings import FullRecipe
from tart.training.sampling import Schedule
from tart.training.settings import DualRecipe
from tart.training.steady_settings import SteadyRecipe

T = TypeVar("T")


class Batches(Dataset[dict[str, Any]]):
    """Batches by number: a pure function of the recipe, the collection and the number.

    Args:
        examples: what to train on.
        recipe: the recipe.
        world: how many processes share a step: item i is the part i % world of step i // world.

    Raises:
        ConfigError: an epoch has fewer examples than one batch.
    """

    def __init__(self, examples: Examples, recipe: DualRecipe | FullRecipe | SteadyRecipe, world: int = 1) -> None:
        self._examples, self._data, self._loop, self._seed = examples, recipe.data, recipe.loop, recipe.seed
        self._world = world
        self._schedule = Schedule(examples.groups(), recipe.data, recipe.loop.batch_size, recipe.seed)

    def __len__(self) -> int:
        return self._loop.steps * self._world

    def drawn(self, step: int) -> list[Drawn]:
        """The examples of a step, all processes together."""
        epoch, places = self._schedule.batch(step)
        tasks = self._examples.collection.tasks
        return [draw(self._examples.at(place), tasks[place.task], self._data, self._seed, epoch) for place in places]


class Tokens:
    """Texts as a bi-encoder reads them.

    Args:
        tokenizer: of the model, from transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def of(self, texts: list[str], limit: int) -> list[list[int]]:
        """The token ids of each text, special ones included, cut at a limit."""
        found = self._tokenizer(texts, truncation=True, max_length=limit, padding=False, verbose=False)
        return list(found["input_ids"])

    def padded(self, prefix: str, tokens: list[list[int]]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask`, shape (n, longest), each name behind a prefix."""
        ids = np.full((len(tokens), max(map(len, tokens))), self._tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, one in enumerate(tokens):
            ids[row, : len(one)], mask[row, : len(one)] = one, 1
        return {f"{prefix}input_ids": torch.from_numpy(ids), f"{prefix}attention_mask": torch.from_numpy(mask)}


def shared(items: Sequence[T], part: int, world: int) -> list[T]:
    """One process's part: every `world`-th item from `part` on; the last one comes again where parts differ in length.

    >>> shared("abcde", 1, 2)
    ['b', 'd', 'e']
    """
    length = -(-len(items) // world)
    return [items[min(row * world + part, len(items) - 1)] for row in range(length)]
