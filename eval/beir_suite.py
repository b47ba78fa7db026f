"""Test collections in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

from __future__ import annotations

import csv
import difflib
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from eval.judgements import tell_oddities
from eval.task import Task
from tart.collection import Corpus, Qrels, TestCollection
from tart.errors import ConfigError, DataError
from tart.files import read_lines
from tart.index.readers import read_documents, read_queries
from tart.instruction import Instruction

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

INSTRUCTIONS = Path(__file__).with_name("instructions.toml")
CQADUPSTACK = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
)  # fmt: skip
SPLITS = {"msmarco": "dev"}  # BEIR reports every other set on "test"
HEADER = ["query-id", "corpus-id", "score"]
_GRADE = re.compile(r"[+-]?[0-9]{1,9}")  # more digits are no grade, and Python refuses to read thousands of them


class KnownSet(NamedTuple):
    """What a BEIR set wants: its wordings, the first being its own instruction, and what kind of document."""

    unit: str
    wordings: tuple[Instruction, ...]


def load_beir(
    folder: str | Path,
    *,
    split: str | None = None,
    name: str | None = None,
    group: str = "",
    drop_identical_ids: bool | None = None,
) -> Task:
    """Load a test collection in BEIR's layout, with the queries that its judgements name.

    A document with the query's own id is dropped from the results of BEIR's own sets, as beir's `evaluate` does for
    all of them (mteb does so for ArguAna, FEVER, FiQA, MS MARCO and Quora only). In ArguAna and Quora it is the query
    itself, which would always come first; elsewhere the ids hardly meet. Of other collections nothing is dropped: two
    numberings that both begin at 1 would lose documents.

    Args:
        folder: holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.
        split: "test" if None; "dev" for MS MARCO, as BEIR has it.
        name: of the task; the folder's if None. BEIR's own sets are known by it.
        group: the set of which this is a part, whose figure is the mean of its parts; then that one is looked up.
        drop_identical_ids: None: as told above.

    Raises:
        DataError: naming file, line and field; or if none of the judged queries is there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("no such folder", path=folder)
    name = name or folder.resolve().name
    chosen = split or SPLITS.get(name, "test")
    path = folder / "qrels" / f"{chosen}.tsv"
    if not path.is_file():
        there = ", ".join(sorted(found.stem for found in path.parent.glob("*.tsv"))) or "none at all"
        raise DataError(f"no such file; the splits that are there: {there}", path=path)
    qrels = read_qrels(path)
    corpus = Corpus(read_documents(folder / "corpus.jsonl"))
    queries = tuple(query for query in read_queries(folder / "queries.jsonl") if query.query_id in qrels)
    tell_oddities(name, qrels, corpus, queries)
    if not queries:
        problem = f"holds none of the {len(qrels):,} queries that {path.name} judges"
        raise DataError(problem, path=folder / "queries.jsonl")
    known = known_sets().get(group or name)
    drop = known is not None if drop_identical_ids is None else drop_identical_ids
    unit, wordings = known or KnownSet("", ())
    return Task(name, "beir", TestCollection(name, corpus, queries, qrels), wordings, unit, drop, group)


def load_beir_suite(data: str | Path, names: Sequence[str] | None = None, *, split: str | None = None) -> list[Task]:
    """Load several collections below a folder.

    Args:
        data: holds one folder for each, or is one itself.
        names: of the folders; "cqadupstack" stands for its twelve parts, whose mean is its figure. None: all.
        split: which judgements; None: the official ones.

    Raises:
        ConfigError: if there is no folder of a name; near names are suggested. Or if the folder is a collection itself
            and others are asked for.
        DataError: see `load_beir`.
    """
    data = Path(data)
    if (data / "corpus.jsonl").is_file():
        check_itself(data, names)
        return [load_beir(data, split=split)]
    if not data.is_dir():
        raise DataError("no such folder", path=data)
    there = sorted(path.name for path in data.iterdir() if _is_collection(path) or _is_collection(path / "android"))
    tasks = []
    for name in there if names is None else names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3, cutoff=0.4) or there
            raise ConfigError(f"{data}: holds no collection {name!r}; did you mean {', '.join(near)}?")
        if _is_collection(data / name):
            tasks.append(load_beir(data / name, split=split))
        else:
            parts = [data / name / part for part in CQADUPSTACK]
            tasks += [load_beir(part, name=f"{name}-{part.name}", group=name, split=split) for part in parts]
    return tasks


