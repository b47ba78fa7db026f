"""Readers for tables of Wikipedia with the questions and statements about them."""

from __future__ import annotations

import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows

_ON_THE_TABLE = re.compile(r"\b(?:table|chart|listed|(?:this|the|above) list)\b", re.IGNORECASE)


@reader("tabfact")
def read_tabfact(files: SourceFiles, *, tables: str) -> Rows:
    """TabFact: each `table` with its `title`, every `statement` on it, those that are `true`, and those `false`.

    Args:
        files: the source's files: JSON of table -> [statements, labels, title], and an archive of the tables.
        tables: name of the archive.

    Raises:
        DataError: if a file isn't valid JSON.
    """
    rows = {path.split("/")[-1]: _cells(files.decode(content, path), "#") for path, content in files.members(tables)}
    for name in files.matching("*.json"):
        for number, (key, value) in enumerate(files.json(name).items(), start=1):
            try:
                statements, labels, title = value
                judged = list(zip(statements, labels, strict=True))
            except (TypeError, ValueError):
                files.bad("wanted statements, as many labels, and a title", name, number)
                continue
            if key not in rows:
                files.bad(f"{tables} holds no table {key!r}", name, number)
                continue
            yield {
                "table": rows[key],
                "title": title,
                "statement": statements,
                "true": [text for text, label in judged if label == 1],
                "false": [text for text, label in judged if label == 0],
            }


@reader("table-questions")
def read_table_questions(files: SourceFiles, *, questions: str, tables: str) -> Rows:
    """WikiTableQuestions: each `question` with the `table` that answers it and the `page` that this comes from.

    The page is also its `named` page where the question shares a word with its title: from most questions, such as "how
    many were built in 1847?", nobody could tell which page is meant. Questions on how something stands in "the table"
    are left out: without it they ask nothing.

    Args:
        files: the source's files.
        questions: name of the file with tab-separated id, question, path of the table, answer.
        tables: name of the archive with `csv/N-csv/M.tsv` and `page/N-page/M.json`.
    """
    rows, pages = {}, {}
    for path, content in files.members(tables):
        key = path.split(".")[0].replace("page", "csv")
        if path.endswith(".json"):
            pages[key] = files.parse_json(files.decode(content, path), path).get("title")
        else:
            rows[key] = _cells(files.decode(content, path), "\t")
    for number, line in files.lines(questions):
        columns = line.split("\t")
        key = columns[2].split(".")[0] if len(columns) > 2 else ""
        if number == 1:
            continue
        if key not in rows:
            files.bad(f"wanted a question and the path of a table in {tables}", questions, number)
            continue
        if not _ON_THE_TABLE.search(columns[1]):
            page = pages.get(key)
            named = page if page and _stems(page) & _stems(columns[1]) else None
            yield {"question": columns[1], "table": rows[key], "page": page, "named": named}


def _stems(text: str) -> set[str]:
    """The beginnings of its longer words."""
    return {word[:5] for word in re.findall(r"\w{4,}", text.casefold())}


def _cells(text: str, delimiter: str) -> str:
    lines = [" | ".join(cell.strip() for cell in line.split(delimiter)) for line in text.splitlines() if line.strip()]
    return "\n".join(lines).replace("\\n", " ").replace("\\p", "/")
