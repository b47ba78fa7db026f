"""From values per query to figures: means and intervals, differences between conditions, verdicts, confusion."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from urllib.parse import unquote

from eval.measures import mean, sensitivity, x2_gap
from eval.over_tasks import compare_values, joined_interval, task_weights
from eval.report import ALL, Cell, Confusion, Difference, Report, Result, Verdict, unique
from eval.statistics import PairedDifference, bootstrap_interval, holm, paired
from tart.run import Run

SIGNIFICANT = 0.05
NOTHING = 0.01  # a difference of up to one point is none that a user would notice

T = TypeVar("T")


def summarise(cells: Sequence[Cell], measures: Sequence[str], *, sources: Sequence[str] = (), seed: int = 0) -> Report:
    """The figures of an evaluation.

    Args:
        cells: one for each system, task, condition and pool.
        measures: the first decides the verdicts; gaps are computed for all of them.
        sources: names of all tasks of the pool, distractors included: the columns of the confusion tables.
        seed: of the bootstrap and the randomization test.
    """
    cells = [*cells, *_over_wordings(cells)]
    results = [row for cell in cells for row in _results(cell, seed)]
    results += [*_sensitivities(cells), *_gaps(cells, measures, seed)]
    differences = _differences(cells, seed)
    return Report(
        results=[*_means_over_tasks(results, {cell.task: cell.group for cell in cells}), *results],
        differences=differences,
        verdicts=[*_verdicts(cells, differences, measures[0])],
        confusion=_confusion(cells, sources),
    )


def judge(differences: Mapping[str, Difference]) -> str:
    """One word for how a system takes its instructions.

    The rule, first match counts; every difference is over all tasks, in the pooled search where there is one:

    - "listens": its own instruction is better than none, than another task's and than a contentless one, each with
      p < 0.05;
    - "indifferent": the intervals of own against none and own against another task's both lie within 1 point;
    - "disturbed": its own instruction is worse than none, with p < 0.05;
    - "not asked": "none", "other" or "generic" was not measured;
    - "mixed": anything else, for example better than none, and no better than with another task's instruction.

    Args:
        differences: condition -> its value minus that of "own".
    """
    wanted = ("none", "other", "generic")
    asked = [differences[name] for name in wanted if name in differences]
    if len(asked) == len(wanted) and all(row.mean < 0 and row.p < SIGNIFICANT for row in asked):
        return "listens"
    near = [differences[name] for name in ("none", "other") if name in differences]
    if len(near) == 2 and all(max(-row.low, row.high) <= NOTHING for row in near):
        return "indifferent"
    if "none" in differences and differences["none"].mean > 0 and differences["none"].p < SIGNIFICANT:
        return "disturbed"
    return "mixed" if len(asked) == len(wanted) else "not asked"


def _grouped(rows: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    groups: dict[Hashable, list[T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def _over_wordings(cells: Sequence[Cell]) -> Iterator[Cell]:
    """For each task the mean of every query over the wordings, as one more condition; equal values have that mean."""
    worded = [cell for cell in cells if cell.instruction.startswith("wording-")]
    for group in _grouped(worded, lambda cell: (cell.suite, cell.task, cell.system, cell.pool)):
        first = group[0]
        values = {
            measure: {
                query_id: value + math.fsum(cell.values[measure][query_id] - value for cell in group) / len(group)
                for query_id, value in found.items()
            }
            for measure, found in first.values.items()
        }
        yield replace(first, instruction="wordings", run=Run({}, 1), values=values, file="")


def _result(cell: Cell, measure: str, value: float, low: float | None, high: float | None, queries: int) -> Result:
    return Result(**cell.labels(), measure=measure, value=value, low=low, high=high, queries=queries)


def _results(cell: Cell, seed: int) -> Iterator[Result]:
    for measure, values in cell.values.items():
        low, high = bootstrap_interval(values.values(), seed=seed)
        yield _result(cell, measure, mean(values), low, high, len(values))


def _sensitivities(cells: Sequence[Cell]) -> Iterator[Result]:
    worded = [cell for cell in cells if cell.instruction.startswith("wording-")]
    for group in _grouped(worded, lambda cell: (cell.suite, cell.task, cell.system, cell.pool)):
        first = group[0]
        for measure, values in first.values.items():
            found = sensitivity([mean(cell.values[measure]) for cell in group])
            for name in ("deviation", "sensitivity", "worst"):
                value = getattr(found, name)
                if value is not None:
                    row = _result(first, f"{measure} {name}", value, None, None, len(values))
                    yield row._replace(instruction="wordings")


def _gaps(cells: Sequence[Cell], measures: Sequence[str], seed: int) -> Iterator[Result]:
    """Closed minus pooled, per task."""
    for group in _grouped(cells, lambda cell: (cell.suite, cell.task, cell.system, cell.instruction)):
        by_pool = {cell.pool: cell for cell in group}
        if len(by_pool) == 2:
            for measure in measures:
                closed, pooled = (by_pool[pool].values[measure] for pool in ("closed", "pooled"))
                gap = x2_gap({"": mean(closed)}, {"": mean(pooled)})
                found = paired(closed, pooled, seed=seed)
                yield _result(by_pool["pooled"], f"{measure} gap", gap, found.low, found.high, found.queries)


def _means_over_tasks(results: Sequence[Result], groups: Mapping[str, str]) -> Iterator[Result]:
    """The mean over all tasks, and that over each group, where every task has a value: others can't be compared."""
    for rows in _grouped(results, lambda row: (row.suite, row.model, row.retrieval, row.pool)):
        tasks = unique(row.task for row in rows)
        sets = {ALL: tasks} if len(tasks) > 1 else {}
        for name in unique(groups[task] for task in tasks if groups[task]):
            sets[name] = [task for task in tasks if groups[task] == name]
        for name, parts in sets.items():
            for found in _grouped(rows, lambda row: (row.instruction, row.measure)):
                by_task = {row.task: row for row in found if row.task in parts}
                if len(by_task) == len(parts):
                    yield _mean_result(name, by_task, groups if name == ALL else {})


