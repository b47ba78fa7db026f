"""Files to documents and queries: BEIR's JSONL, TSV, and folders of text; every error names file, line and field."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tart.collection import Document, Query
from tart.errors import ConfigError, DataError
from tart.files import decode_lines, parse_json_object, read_lines
from tart.instruction import Instruction

TEXT_SUFFIXES = frozenset(
    ".txt .text .md .markdown .rst .tex .html .htm .py .pyi .js .mjs .ts .tsx .jsx .java .kt .scala .c .h .cc .cpp "
    ".hpp .cs .go .rs .rb .php .pl .lua .r .jl .sh .bash .sql .toml .yaml .yml .ini .cfg".split()
)
PASSAGE_CHARACTERS = 1000


def read_documents(source: str | os.PathLike[str]) -> Iterator[Document]:
    """Read documents one by one.

    Args:
        source: what it is decides how it is read:
            a `.jsonl` file: one object a line, "_id" and "text" (strings), "title" optional, as in BEIR;
            a `.tsv` file: id, text and optionally title, separated by tabs, with or without a header line;
            a folder with a `corpus.jsonl`: that file;
            any other folder: its text, markdown and source files, cut at blank lines into passages of up to 1,000
            characters (a longer line stays whole), whose ids are `path:line`;
            "-": JSONL from standard input.

    Raises:
        DataError: naming file, line and field: no such file, bad JSON, a missing, empty or repeated id, text that is no
            string, a file that isn't UTF-8, or no document at all.
        ConfigError: if a file has another suffix.
    """
    name = os.fspath(source)
    path = Path(name)
    if name == "-":
        name = "standard input"
        documents = _from_jsonl(decode_lines(sys.stdin.buffer, name), name)
    elif path.is_dir() and not (path / "corpus.jsonl").is_file():
        documents = _from_folder(path)
    elif path.is_dir() or path.suffix == ".jsonl":
        path = path / "corpus.jsonl" if path.is_dir() else path
        name = str(path)
        documents = _from_jsonl(read_lines(path), path)
    elif path.suffix in (".tsv", ".tab"):
        documents = _from_tsv(path)
    elif not path.exists():
        raise DataError("no such file or folder", path=path)
    else:
        raise ConfigError(
            f"{path}: don't know how to read {path.suffix or 'a file without suffix'}; wanted .jsonl or .tsv"
        )
    return _unique(documents, name)


def read_queries(source: str | os.PathLike[str]) -> Iterator[Query]:
    """Read queries one by one from a JSONL file: "_id", "text", and optionally "instruction", as in BEIR.

    The instruction may also stand in "metadata". It is a string; without one the query is a plain one.

    Raises:
        DataError: naming file, line and field.
    """
    name = os.fspath(source)
    seen: dict[str, int] = {}
    for number, row in _rows(read_lines(name), name):
        metadata = row.get("metadata")
        wish = row.get("instruction", metadata.get("instruction") if isinstance(metadata, dict) else None)
        if wish is not None and not (isinstance(wish, str) and wish.strip()):
            raise DataError("must be a string that isn't blank", path=name, line=number, field="instruction")
        query_id = _field(row, "_id", name, number)
        text = _field(row, "text", name, number)
        if query_id in seen:
            raise DataError(f"{query_id!r} stands in line {seen[query_id]} too", path=name, line=number, field="_id")
        seen[query_id] = number
        yield Query(query_id, text, Instruction(wish) if wish else None)
    if not seen:
        raise DataError("holds no query", path=name)


def _rows(lines: Iterable[tuple[int, str]], name: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines:
        if line.strip():
            yield number, parse_json_object(line, name, number)


def _field(row: dict[str, Any], key: str, name: str | Path, line: int, *, blank_ok: bool = False) -> str:
    if key not in row:
        raise DataError("is missing", path=name, line=line, field=key)
    value = row[key]
    if not isinstance(value, str):
        raise DataError(f"must be a string, found {type(value).__name__}", path=name, line=line, field=key)
    if not blank_ok and not value.strip():
        raise DataError("must not be empty", path=name, line=line, field=key)
    return value


Located = tuple[Document, int | None]  # a document and the line it stands in


def _from_jsonl(lines: Iterable[tuple[int, str]], name: str | Path) -> Iterator[Located]:
    for number, row in _rows(lines, name):
        title = "" if row.get("title") is None else _field(row, "title", name, number, blank_ok=True)
        text = _field(row, "text", name, number, blank_ok=True)
        yield Document(_field(row, "_id", name, number), text, title), number


def _from_tsv(path: Path) -> Iterator[Located]:
    names = ["id", "text", "title"]
    lines = ((number, line) for number, line in read_lines(path) if line.strip())
    for place, (number, line) in enumerate(lines):
        columns = line.split("\t")
        if place == 0 and {"id", "_id", "pid"} & set(columns) and "text" in columns:
            names = ["id" if column in ("_id", "pid") else column for column in columns]
            continue
        if len(columns) < 2 or len(columns) > len(names):
            wanted = f"2 to {len(names)}" if len(names) > 2 else "2"
            raise DataError(f"wanted {wanted} columns separated by tabs, found {len(columns)}", path=path, line=number)
        row = dict(zip(names, columns, strict=False))
        for column in ("id", "text"):
            if column not in row:
                raise DataError("is missing", path=path, line=number, field=column)
        if not row["id"].strip():
            raise DataError("must not be empty", path=path, line=number, field="id")
        yield Document(row["id"], row["text"], row.get("title", "")), number


def _from_folder(folder: Path) -> Iterator[Located]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or path.suffix.lower() not in TEXT_SUFFIXES or not path.is_file():
            continue
        for number, passage in _passages(path):
            yield Document(f"{inside.as_posix()}:{number}", passage, inside.as_posix()), None


def _passages(path: Path) -> Iterator[tuple[int, str]]:
    """Blocks between blank lines, joined while they stay within PASSAGE_CHARACTERS; with the line where each begins."""
    lines: list[str] = []
    start, size = 1, 0
    for number, line in [*read_lines(path), (0, "")]:
        ends_block = not line.strip()
        full = size + len(line) > PASSAGE_CHARACTERS or (ends_block and size >= PASSAGE_CHARACTERS / 2)
        if lines and (full or number == 0):
            yield start, "\n".join(lines).strip("\n")
            lines, size = [], 0
        if not lines and ends_block:
            continue
        if not lines:
            start = number
        lines.append(line)
        size += len(line) + 1


def _unique(documents: Iterable[Located], name: str) -> Iterator[Document]:
    seen: dict[str, int | None] = {}
    for document, line in documents:
        if document.doc_id in seen:
            problem = f"{document.doc_id!r} stands in line {seen[document.doc_id]} too"
            raise DataError(problem, path=name, line=line, field="_id")
        seen[document.doc_id] = line
        yield document
    if not seen:
        raise DataError("holds no document", path=name)
