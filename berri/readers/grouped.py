"""Readers for rows that belong together: classes, languages, several answers to one question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import read_csv, read_json, read_jsonl
from berri.record import Rows

_MATES = 4  # of a text's class


@reader("classes")
def read_classes(files: SourceFiles, *, text: str, label: str, form: str, pattern: str = "*") -> Rows:
    """Texts with a class label: each `query` with some texts of its `class` as `same`.

    Args:
        files: the source's files.
        text: column or key of the text.
        label: that of the class.
        form: "csv" or "jsonl".
        pattern: which of the files.
    """
    read = {"csv": read_csv, "jsonl": read_jsonl}[form]
    rows = read(files, fields={"query": text, "class": label}, pattern=pattern)
    yield from _with_mates((str(row["query"]), str(row["class"])) for row in rows)


def _with_mates(pairs: Iterable[tuple[str, str]]) -> Rows:
    classes: dict[str, list[str]] = {}
    for text, name in pairs:
        classes.setdefault(name, []).append(text)
    for name, texts in classes.items():
        for place, text in enumerate(texts):
            mates = [texts[(place + step) % len(texts)] for step in range(1, min(_MATES, len(texts) - 1) + 1)]
            yield {"query": text, "same": mates, "class": name}


@reader("clinc")
def read_clinc(files: SourceFiles, *, parts: list[str]) -> Rows:
    """CLINC150: lists of [text, intent] under the names of its parts."""
    content = files.json(files.names[0])
    yield from _with_mates((text, label) for part in parts for text, label in content.get(part, []))


@reader("columns-by-value")
def read_columns_by_value(files: SourceFiles, *, key: str, value: str, by: str, names: Mapping[str, str]) -> Rows:
    """JSON lines that share a key, made one row: the value of each goes to the field that another key names.

    Args:
        files: the source's files.
        key: what the lines share; the row's field `key`.
        value: the text.
        by: the key whose value says which field.
        names: that value -> the field.
    """
    rows: dict[str, dict[str, str | list[str] | None]] = {}
    for row in read_jsonl(files, fields={"key": key, "value": value, "by": by}):
        if isinstance(row["key"], str) and isinstance(row["by"], str) and row["by"] in names:
            rows.setdefault(row["key"], {"key": row["key"]}).setdefault(names[row["by"]], row["value"])
    yield from rows.values()


@reader("pubmedqa")
def read_pubmedqa(files: SourceFiles) -> Rows:
    """Research questions with `question`, `abstract` (its parts joined) and `conclusion`."""
    for row in read_json(files, fields={"question": "QUESTION", "parts": "CONTEXTS", "conclusion": "LONG_ANSWER"}):
        yield {**row, "abstract": " ".join(row["parts"] or ()), "parts": None}
