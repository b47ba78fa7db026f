"""compare: two or more runs or reports, paired by query."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from eval.comparison import Changed, Compared, Comparison
from eval.details import unique_systems
from eval.over_tasks import compare_values, task_weights
from eval.report import ALL, Cell, Report, read_report, unique
from eval.runner import evaluate
from eval.statistics import PairedDifference, check_seed, holm
from eval.task import Pool, Task
from tart.errors import ConfigError
from tart.retrieval.result import shorten
from tart.run import Hit

TOP = 3  # documents shown of a query that changed


class _Side(NamedTuple):
    """One system of one report."""

    label: str
    system: tuple[str, str]
    report: Report

    def cells(self) -> dict[tuple[str, str, str, str], Cell]:
        """By suite, instruction, pool and task."""
        found = [cell for cell in self.report.cells if cell.system == self.system]
        return {(cell.suite, cell.instruction, cell.pool, cell.task): cell for cell in found}


def compare(
    sources: Sequence[str | os.PathLike[str] | Report],
    *,
    task: Task | Pool | None = None,
    instruction: str = "none",
    measures: Sequence[str] = ("nDCG@10",),
    changed: int = 10,
    seed: int = 0,
) -> Comparison:
    """Compare systems on the queries that they have in common.

    The systems of the first source are the baseline: each system of another source is compared with the one of the same
    name, or with the first one if there is none. Within a single source its first system is the baseline.

    Args:
        sources: report folders, reports, and TREC run files.
        task: the task that run files answer, or the pool of the tasks that their names say, as an evaluation named
            them; without it there must be no run file.
        instruction: the condition, "none" or "own", under which the run files were made.
        measures: of the run files; reports bring their own.
        changed: how many of the queries that changed most are told, for each pair of systems and condition.
        seed: of the bootstrap and the randomization test.

    Raises:
        ConfigError: if there aren't two systems, they have nothing in common, a run file comes without a task, or a
            source has no values, as the task has no instruction of its own. Or if the seed is negative.
        DataError: if a folder is no report, or a run file doesn't fit the task.
    """
    check_seed(seed)
    reports = [(_name(source), _read(source, task, instruction, measures)) for source in sources]
    for name, report in reports:
        if not report.cells:
            raise ConfigError(f"{name}: has no values: no task has an instruction of its own, or what else was asked")
    pairs = list(_pairs(reports))
    if not pairs:
        raise ConfigError("there is only one system: give two reports or runs, or a report of two systems")
    rows: list[Compared] = []
    told: list[Changed] = []
    notes: list[str] = []
    for side, baseline in pairs:
        theirs, ours = baseline.cells(), side.cells()
        places = _places([key for key in ours if key in theirs])
        if not places:
            notes.append(f"{side.label} and {baseline.label} have no task under the same condition in common")
        for suite, condition, pool in places:
            keys = [key for key in ours if key[:3] == (suite, condition, pool) and key in theirs]
            labels = (side.label, baseline.label, suite)
            found = _Place(labels, condition, pool, {key[3]: (theirs[key], ours[key]) for key in keys})
            names = found.measures()
            if not names:
                notes.append(f"{side.label} and {baseline.label} have no measure in common under {condition}, {pool}")
                continue
            notes += found.notes()
            rows += [row for measure in names for row in found.rows(measure, seed)]
            told += found.changed(names[0], changed, baseline.report, side.report)
    if not rows:
        raise ConfigError("the systems have nothing in common: " + "; ".join(notes))
    return Comparison(rows, told, unique(notes))


class _Place(NamedTuple):
    """Two systems under one condition: task -> their cells, the baseline's first."""

    labels: tuple[str, str, str]
    instruction: str
    pool: str
    cells: dict[str, tuple[Cell, Cell]]

    def measures(self) -> list[str]:
        """Those that both have on every task."""
        pairs = list(self.cells.values())
        return [name for name in pairs[0][1].values if all(name in c.values for pair in pairs for c in pair)]

    def notes(self) -> Iterator[str]:
        for task, (before, after) in self.cells.items():
            first, second = (next(iter(cell.values.values())) for cell in (before, after))
            alone = len(first.keys() ^ second.keys())
            if alone:
                yield f"{task}: {alone:,} queries are in one of the two only and left out"

    def common(self, measure: str) -> list[dict[str, dict[str, float]]]:
        """For each side task -> query_id -> value, over the queries that both have."""
        sides: list[dict[str, dict[str, float]]] = [{}, {}]
        for task, pair in self.cells.items():
            shared = pair[0].values[measure].keys() & pair[1].values[measure].keys()
            for side, cell in zip(sides, pair, strict=True):
                if shared:
                    side[task] = {qid: value for qid, value in cell.values[measure].items() if qid in shared}
        return sides

    def rows(self, measure: str, seed: int) -> Iterator[Compared]:
        before, after = self.common(measure)
        if not before:
            return
        groups = {task: cells[0].group for task, cells in self.cells.items()}
        tasks, together = compare_values(after, before, groups, seed=seed)
        corrected = dict(zip(tasks, holm([found.p for found in tasks.values()]), strict=True))
        means = {task: sum(values.values()) / len(values) for task, values in before.items()}
        if len(tasks) > 1:
            weights = task_weights(means, groups)
            middle = sum(weights[task] * value for task, value in means.items())
            yield self._row(ALL, measure, middle, together, None)
        for task, found in tasks.items():
            yield self._row(task, measure, means[task], found, corrected[task])

    def _row(self, task: str, measure: str, mean: float, found: PairedDifference, p_holm: float | None) -> Compared:
        place = (*self.labels, task, self.instruction, self.pool, measure)
        values = (mean, mean + found.mean, found.mean, found.low, found.high, found.p, p_holm)
        return Compared(*place, *values, found.wins, found.ties, found.losses, found.queries)

    def changed(self, measure: str, count: int, first: Report, second: Report) -> Iterator[Changed]:
        before, after = self.common(measure)
        moves = [(task, qid, before[task][qid], value) for task in after for qid, value in after[task].items()]
        moves.sort(key=lambda move: -abs(move[3] - move[2]))
        texts, titles = _told(first, second)
        for task, query_id, old, new in moves[:count]:
            if old != new:
                pair = self.cells[task]
                found = [_shown(cell.run.get(query_id, ()), cell, titles) for cell in pair]
                place = (*self.labels, task, self.instruction, self.pool, measure)
                yield Changed(*place, query_id, texts.get((task, query_id), ""), old, new, *found)