def check_itself(data: Path, names: Sequence[str] | None) -> None:
    """Refuse names of other collections where the folder is one itself: they would be passed over in silence.

    Raises:
        ConfigError: naming the folder and what was asked for.
    """
    own = data.resolve().name
    other = [name for name in names or () if name != own]
    if other:
        advice = "leave the names out, or give the folder above it"
        raise ConfigError(f"{data}: is the collection {own!r} itself and holds no {other[0]!r}; {advice}")


def read_qrels(path: str | Path) -> Qrels:
    """Read judgements.

    Two forms are known: BEIR's, with a header line and three columns (query-id, corpus-id, score) separated by tabs,
    where an id that holds a quotation mark is quoted as in CSV; and TREC's, with four columns (query_id 0 doc_id grade)
    separated by white space. Grades of 0 and below mean not relevant, as for trec_eval.

    Raises:
        DataError: naming line and field: a column is missing or empty, a grade is no whole number, a pair comes twice.
    """
    qrels: dict[str, dict[str, int]] = {}
    trec: bool | None = None
    for number, line in read_lines(path):
        if not line.strip():
            continue
        columns = next(csv.reader([line], delimiter="\t")) if '"' in line else line.split("\t")
        if trec is None:
            if [column.strip() for column in columns] == HEADER:
                trec = False
                continue
            trec = _is_trec(line)
            if not trec and len(columns) == 3:
                wanted = "the header query-id, corpus-id, score"
                raise DataError(f"wanted {wanted}, found {', '.join(columns)}"[:200], path=path, line=number)
        columns = line.split() if trec else columns
        if len(columns) != (4 if trec else 3):
            wanted = "4 columns separated by white space" if trec else "3 columns separated by tabs"
            raise DataError(f"wanted {wanted}, found {len(columns)}", path=path, line=number)
        if trec:
            del columns[1]
        _add_judgement(qrels, columns, path, number)
    if not qrels:
        raise DataError("holds no judgement", path=path)
    return qrels


def _is_trec(line: str) -> bool:
    columns = line.split()
    return len(columns) == 4 and _GRADE.fullmatch(columns[3]) is not None


def _add_judgement(qrels: dict[str, dict[str, int]], columns: Sequence[str], path: str | Path, line: int) -> None:
    query_id, doc_id, grade = columns
    for field, value in (("query-id", query_id), ("corpus-id", doc_id)):
        if not value.strip():
            raise DataError("must not be empty", path=path, line=line, field=field)
    if not _GRADE.fullmatch(grade.strip()):
        raise DataError(f"{grade[:40]!r} is not a whole number", path=path, line=line, field="score")
    judged = qrels.setdefault(query_id, {})
    if doc_id in judged:
        raise DataError(f"query {query_id!r} and document {doc_id!r} are judged twice", path=path, line=line)
    judged[doc_id] = int(grade)


def _is_collection(path: Path) -> bool:
    return (path / "corpus.jsonl").is_file() and (path / "qrels").is_dir()


@cache
def known_sets() -> dict[str, KnownSet]:
    """BEIR's own sets by name, from eval/instructions.toml."""
    return read_instructions(INSTRUCTIONS)


def read_instructions(path: Path) -> dict[str, KnownSet]:
    """Read a file like eval/instructions.toml.

    Raises:
        DataError: naming file and key: one is missing, unknown, blank or of the wrong type, or a wording comes twice.
    """
    try:
        table = tomllib.loads("\n".join(text for _, text in read_lines(path)))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError, as is a number of too many digits
        raise DataError(f"not valid TOML ({error})", path=path) from None
    sets = {}
    for name, entry in table.items():
        keys = ("intent", "domain", "unit", "wordings")
        if not isinstance(entry, dict) or set(entry) != set(keys):
            raise DataError(f"wanted the keys {', '.join(keys)}", path=path, field=name)
        for key in keys[:3]:
            if not isinstance(entry[key], str) or not entry[key].strip():
                raise DataError("must be a string that isn't blank", path=path, field=f"{name}.{key}")
        texts = entry["wordings"]
        if (
            not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) and text.strip() for text in texts)
        ):
            problem = "must be a list of strings that aren't blank, one at least"
            raise DataError(problem, path=path, field=f"{name}.wordings")
        if len(set(texts)) < len(texts):
            raise DataError("holds a wording twice", path=path, field=f"{name}.wordings")
        wordings = tuple(Instruction(text, entry["intent"], entry["domain"], entry["unit"]) for text in texts)
        sets[name] = KnownSet(entry["unit"], wordings)
    return sets
