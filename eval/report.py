"""Report: everything that an evaluation found, in one flat form, and how it is written and read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from eval.run_files import read_run
from tart.errors import DataError
from tart.files import atomic_write, parse_json_object, read_lines
from tart.run import Run

REPORT, PER_QUERY, RUNS = "report.json", "per_query.json", "runs"
ALL = "all"  # stands for the task where a row is about all tasks together


class Result(NamedTuple):
    """One figure.

    Args:
        suite: "beir", "lotte", "x2" or "follow".
        task: its name, or that of the set whose parts' mean it is; "all" for the mean over tasks, each of which counts
            the same, the parts of a set together as one.
        model: name of the model, "bm25", or of a run file.
        retrieval: "dense", "sparse", "hybrid", "run" or "retriever", and "+rerank" where a cross-encoder follows.
        instruction: "none", "own", "wording-1" and so on, "wordings" (their mean), "other", "generic", "repeat",
            "original", "changed".
        pool: "closed" (the task's own corpus) or "pooled" (those of all tasks).
        measure: as ir_measures writes it, or one of ours: "nDCG@10 gap", "wrong task@10", "p-MRR", ...; over wordings
            also "nDCG@10 deviation", "nDCG@10 sensitivity" and "nDCG@10 worst".
        value: from 0 to 1; from -1 to 1 for p-MRR and gaps; 0 or more for a sensitivity. Shown times 100.
        low, high: ends of its 95 % bootstrap interval over queries; None where there is none.
        queries: over how many queries.
    """

    suite: str
    task: str
    model: str
    retrieval: str
    instruction: str
    pool: str
    measure: str
    value: float
    low: float | None
    high: float | None
    queries: int


class Difference(NamedTuple):
    """A paired difference: the value under `instruction` minus the value under `against`, query by query.

    Args:
        mean: of the differences; for the task "all" each task counts the same.
        low, high: ends of its 95 % bootstrap interval.
        p: of the two-sided randomization test.
        p_holm: the same, corrected for the number of tasks; None for the task "all".
        wins, ties, losses: queries whose value is higher, equal, lower than under `against`.
    """

    suite: str
    task: str
    model: str
    retrieval: str
    instruction: str
    against: str
    pool: str
    measure: str
    mean: float
    low: float
    high: float
    p: float
    p_holm: float | None
    wins: int
    ties: int
    losses: int
    queries: int


VERDICTS = {
    "listens": "its own instruction helps, more than another task's and more than an empty one",
    "indifferent": "instructions change nothing that a user would notice",
    "disturbed": "its own instruction makes it worse than none",
    "mixed": "instructions change its ranking, but its own one isn't what helps",
    "not asked": "measure none, own, other and generic to see",
}
"""What each verdict says of a system; `eval.summary.judge` has the rule."""


class Verdict(NamedTuple):
    """Whether a system listens to instructions; see `eval.summary.judge` for the rule.

    Args:
        verdict: "listens", "indifferent", "disturbed", "mixed", or "not asked" where a condition is missing.
        values: condition -> value of the measure.
        reason: the differences that decided, in words.
    """

    suite: str
    model: str
    retrieval: str
    pool: str
    measure: str
    verdict: str
    values: Mapping[str, float]
    reason: str


class Confusion(NamedTuple):
    """Where the first ten documents come from in a pooled search.

    Args:
        tasks: whose queries; one row each.
        sources: whose documents; one column each.
        shares: mean over a task's queries; each row sums to 1 where every query found something, and nothing that no
            source has.
    """

    suite: str
    model: str
    retrieval: str
    instruction: str
    tasks: Sequence[str]
    sources: Sequence[str]
    shares: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One system on one task under one condition: its run and the value of each query.

    Args:
        run: ids are `task/id` where pooled.
        values: measure -> query_id -> value; a measure without a run behind it has an empty run.
        file: name of the run file in the report's folder; empty if none was written.
        group: the set of which the task is a part; empty: it stands alone.
    """

    suite: str
    task: str
    model: str
    retrieval: str
    instruction: str
    pool: str
    run: Run
    values: Mapping[str, Mapping[str, float]]
    file: str = ""
    group: str = ""

    @property
    def system(self) -> tuple[str, str]:
        """Model and retrieval."""
        return self.model, self.retrieval

    @property
    def is_part(self) -> bool:
        """Whether it is a part of another condition: of "wordings", or, the original and the changed half, of "own"."""
        return self.instruction.startswith("wording-") or self.instruction in ("original", "changed")

    def labels(self) -> dict[str, str]:
        """The fields that say what it is."""
        names = ("suite", "task", "model", "retrieval", "instruction", "pool")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found.

    Args:
        results: the figures.
        differences: of the instruction conditions.
        verdicts: one for each system.
        confusion: of pooled searches.
        notes: what a reader has to know: what was skipped, dropped, or is missing.
        provenance: what has to be known to do it again.
        cells: runs and values per query.
        details: texts of queries and of their first documents, for the page; see `eval.details`.
    """

    results: Sequence[Result]
    differences: Sequence[Difference] = ()
    verdicts: Sequence[Verdict] = ()
    confusion: Sequence[Confusion] = ()
    notes: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    cells: Sequence[Cell] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def where(self, **wanted: str) -> list[Result]:
        """The results whose fields have these values, such as `where(task="scifact", measure="nDCG@10")`."""
        return [row for row in self.results if all(getattr(row, name) == value for name, value in wanted.items())]

    def to_dict(self) -> dict[str, Any]:
        """What report.json holds."""
        files = [{"file": cell.file, **cell.labels()} for cell in self.cells if cell.file]
        return {
            "results": [row._asdict() for row in self.results],
            "differences": [row._asdict() for row in self.differences],
            "verdicts": [row._asdict() for row in self.verdicts],
            "confusion": [row._asdict() for row in self.confusion],
            "notes": list(self.notes),
            "runs": files,
            "provenance": dict(self.provenance),
        }

    def write(self, folder: str | Path) -> None:
        """Write report.json, report.md, report.html and per_query.json. Run files are written as they are made.

        Raises:
            StorageError: if the disk is full; each file is the old one or the new one.
        """
        from eval.report_html import render_html
        from eval.report_markdown import render_markdown

        folder = Path(folder)
        per_query = [
            {"file": cell.file, "group": cell.group, **cell.labels(), "values": cell.values} for cell in self.cells
        ]
        for name, text in (
            (PER_QUERY, json.dumps({"cells": per_query, "details": self.details})),
            ("report.md", render_markdown(self)),
            ("report.html", render_html(self)),
            (REPORT, json.dumps(self.to_dict(), indent=1)),  # last: who finds it finds the others
        ):
            with atomic_write(folder / name) as file:
                file.write((text + "\n").encode("utf-8", "replace"))


def read_report(folder: str | Path) -> Report:
    """Read a report folder again, with its values per query and its runs.

    Raises:
        DataError: if it is no finished report folder, or a file of it is damaged.
    """
    folder = Path(folder)
    if not (folder / REPORT).is_file():
        raise DataError(f"no finished report: {REPORT} is missing", path=folder)
    facts = _read_json(folder / REPORT)
    stored = _read_json(folder / PER_QUERY)
    try:
        return Report(
            results=[Result(**row) for row in facts["results"]],
            differences=[Difference(**row) for row in facts["differences"]],
            verdicts=[Verdict(**row) for row in facts["verdicts"]],
            confusion=[Confusion(**row) for row in facts["confusion"]],
            notes=facts["notes"],
            provenance=facts["provenance"],
            cells=[_read_cell(folder, row) for row in stored["cells"]],
            details=stored["details"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"not a report of this version ({error})", path=folder / REPORT) from None


def unique(values: Iterable[str]) -> list[str]:
    """The distinct values in the order of their first appearance."""
    return list(dict.fromkeys(values))


def _read_cell(folder: Path, row: dict[str, Any]) -> Cell:
    run = read_run(folder / row["file"]) if row["file"] else Run({}, 1)
    return Cell(**{**row, "run": run})


def _read_json(path: Path) -> dict[str, Any]:
    return parse_json_object("\n".join(text for _, text in read_lines(path)), path)
