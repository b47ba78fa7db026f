"""Which examples stand together in which step: a pure function of seed, epoch and step.

An epoch takes a quota of each task, shuffles, and cuts batches of three forms: families (one query under several
instructions stays together, with other queries of the same tasks), single tasks, and mixed ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from tart.errors import ConfigError
from tart.seeded import seeded, text_hash
from tart.training.examples import Place
from tart.training.settings import DataSettings


def quotas(counts: Mapping[str, int], settings: DataSettings) -> dict[str, int]:
    """How many examples of each task an epoch takes; more than it has in uniform mixing: then some come again.

    >>> quotas({"a": 100, "b": 25}, DataSettings(mixing="temperature", temperature=2.0, cap=80))
    {'a': 80, 'b': 25}
    """
    largest = max(counts.values())
    if settings.mixing == "uniform":
        return dict.fromkeys(counts, min(settings.cap, largest))
    if settings.mixing == "proportional":
        return {task: min(count, settings.cap) for task, count in counts.items()}
    share = {task: (count / largest) ** (1 / settings.temperature) for task, count in counts.items()}
    return {task: min(count, max(1, round(settings.cap * share[task]))) for task, count in counts.items()}


class Schedule:
    """The batches of a training run.

    Args:
        groups: each example's place and the group of its query.
        settings: quotas and the shares of the forms.
        batch_size: examples of a batch; what doesn't fill one at the end of an epoch is left out.
        seed: of the recipe.

    Raises:
        ConfigError: an epoch has fewer examples than one batch.
    """

    def __init__(self, groups: Iterable[tuple[Place, str]], settings: DataSettings, batch_size: int, seed: int) -> None:
        self._settings, self._batch_size, self._seed = settings, batch_size, seed
        self._group = dict(groups)
        self._places: dict[str, list[Place]] = defaultdict(list)
        for place in self._group:
            self._places[place.task].append(place)
        self._quotas = quotas({task: len(places) for task, places in self._places.items()}, settings)
        self._ends: list[int] = []  # steps up to the end of each epoch so far
        self._epoch: tuple[int, list[list[Place]]] = (-1, [])
        if sum(self._quotas.values()) < batch_size:
            raise ConfigError(
                f"an epoch has {sum(self._quotas.values())} examples; wanted at least loop.batch_size = {batch_size}"
            )

    def batch(self, step: int) -> tuple[int, list[Place]]:
        """The epoch of a step and its examples, `batch_size` of them."""
        while not self._ends or self._ends[-1] <= step:
            epoch = len(self._ends)
            self._ends.append((self._ends[-1] if self._ends else 0) + len(self._batches(epoch)))
        epoch = next(number for number, end in enumerate(self._ends) if step < end)
        return epoch, self._batches(epoch)[step - (self._ends[epoch - 1] if epoch else 0)]

    def _batches(self, epoch: int) -> list[list[Place]]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._plan(epoch))
        return self._epoch[1]

    def _plan(self, epoch: int) -> list[list[Place]]:
        random = seeded(self._seed, "epoch", str(epoch))
        together: dict[str, list[Place]] = defaultdict(list)
        for task in sorted(self._quotas):
            for place in self._taken(task, epoch):
                together[self._group[place]].append(place)
        families: dict[tuple[str, ...], list[list[Place]]] = defaultdict(list)
        alone: list[Place] = []
        for places in _shuffled(random, together.values()):
            tasks = tuple(sorted({place.task for place in places}))
            if len(tasks) > 1 and random.random() < self._settings.family_share:
                families[tasks].append(places)
            else:
                alone += places
        batches, rest = self._cut(self._of_families(families))
        several, mixed = self._cut([rest])  # small families share batches, siblings still side by side
        batches += several
        by_task: dict[str, list[Place]] = defaultdict(list)
        for place in alone:
            if random.random() < self._settings.task_share:
                by_task[place.task].append(place)
            else:
                mixed.append(place)
        more, rest = self._cut(by_task.values())
        random.shuffle(mixed := mixed + rest)
        last, _ = self._cut([mixed])
        batches += more + last
        random.shuffle(batches)
        return batches

    def _taken(self, task: str, epoch: int) -> list[Place]:
        """The epoch's share of a task: a cap takes other examples in the next epoch, until all have been seen.

        What an epoch takes goes by the query, so that siblings come together.
        """
        places, quota = self._places[task], self._quotas[task]
        by_query = sorted(range(len(places)), key=lambda row: text_hash(str(self._seed), self._group[places[row]]))
        start = epoch * quota
        rows = sorted(by_query[(start + number) % len(places)] for number in range(quota))
        return _shuffled(seeded(self._seed, "order", task), [places[row] for row in rows])

    @staticmethod
    def _of_families(families: Mapping[tuple[str, ...], list[list[Place]]]) -> list[list[Place]]:
        """For each set of sibling tasks its examples, those of one query side by side."""
        return [[place for group in groups for place in group] for _, groups in sorted(families.items())]

    def _cut(self, lists: Iterable[Sequence[Place]]) -> tuple[list[list[Place]], list[Place]]:
        """Whole batches, and what is left of each list."""
        batches, rest, size = list[list[Place]](), list[Place](), self._batch_size
        for places in lists:
            whole = len(places) // size * size
            batches += [list(places[start : start + size]) for start in range(0, whole, size)]
            rest += places[whole:]
        return batches, rest


def _shuffled(random: Random, items: Iterable[list[Place]] | Sequence[Place]) -> list:  # type: ignore[type-arg]
    listed = list(items)
    random.shuffle(listed)
    return listed
