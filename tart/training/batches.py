"""What the batches of both kinds of models have in common: which examples stand in which step."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from tart.training.examples import Drawn, Examples, draw
from tart.training.full_settings import FullRecipe
from tart.training.sampling import Schedule
from tart.training.settings import DualRecipe


class Batches(Dataset[dict[str, Any]]):
    """Batches by number: a pure function of the recipe, the collection and the number.

    Args:
        examples: what to train on.
        recipe: the recipe.
        world: how many processes share a step: item i is the part i % world of step i // world.

    Raises:
        ConfigError: an epoch has fewer examples than one batch.
    """

    def __init__(self, examples: Examples, recipe: DualRecipe | FullRecipe, world: int = 1) -> None:
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