def _places(keys: Sequence[tuple[str, str, str, str]]) -> list[tuple[str, str, str]]:
    """Suite, instruction and pool of some cells, each once, in order."""
    return list(dict.fromkeys(key[:3] for key in keys))


def _name(source: str | os.PathLike[str] | Report) -> str:
    return "report" if isinstance(source, Report) else os.fspath(source)


def _read(
    source: str | os.PathLike[str] | Report, task: Task | Pool | None, instruction: str, measures: Sequence[str]
) -> Report:
    if isinstance(source, Report):
        return source
    if not Path(source).is_file():
        return read_report(Path(source))
    if task is None:
        wanted = "give the task's folder, or the file of its pool (--data)"
        raise ConfigError(f"{source}: a run file needs the judgements of its task; {wanted}")
    return evaluate(task, [source], instructions=[instruction], measures=measures)


def _pairs(reports: Sequence[tuple[str, Report]]) -> Iterator[tuple[_Side, _Side]]:
    """Each system with its baseline."""
    systems = [unique_systems(report.cells) for _, report in reports]
    every = [system for found in systems for system in found]
    sides = [
        [
            _Side(" ".join(system) if every.count(system) == 1 else f"{' '.join(system)} ({name})", system, report)
            for system in found
        ]
        for (name, report), found in zip(reports, systems, strict=True)
    ]
    if len(sides) == 1:
        yield from ((side, sides[0][0]) for side in sides[0][1:])
    for others in sides[1:]:
        for side in others:
            yield side, next((one for one in sides[0] if one.system == side.system), sides[0][0])


def _told(*reports: Report) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """What the reports have kept: texts of queries, and titles (else the beginning) of documents by their pooled id."""
    texts: dict[tuple[str, str], str] = {}
    titles: dict[str, str] = {}
    for report in reports:
        texts |= {(task, query_id): text for task, query_id, text, _ in report.details.get("queries", [])}
        titles |= {doc_id: title or text for doc_id, title, text in report.details.get("documents", [])}
    return texts, titles


def _shown(hits: Sequence[Hit], cell: Cell, titles: Mapping[str, str]) -> list[str]:
    prefix = "" if cell.pool == "pooled" else quote(cell.task, safe="") + "/"
    ids = [hit.doc_id for hit in hits[:TOP]]
    return [
        ": ".join(part for part in (doc_id, shorten(titles.get(prefix + doc_id, ""), 60)) if part) for doc_id in ids
    ]
