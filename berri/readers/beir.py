"""Reader for a folder in BEIR's layout."""

from __future__ import annotations

import json
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
    corpus = _by_id(files, "corpus.jsonl")
    queries = _by_id(files, "queries.jsonl")
    judged: dict[str, dict[str, list[str]]] = {}
    name = f"qrels/{split}.tsv"
    for number, line in files.lines(name):
        columns = line.split("\t")
        if number == 1 or not line.strip():
            continue
        if len(columns) != 3 or columns[0] not in queries or columns[1] not in corpus:
            files.bad("wanted a known query id, a known document id and a grade", name, number)
            continue
        kind = "document" if int(columns[2]) > 0 else "wrong"
        judged.setdefault(columns[0], {}).setdefault(kind, []).append(columns[1])
    for query_id, found in judged.items():
        texts = {kind: [corpus[one]["text"] for one in ids] for kind, ids in found.items()}
        titles = [corpus[one].get("title", "") for one in found.get("document", ())]
        yield {"query": queries[query_id]["text"], "title": titles, **texts}


def _by_id(files: SourceFiles, name: str) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, line in files.lines(name):
        try:
            row = json.loads(line)
            rows[str(row["_id"])] = row
        except (ValueError, KeyError, TypeError) as error:
            files.bad(f"no JSON object with _id ({error})", name, number)
    return rows