def _mean_result(name: str, rows: Mapping[str, Result], groups: Mapping[str, str]) -> Result:
    weights = task_weights(rows, groups)
    value = math.fsum(weights[task] * row.value for task, row in rows.items())
    low = high = None
    ends = {
        task: (row.value, row.low, row.high)
        for task, row in rows.items()
        if row.low is not None and row.high is not None
    }
    if len(ends) == len(rows):
        low, high = joined_interval(ends, weights)
    queries = sum(row.queries for row in rows.values())
    return next(iter(rows.values()))._replace(task=name, value=value, low=low, high=high, queries=queries)


def _differences(cells: Sequence[Cell], seed: int) -> list[Difference]:
    """Each condition minus "own", per task and over all tasks that have both."""
    found = []
    shown = [cell for cell in cells if not cell.is_part]
    for group in _grouped(shown, lambda cell: (cell.suite, cell.system, cell.pool)):
        own = {cell.task: cell for cell in group if cell.instruction == "own"}
        for others in _grouped(group, lambda cell: cell.instruction):
            others = [cell for cell in others if cell.task in own and cell.instruction != "own"]
            for measure in unique(name for cell in others for name in cell.values):
                found += _against(own, [cell for cell in others if measure in cell.values], measure, seed)
    return found


def _against(own: Mapping[str, Cell], others: Sequence[Cell], measure: str, seed: int) -> list[Difference]:
    first = {cell.task: cell.values[measure] for cell in others}
    second = {task: own[task].values[measure] for task in first}
    tasks, together = compare_values(first, second, {cell.task: cell.group for cell in others}, seed=seed)
    one = others[0]

    def row(task: str, found: PairedDifference, p_holm: float | None) -> Difference:
        rest = (p_holm, found.wins, found.ties, found.losses, found.queries)
        labels = (one.suite, task, *one.system, one.instruction, "own", one.pool, measure)
        return Difference(*labels, found.mean, found.low, found.high, found.p, *rest)

    corrected = holm([found.p for found in tasks.values()])
    rows = [row(task, found, p) for (task, found), p in zip(tasks.items(), corrected, strict=True)]
    return [row(ALL, together, None), *rows] if len(rows) > 1 else rows


def decisive_differences(differences: Sequence[Difference], verdict: Verdict) -> list[Difference]:
    """The differences that a verdict rests on: over all tasks, or of the one task."""
    rows = [
        row
        for row in differences
        if (row.suite, row.model, row.retrieval, row.pool, row.measure)
        == (verdict.suite, verdict.model, verdict.retrieval, verdict.pool, verdict.measure)
    ]
    return [row for row in rows if row.task == ALL] or [row for row in rows if row.task == rows[0].task]


def _verdicts(cells: Sequence[Cell], differences: Sequence[Difference], measure: str) -> Iterator[Verdict]:
    for group in _grouped(cells, lambda cell: (cell.suite, cell.system)):
        first = group[0]
        pool = "pooled" if any(cell.pool == "pooled" for cell in group) else "closed"
        verdict = Verdict(first.suite, *first.system, pool, measure, "not asked", {}, "")
        rows = {row.instruction: row for row in decisive_differences(differences, verdict)}
        if rows:
            reason = "; ".join(
                f"own against {name} {0 - 100 * row.mean:+.1f} (p {row.p:.4f})"
                for name, row in rows.items()
                if name in ("none", "other", "generic")
            )
            values = _comparable_means([cell for cell in group if cell.pool == pool], measure)
            yield verdict._replace(verdict=judge(rows), values=values, reason=reason)


def _comparable_means(cells: Sequence[Cell], measure: str) -> dict[str, float]:
    """The mean over tasks for each condition that every task has, "own" being one of them."""
    weights = task_weights(
        [cell.task for cell in cells if cell.instruction == "own"], {cell.task: cell.group for cell in cells}
    )
    return {
        group[0].instruction: math.fsum(
            weights[cell.task] * mean(cell.values[measure]) for cell in group if cell.task in weights
        )
        for group in _grouped(cells, lambda cell: cell.instruction)
        if not group[0].is_part and weights.keys() <= {cell.task for cell in group}
    }


def _confusion(cells: Sequence[Cell], sources: Sequence[str]) -> list[Confusion]:
    tables = []
    shown = [cell for cell in cells if cell.pool == "pooled" and len(cell.run) and not cell.is_part]
    for group in _grouped(shown, lambda cell: (cell.suite, cell.system, cell.instruction)):
        first = group[0]
        shares = [_shares(cell.run, sources) for cell in group]
        tasks = [cell.task for cell in group]
        tables.append(Confusion(first.suite, *first.system, first.instruction, tasks, list(sources), shares))
    return tables


def _shares(run: Run, sources: Sequence[str]) -> list[float]:
    """For each source the share of the hits that it has, mean over queries; a hit that no source has is in none."""
    shares = dict.fromkeys(sources, 0.0)
    for hits in run.values():
        for hit in hits:
            source = unquote(hit.doc_id.partition("/")[0])
            if source in shares:
                shares[source] += 1 / len(hits)
    return [share / len(run) for share in shares.values()]
