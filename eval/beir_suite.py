"""Test collections in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

from __future__ import annotations

import difflib
import logging
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from eval.task import Task
from eval.wordings import reword
from tart.collection import Corpus, Qrels, Query, TestCollection
from tart.errors import ConfigError, DataError
from tart.files import read_lines
from tart.index.readers import read_documents, read_queries
from tart.instruction import Instruction

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

logger = logging.getLogger(__name__)

INSTRUCTIONS = Path(__file__).with_name("instructions.toml")
CQADUPSTACK = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
)  # fmt: skip
SPLITS = {"msmarco": "dev"}  # BEIR reports every other set on "test"


def load_beir(folder: str | Path, *, split: str | None = None, name: str | None = None, group: str = "") -> Task:
    """Load a test collection in BEIR's layout.

    A document with the query's own id is dropped from results, as BEIR does for every set: in sets whose queries are
    documents it would always be first, elsewhere ids don't meet.

    Args:
        folder: holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.
        split: "test" if None; "dev" for MS MARCO, as BEIR has it.
        name: of the task; the folder's if None. Its instructions are looked up by it.
        group: the suite of which this is a part, whose figure is the mean of its parts.

    Raises:
        DataError: naming file, line and field.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("no such folder", path=folder)
    name = name or folder.resolve().name
    qrels = read_qrels(folder / "qrels" / f"{split or SPLITS.get(name, 'test')}.tsv")
    corpus = Corpus(read_documents(folder / "corpus.jsonl"))
    queries = tuple(read_queries(folder / "queries.jsonl"))
    _tell_unknown(name, qrels, corpus, queries)
    known = _instructions().get(name, {})
    wordings = tuple(Instruction(text, unit=known["unit"]) for text in known.get("wordings", ()))
    collection = TestCollection(name, corpus, queries, qrels)
    return Task(name, "beir", collection, wordings, known.get("unit", ""), drop_identical_ids=True, group=group)


def load_beir_suite(data: str | Path, names: Sequence[str] | None = None) -> list[Task]:
    """Load several collections below a folder.

    Args:
        data: holds one folder for each, or is one itself.
        names: of the folders; "cqadupstack" stands for its twelve parts, whose mean is its figure. None: all.

    Raises:
        ConfigError: if there is no folder of a name; near names are suggested.
        DataError: see `load_beir`.
    """
    data = Path(data)
    if (data / "corpus.jsonl").is_file():
        return [load_beir(data)]
    if not data.is_dir():
        raise DataError("no such folder", path=data)
    there = sorted(path.name for path in data.iterdir() if _is_collection(path) or _is_collection(path / "android"))
    tasks = []
    for name in there if names is None else names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3, cutoff=0.4) or there
            raise ConfigError(f"{data}: holds no collection {name!r}; did you mean {', '.join(near)}?")
        if _is_collection(data / name):
            tasks.append(load_beir(data / name))
        else:
            parts = [data / name / part for part in CQADUPSTACK]
            tasks += [load_beir(part, name=f"{name}-{part.name}", group=name) for part in parts]
    return tasks


def read_qrels(path: str | Path) -> Qrels:
    """Read judgements: BEIR's three columns (query-id, corpus-id, score, with a header line), separated by tabs.

    Grades of 0 and below mean not relevant, as for trec_eval.

    Raises:
        DataError: naming the line: not three columns, a grade that is no whole number, or a pair twice.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, line in read_lines(path):
        columns = line.split("\t")
        if not line.strip() or (number == 1 and columns[-1].strip() == "score"):
            continue
        if len(columns) != 3:
            raise DataError(f"wanted 3 columns separated by tabs, found {len(columns)}", path=path, line=number)
        query_id, doc_id, grade = columns
        if not re.fullmatch(r"[+-]?\d+", grade.strip()):
            raise DataError(f"{grade!r} is not a whole number", path=path, line=number, field="score")
        judged = qrels.setdefault(query_id, {})
        if doc_id in judged:
            raise DataError(f"query {query_id!r} and document {doc_id!r} are judged twice", path=path, line=number)
        judged[doc_id] = int(grade)
    if not qrels:
        raise DataError("holds no judgement", path=path)
    return qrels


def _is_collection(path: Path) -> bool:
    return (path / "corpus.jsonl").is_file() and (path / "qrels").is_dir()


def _tell_unknown(name: str, qrels: Qrels, corpus: Corpus, queries: Iterable[Query]) -> None:
    """Warn of judgements that name what isn't there; they count as trec_eval counts them."""
    known = {query.query_id for query in queries}
    unknown = {
        "queries": [query_id for query_id in qrels if query_id not in known],
        "documents": sorted({doc_id for judged in qrels.values() for doc_id in judged if doc_id not in corpus}),
    }
    for what, ids in unknown.items():
        if ids:
            logger.warning("%s: the judgements name %d unknown %s: %s", name, len(ids), what, ", ".join(ids[:5]))


@cache
def _instructions() -> dict[str, dict[str, Any]]:
    """eval/instructions.toml, checked, with paraphrases by rule behind the written wordings."""
    with INSTRUCTIONS.open("rb") as file:
        table: dict[str, dict[str, Any]] = tomllib.load(file)
    for name, entry in table.items():
        if set(entry) != {"unit", "wordings"} or not entry["wordings"]:
            raise DataError("wanted the keys unit and wordings, with a wording at least", path=INSTRUCTIONS, field=name)
        entry["wordings"] += [wording.text for wording in reword(Instruction(entry["wordings"][0]))]
    return table
