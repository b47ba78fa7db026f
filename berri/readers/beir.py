"""Reader for a folder in BEIR's layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows


@reader("beir")
def read_beir(files: SourceFiles, *, split: str = "train") -> Rows:
    """Judged queries: `query`, the texts judged relevant as `document`, those judged 0 as `wrong`, their `title`s.

    Args:
        files: corpus.jsonl, queries.jsonl and qrels/<split>.tsv.
        split: which judgements.
    """
    for query, right, wrong in judged_queries(files, split):
        yield {
            "query": query["text"],
            "title": [one.get("title", "") for one in right],
            "document": [one["text"] for one in right],
            "wrong": [one["text"] for one in wrong],
        }


def judged_queries(
    files: SourceFiles, split: str
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]]:
    """(query, documents judged relevant, documents judged 0) as they stand in the files, for each judged query."""
    corpus = _by_id(files, "corpus.jsonl")
    queries = _by_id(files, "queries.jsonl")
    judged: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
    name = f"qrels/{split}.tsv"
    for number, line in files.lines(name):
        columns = line.split("\t")
        if number == 1 or not line.strip():
            continue
        if len(columns) != 3 or columns[0] not in queries or columns[1] not in corpus or not _is_grade(columns[2]):
            files.bad("wanted a known query id, a known document id and a grade", name, number)
            continue
        judged.setdefault(columns[0], ([], []))[int(columns[2]) <= 0].append(corpus[columns[1]])
    for query_id, (right, wrong) in judged.items():
        if right:
            yield queries[query_id], right, wrong


def _is_grade(text: str) -> bool:
    return text.strip().lstrip("-").isdigit()


def _by_id(files: SourceFiles, name: str) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, line in files.lines(name):
        try:
            row = json.loads(line)
            rows[str(row["_id"])] = {**row, "_id": str(row["_id"]), "text": str(row["text"])}
        except (ValueError, KeyError, TypeError) as error:
            files.bad(f"no JSON object with _id and text ({error})", name, number)
    return rows
