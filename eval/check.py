"""Published figures against ours: `published.toml` is read, each figure is looked up in reports, and judged."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tart.errors import DataError
from tart.files import read_lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PUBLISHED = Path(__file__).with_name("published.toml")

Key = tuple[str, str, str, str, str, str, str]  # suite, task, model, retrieval, instruction, pool, measure

KEY_FIELDS = ("suite", "task", "model", "retrieval", "instruction", "pool", "measure")
TABLE_FIELDS = ("source", "table", "dataset", "suite", "retrieval", "instruction", "pool", "measure")


class Figure(NamedTuple):
    """One published figure.

    Args:
        source: where it was read.
        table: which table there.
        dataset: data and split.
        suite, task, model, retrieval, instruction, pool, measure: the row of a report that it is compared with.
        value: in the published unit: the measure times 100.
        tolerance: the largest difference that still counts as agreement, in the same unit.
        note: what to mind.
        parts: (task, number of its queries or None) of each task that the value is the mean of; mostly one.
    """

    source: str
    table: str
    dataset: str
    suite: str
    task: str
    model: str
    retrieval: str
    instruction: str
    pool: str
    measure: str
    value: float
    tolerance: float
    note: str
    parts: tuple[tuple[str, int | None], ...]


class Verdict(NamedTuple):
    """What the reports say of one published figure.

    Args:
        figure: the published one.
        status: "OK" within the tolerance, "OFF" outside, "not run" if no report has it over all its queries.
        found: our value times 100; None if not run.
        difference: found - published; None if not run.
        report: the report that has it, if one does.
        why: what is missing, for a figure that was run in part.
    """

    figure: Figure
    status: Literal["OK", "OFF", "not run"]
    found: float | None = None
    difference: float | None = None
    report: Path | None = None
    why: str = ""


def check(reports: Sequence[str | Path], published: str | Path | None = None) -> list[Verdict]:
    """Compare reports with published figures.

    Args:
        reports: `report.json` files, or the folders that hold them.
        published: a file like `eval/published.toml`, which is the one taken if None is given.

    Returns:
        One verdict for each published figure and each report that has it, in the order of the published file; one "not
        run" for a figure that no report has.

    Raises:
        DataError: naming file and key, if a file can't be read or holds something it must not.
    """
    figures = load_published(published)
    tables = [(Path(path), _load_report(Path(path))) for path in reports]
    verdicts = []
    for figure in figures:
        judged = [verdict for path, rows in tables if (verdict := _judge(figure, path, rows))]
        verdicts += judged or [Verdict(figure, "not run")]
    return verdicts


def load_published(path: str | Path | None = None) -> list[Figure]:
    """Read published figures; the layout is told at the head of `eval/published.toml`.

    Raises:
        DataError: naming file and key, if a key is missing, unknown or of the wrong type.
    """
    path = Path(path or PUBLISHED)
    try:
        content = tomllib.loads("\n".join(text for _, text in read_lines(path)))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"not valid TOML ({error})", path=path) from None
    _check_keys(content, {"tables": list}, {"queries": dict, "means": dict}, path, "")
    queries, means = content.get("queries", {}), content.get("means", {})
    for suite, counts in queries.items():
        _check_keys(counts, {}, dict.fromkeys(_keys(counts), int), path, f"queries.{suite}")
    for name, tasks in means.items():
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, str) for task in tasks):
            raise DataError("wanted a list of task names", path=path, field=f"means.{name}")
    figures = []
    for number, table in enumerate(content["tables"], start=1):
        where = f"tables[{number}]"
        required = {**dict.fromkeys(TABLE_FIELDS, str), "tolerance": float, "values": dict}
        _check_keys(table, required, {"note": str}, path, where)
        if table["tolerance"] <= 0:
            raise DataError(f"must be above 0, got {table['tolerance']}", path=path, field=f"{where}.tolerance")
        shared = {field: table[field] for field in TABLE_FIELDS}
        for model, values in table["values"].items():
            _check_keys(values, {}, dict.fromkeys(_keys(values), float), path, f"{where}.values.{model}")
            for task, value in values.items():
                parts = tuple((part, queries.get(table["suite"], {}).get(part)) for part in means.get(task, [task]))
                row = {"task": task, "model": model, "value": float(value), "tolerance": float(table["tolerance"])}
                figures.append(Figure(**shared, **row, note=table.get("note", ""), parts=parts))
    return figures


def as_text(verdicts: Sequence[Verdict], *, width: int = 120) -> str:
    """A table of the verdicts for people; figures that no report has come after it, a model and measure in one line.

    Args:
        verdicts: of `check`.
        width: of a line, in characters.
    """
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    judged = Table(box=None, pad_edge=False)
    for name in ("", "task", "model", "retrieval", "instruction", "measure"):
        judged.add_column(name, overflow="fold")
    for name in ("published", "ours", "off by", "allowed"):
        judged.add_column(name, justify="right", min_width=8, overflow="fold")
    judged.add_column("source", justify="right")
    sources: dict[str, str] = {}
    open_tasks: dict[tuple[str, str, str, str], list[str]] = {}
    for figure, status, found, difference, report, why in verdicts:
        if report is None:
            line = (figure.suite, figure.measure, figure.model, figure.retrieval)
            open_tasks.setdefault(line, []).append(figure.task)
            continue
        row = (figure.task, figure.model, figure.retrieval, figure.instruction, figure.measure)
        ours = ("", why) if found is None or difference is None else (f"{found:.3f}", f"{difference:+.3f}")
        remarks = "; ".join(part for part in (f"{figure.source}: {figure.table}", figure.note) if part)
        number = sources.setdefault(remarks, str(len(sources) + 1))
        judged.add_row(status, *row, f"{figure.value:g}", *ours, f"{figure.tolerance:g}", number)
    listed = Table("source", "", box=None, pad_edge=False)
    for remarks, number in sources.items():
        listed.add_row(number, remarks)
    waiting = Table("not run", "measure", "model", "retrieval", "tasks", box=None, pad_edge=False)
    for line, tasks in open_tasks.items():
        names = list(dict.fromkeys(tasks))
        waiting.add_row(*line, ", ".join(names) if len(names) < 4 else f"{len(names)} tasks")
    console = Console(file=StringIO(), width=width, markup=False, highlight=False, emoji=False, no_color=True)
    for table in (judged, listed, waiting):
        if table.row_count:
            console.print(table)
            console.print()
    counts = {status: sum(verdict.status == status for verdict in verdicts) for status in ("OK", "OFF", "not run")}
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _judge(figure: Figure, path: Path, rows: Mapping[Key, tuple[float, int]]) -> Verdict | None:
    """The verdict of one report on a figure; None if it lacks it."""
    rest = (figure.model, figure.retrieval, figure.instruction, figure.pool, figure.measure)
    found = [rows.get((figure.suite, task, *rest)) for task, _ in figure.parts]
    if not any(found):
        return None
    values = []
    for row, (task, wanted) in zip(found, figure.parts, strict=True):
        if row is None:
            return Verdict(figure, "not run", report=path, why=f"{task} is missing")
        value, queries = row
        if wanted is not None and queries != wanted:
            return Verdict(figure, "not run", report=path, why=f"{queries:,} of {wanted:,} queries")
        values.append(value)
    ours = 100 * math.fsum(values) / len(values)
    difference = ours - figure.value
    agrees = abs(difference) <= figure.tolerance + 1e-9  # 0.3 itself is within 0.3, whatever binary makes of it
    return Verdict(figure, "OK" if agrees else "OFF", ours, difference, path)


def _load_report(path: Path) -> dict[Key, tuple[float, int]]:
    """The rows of a report: value and number of queries by what identifies a row."""
    file = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads("\n".join(text for _, text in read_lines(file)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"not valid JSON ({error})", path=file) from None
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        raise DataError("no report: wanted an object with a list of rows", path=file, field="results")
    rows: dict[Key, tuple[float, int]] = {}
    for number, row in enumerate(content["results"], start=1):
        where = f"results[{number}]"
        required = {**dict.fromkeys(KEY_FIELDS, str), "value": float, "queries": int}
        _check_keys(row, required, {"low": object, "high": object}, file, where)
        suite, task, model, retrieval, instruction, pool, measure = (row[field] for field in KEY_FIELDS)
        key = (suite, task, model, retrieval, instruction, pool, measure)
        found = (float(row["value"]), row["queries"])
        if rows.setdefault(key, found) != found:
            raise DataError(f"two rows of {', '.join(key)} that differ", path=file, field=where)
    return rows


_NAMES: dict[type, str] = {str: "a text", float: "a number", int: "a whole number", dict: "a table", list: "a list"}


def _keys(value: object) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _check_keys(found: Any, required: Mapping[str, type], optional: Mapping[str, type], path: Path, where: str) -> None:
    """Refuse a table that lacks a key, has an unknown one, or a value of the wrong type."""
    if not isinstance(found, dict):
        raise DataError(f"wanted a table of keys and values, found {type(found).__name__}", path=path, field=where)
    known = {**required, **optional}
    prefix = f"{where}." if where else ""
    for key in required:
        if key not in found:
            raise DataError("is missing", path=path, field=prefix + key)
    for key, value in found.items():
        if key not in known:
            raise DataError(f"unknown key; wanted one of {', '.join(known)}", path=path, field=prefix + key)
        wanted = known[key]
        fits = isinstance(value, (int, float) if wanted is float else wanted)
        if not fits or (wanted in (int, float) and (isinstance(value, bool) or not math.isfinite(value))):
            raise DataError(f"wanted {_NAMES[wanted]}, found {value!r}", path=path, field=prefix + key)
