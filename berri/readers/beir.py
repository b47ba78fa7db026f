"""Reader for a folder in BEIR's layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows
from tart.errors import DataError

HEADER = ["query-id", "corpus-id", "score"]


@reader("beir")
def read_beir(files: SourceFiles, *, split: str = "train") -> Rows:
    """Judged queries, a row for each judgement: `query`, the document's text as `document` or, judged 0, as `wrong`.

    Its `title` is the document's own, right or wrong; `right_title`, for tasks that want titles, that of a right one.

    Args:
        files: corpus.jsonl, queries.jsonl and qrels/<split>.tsv.
        split: which judgements.
    """
    for query, right, wrong in judged_queries(files, split):
        for one in right:
            title = one["title"]
            yield {"query": query["text"], "title": title, "right_title": title, "document": one["text"]}
        for one in wrong:
            yield {"query": query["text"], "title": one["title"], "wrong": one["text"]}


def judged_queries(
    files: SourceFiles, split: str
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]]:
    """(query, documents judged relevant, documents judged 0) as they stand in the files, for each judged query.

    Raises:
        DataError: the judgements don't begin with BEIR's header.
    """
    corpus = _by_id(files, "corpus.jsonl")
    queries = _by_id(files, "queries.jsonl")
    grades: dict[str, dict[str, int]] = {}
    name = f"qrels/{split}.tsv"
    lines = ((number, line.split("\t")) for number, line in files.lines(name) if line.strip())
    first, header = next(lines, (1, []))
    if [column.strip() for column in header] != HEADER:
        raise DataError(f"wanted the header {', '.join(HEADER)}", path=files.path(name), line=first)
    for number, columns in lines:
        if len(columns) != 3 or columns[0] not in queries or columns[1] not in corpus or not _is_grade(columns[2]):
            files.bad("wanted a known query id, a known document id and a grade", name, number)
            continue
        if columns[1] in grades.setdefault(columns[0], {}):
            files.bad(f"query {columns[0]!r} and document {columns[1]!r} are judged twice", name, number)
            continue
        grades[columns[0]][columns[1]] = int(columns[2])
    for query_id, judged in grades.items():
        right, wrong = ([corpus[one] for one, grade in judged.items() if (grade > 0) is good] for good in (True, False))
        if right:
            yield queries[query_id], right, wrong


def _is_grade(text: str) -> bool:
    return text.strip().lstrip("-").isdigit()


def _by_id(files: SourceFiles, name: str) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, line in files.lines(name):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            texts = {"_id": str(row["_id"]), "title": str(row.get("title") or ""), "text": str(row["text"])}
            rows[texts["_id"]] = {**row, **texts}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            files.bad(f"no JSON object with _id and text ({error})", name, number)
    return rows
