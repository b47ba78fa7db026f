"""Means and differences over tasks: each task counts the same, and the parts of a group together as one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from eval.statistics import PairedDifference, paired

Values = Mapping[str, float]


def task_weights(tasks: Iterable[str], groups: Mapping[str, str]) -> dict[str, float]:
    """How much each task counts; the weights sum to 1.

    Args:
        tasks: their names.
        groups: task -> the set of which it is a part; "", or no entry: it stands alone.

    >>> task_weights(["a", "b1", "b2"], {"b1": "b", "b2": "b"})
    {'a': 0.5, 'b1': 0.25, 'b2': 0.25}
    """
    unit_of = {task: (groups.get(task, ""), "" if groups.get(task) else task) for task in tasks}
    parts = Counter(unit_of.values())
    return {task: 1 / (len(parts) * parts[unit]) for task, unit in unit_of.items()}


def joined_interval(
    rows: Mapping[str, tuple[float, float, float]], weights: Mapping[str, float]
) -> tuple[float, float]:
    """The interval of the weighted mean of independent figures: their errors add as squares.

    Args:
        rows: task -> value, low, high.
        weights: task -> weight.

    >>> joined_interval({"a": (0.5, 0.2, 0.9), "b": (0.5, 0.1, 0.8)}, {"a": 0.5, "b": 0.5})
    (0.25, 0.75)
    """
    middle = math.fsum(weights[task] * value for task, (value, _, _) in rows.items())
    below = math.sqrt(math.fsum((weights[task] * (value - low)) ** 2 for task, (value, low, _) in rows.items()))
    above = math.sqrt(math.fsum((weights[task] * (high - value)) ** 2 for task, (value, _, high) in rows.items()))
    return middle - below, middle + above


def compare_values(
    first: Mapping[str, Values], second: Mapping[str, Values], groups: Mapping[str, str], *, seed: int = 0
) -> tuple[dict[str, PairedDifference], PairedDifference]:
    """Paired differences (first - second) of each task, and over all tasks.

    The p-value over all tasks is that of the randomization test on differences weighted by the task's weight / its
    number of queries; the interval joins those of the tasks.

    Args:
        first: task -> query_id -> value.
        second: the same tasks and queries.
        groups: see `task_weights`.
        seed: of the bootstrap and the randomization test.
    """
    tasks = {task: paired(first[task], second[task], seed=seed) for task in first}
    if len(tasks) == 1:
        return tasks, next(iter(tasks.values()))
    weights = task_weights(first, groups)
    count = sum(map(len, first.values()))
    both = [
        {
            f"{task}/{query_id}": count * weights[task] / len(values) * value
            for task, values in side.items()
            for query_id, value in values.items()
        }
        for side in (first, second)
    ]
    low, high = joined_interval({task: (row.mean, row.low, row.high) for task, row in tasks.items()}, weights)
    return tasks, paired(both[0], both[1], seed=seed)._replace(low=low, high=high)
