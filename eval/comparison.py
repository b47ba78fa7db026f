"""Comparison: what `compare` found, in a flat form, and as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eval.report_markdown import clean, markdown_table, show_p
from tart.files import atomic_write


class Compared(NamedTuple):
    """How one system differs from another, query by query.

    Args:
        system: what is compared.
        baseline: with what.
        suite, task, instruction, pool, measure: where; the task "all" counts each task the same.
        before, after: mean value of the baseline and of the system.
        difference: after - before; above 0 the system's value is higher.
        low, high: ends of its 95 % bootstrap interval.
        p: of the two-sided randomization test.
        p_holm: the same, corrected for the number of tasks; None for the task "all".
        wins, ties, losses: queries on which the system's value is higher, equal, lower.
    """

    system: str
    baseline: str
    suite: str
    task: str
    instruction: str
    pool: str
    measure: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float | None
    wins: int
    ties: int
    losses: int
    queries: int


class Changed(NamedTuple):
    """A query on which two systems differ much.

    Args:
        text: of the query, where the report has kept it.
        found_before, found_after: the first documents of each, with their titles where the report has kept them.
    """

    system: str
    baseline: str
    suite: str
    task: str
    instruction: str
    pool: str
    measure: str
    query_id: str
    text: str
    before: float
    after: float
    found_before: list[str]
    found_after: list[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Args:
        rows: the differences.
        changed: the queries that changed most, for each system and condition, by the first measure.
        notes: what a reader has to know.
    """

    rows: Sequence[Compared]
    changed: Sequence[Changed]
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "rows": [row._asdict() for row in self.rows],
            "changed": [row._asdict() for row in self.changed],
            "notes": list(self.notes),
        }

    def write(self, folder: str | Path) -> None:
        """Write compare.json and compare.md.

        Raises:
            StorageError: if the disk is full.
        """
        for name, text in (("compare.json", json.dumps(self.to_dict(), indent=1)), ("compare.md", self.markdown())):
            with atomic_write(Path(folder) / name) as file:
                file.write((text + "\n").encode("utf-8", "replace"))

    def markdown(self) -> str:
        """Tables for people; values times 100."""
        return "\n".join(_lines(self))


def comparison_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of differences."""
    head = "system, against, suite, task, condition, measure, before, after, difference, interval, p, p (Holm), w/t/l"
    body = [
        [
            *(row.system, row.baseline, row.suite, row.task, f"{row.instruction}, {row.pool}", row.measure),
            *(f"{100 * row.before:.2f}", f"{100 * row.after:.2f}", f"{100 * row.difference:+.2f}"),
            f"{100 * row.low:+.2f} to {100 * row.high:+.2f}",
            *(show_p(row.p), "" if row.p_holm is None else show_p(row.p_holm)),
            f"{row.wins}/{row.ties}/{row.losses}",
        ]
        for row in comparison.rows
    ]
    return head.split(", "), body


def _lines(comparison: Comparison) -> Iterator[str]:
    yield from ("# Comparison", "", "Paired by query; values times 100; p: randomization test, Holm over tasks.", "")
    yield from markdown_table(*comparison_table(comparison))
    for place in dict.fromkeys(
        (row.system, row.baseline, row.suite, row.instruction, row.pool) for row in comparison.changed
    ):
        yield f"## Changed most: {clean(place[0])} against {clean(place[1])}, {place[2]}, {place[3]}, {place[4]}"
        yield ""
        for row in comparison.changed:
            if place == (row.system, row.baseline, row.suite, row.instruction, row.pool):
                values = f"{100 * row.before:.1f} → {100 * row.after:.1f}"
                yield f"- {row.task}, {clean(row.query_id)}: {values} {clean(row.text)}"
                yield f"  - before: {clean(' · '.join(row.found_before)) or 'nothing'}"
                yield f"  - after: {clean(' · '.join(row.found_after)) or 'nothing'}"
        yield ""
    if comparison.notes:
        yield from ("## To know", "", *(f"- {clean(note)}" for note in comparison.notes), "")
