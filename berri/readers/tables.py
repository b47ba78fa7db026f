"""Readers for files that are tables already: CSV, JSON, JSON lines, lines side by side."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows
from tart.errors import DataError

csv.field_size_limit(1 << 24)


@reader("csv")
def read_csv(
    files: SourceFiles,
    *,
    fields: Mapping[str, str | int],
    where: Mapping[str, list[str]] | None = None,
    delimiter: str = ",",
    quoted: bool = True,
    header: bool = True,
    pattern: str = "*",
) -> Rows:
    """Rows of CSV or TSV files.

    Args:
        files: the source's files.
        fields: field name -> column, by its title, or by its 0-based number where there is no header.
        where: column -> the values of the rows that are taken.
        delimiter: between columns.
        quoted: whether quotes group text, as in CSV; otherwise they are text, as in most TSV files.
        header: whether the first line holds the titles.
        pattern: which of the files.
    """
    for name in files.matching(pattern):
        text = io.StringIO(files.text(name), newline="")
        rows = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        titles = next(rows, []) if header else []
        places = {field: _place(files, name, titles, column) for field, column in fields.items()}
        wanted = {_place(files, name, titles, column): set(values) for column, values in (where or {}).items()}
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                files.bad(f"no valid CSV ({error})", name, rows.line_num)
                continue
            if row is None:
                break
            if not row:
                continue
            missing = [field for field, place in places.items() if place >= len(row)]
            if missing:
                files.bad(f"has {len(row)} columns, wanted {max(places.values()) + 1}", name, rows.line_num, missing[0])
            elif all(place < len(row) and row[place] in values for place, values in wanted.items()):
                yield {field: row[place] for field, place in places.items()}


def _place(files: SourceFiles, name: str, titles: Sequence[str], column: str | int) -> int:
    if isinstance(column, int) or (not titles and column.isdigit()):
        return int(column)
    if column not in titles:
        raise DataError(f"no column {column!r}; found {', '.join(titles)}", path=files.path(name), line=1)
    return titles.index(column)


@reader("jsonl")
def read_jsonl(
    files: SourceFiles,
    *,
    fields: Mapping[str, str],
    where: Mapping[str, list[Any]] | None = None,
    pattern: str = "*",
) -> Rows:
    """Rows of JSON-lines files.

    Args:
        files: the source's files.
        fields: field name -> key; a dot goes into an object or, with a number, into a list: "meta.title", "answers.0".
        where: key -> the values of the rows that are taken.
        pattern: which of the files.
    """
    for name in files.matching(pattern):
        for number, line in files.lines(name):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
            except (ValueError, RecursionError) as error:
                files.bad(f"not valid JSON ({error})", name, number)
                continue
            yield from row_of(files, name, number, item, fields, where or {})


@reader("json")
def read_json(
    files: SourceFiles,
    *,
    fields: Mapping[str, str],
    where: Mapping[str, list[Any]] | None = None,
    items: str = "",
    pattern: str = "*",
) -> Rows:
    """Rows of JSON files that hold one list, or one object whose values are the rows.

    Args:
        files: the source's files.
        fields: as in JSON lines; of an object's values, "@key" is the row's own key.
        where: as in JSON lines.
        items: where the list stands, such as "data"; "" if it is the whole.
        pattern: which of the files.
    """
    for name in files.matching(pattern):
        content = look_up(files.json(name), items) if items else files.json(name)
        if isinstance(content, dict):
            content = [
                {**value, "@key": key} if isinstance(value, dict) else {"@key": key, "@value": value}
                for key, value in content.items()
            ]
        if not isinstance(content, list):
            raise DataError("wanted a list or an object of rows", path=files.path(name), field=items or None)
        for number, item in enumerate(content, start=1):
            yield from row_of(files, name, number, item, fields, where or {})


@reader("lines")
def read_lines_side_by_side(files: SourceFiles, *, fields: Mapping[str, list[str]]) -> Rows:
    """Rows of text files that belong together line by line.

    Args:
        files: the source's files.
        fields: field name -> its file in each of the parts: `{text = ["1.src", "2.src"], gist = ["1.tgt", "2.tgt"]}`.

    Raises:
        DataError: if the files of a part differ in their number of lines.
    """
    for part in zip(*fields.values(), strict=True):
        columns = [[text for _, text in files.lines(name)] for name in part]
        if len({len(column) for column in columns}) > 1:
            counts = ", ".join(f"{name} {len(column):,}" for name, column in zip(part, columns, strict=True))
            raise DataError(f"the files differ in their number of lines: {counts}", path=files.folder)
        for row in zip(*columns, strict=True):
            yield dict(zip(fields, row, strict=True))


def look_up(item: Any, key: str) -> Any:
    """What stands under a dotted key; None if nothing does. `*` goes into each item of a list: "answers.*.text"."""
    for position, step in enumerate(steps := key.split(".")):
        if step == "*" and isinstance(item, list):
            rest = ".".join(steps[position + 1 :])
            return [look_up(one, rest) if rest else one for one in item]
        if isinstance(item, dict):
            item = item.get(step)
        elif isinstance(item, list) and step.lstrip("-").isdigit() and -len(item) <= int(step) < len(item):
            item = item[int(step)]
        else:
            return None
    return item


def row_of(
    files: SourceFiles, name: str, number: int, item: Any, fields: Mapping[str, str], where: Mapping[str, list[Any]]
) -> Iterator[dict[str, str | list[str] | None]]:
    """The row of an item, if it fits: what is wrong with it goes to `files.bad`."""
    if not isinstance(item, dict):
        files.bad(f"wanted an object, found {type(item).__name__}", name, number)
        return
    if any(look_up(item, key) not in values for key, values in where.items()):
        return
    row: dict[str, str | list[str] | None] = {}
    for field, key in fields.items():
        value = look_up(item, key)
        if isinstance(value, list):
            value = [text for text in value if isinstance(text, str)]
        elif value is not None and not isinstance(value, str):
            files.bad(f"wanted text under {key!r}, found {type(value).__name__}", name, number, field)
            return
        row[field] = value
    if not any(row.values()):
        files.bad(f"holds none of {', '.join(fields.values())}", name, number)
        return
    yield row
