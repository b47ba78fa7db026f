"""Collections in which the same query comes with several instructions: FollowIR, InstructIR, opposite instructions.

All have BEIR's layout (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv); what differs is where the instruction stands:

- in each query's "instruction", or in its metadata. Ids that end with "-og" and "-changed" are FollowIR's pairs (as in
  mteb's copies of the data); ids such as "Q_3", where all of one Q have the same text, are InstructIR's instances;
  otherwise queries of the same text belong together.
- in "instruction_og" and "instruction_changed", with judgements in qrels_og/SPLIT.tsv and qrels_changed/SPLIT.tsv: the
  form in which FollowIR's authors publish. Each row becomes two queries, ID-og and ID-changed.
- in the query's text itself, before the "source_query" of its metadata: PIR. The text is taken apart again.

An optional top_ranked.jsonl names the documents that are ranked for each query: {"query-id": ..., "corpus-ids": [...]}
as in mteb, or {"qid": ..., "pid": ...}, one document a line, as FollowIR's authors have it.

Source: FollowIR, arXiv 2403.15246; InstructIR, arXiv 2402.14334.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eval.beir_suite import check_itself, read_qrels
from eval.follow_measures import opposite_p_mrr, p_mrr, removed_by_change
from eval.judgements import tell_oddities
from eval.task import Task
from tart.collection import Corpus, Qrels, Query, TestCollection
from tart.errors import ConfigError, DataError
from tart.files import parse_json_object, read_lines
from tart.index.readers import read_documents, read_queries
from tart.instruction import Instruction
from tart.run import Run

ORIGINAL, CHANGED = "-og", "-changed"


class Pair(NamedTuple):
    """Two queries of the same text under two instructions."""

    pair_id: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class FollowTask:
    """A task in which the same query comes with several instructions.

    Args:
        task: its queries carry their instructions.
        groups: base query -> the ids of its queries, each with another instruction; some hold one alone.
        pairs: what p-MRR compares. Of a group of two those two; of a larger one each query with the next, in a circle.
        directed: whether only the way from the first to the second instruction rules documents out (FollowIR), or both
            ways count.
        candidates: query_id -> the documents that are to be ranked for it; None: the whole corpus.
    """

    task: Task
    groups: Mapping[str, tuple[str, ...]]
    pairs: tuple[Pair, ...]
    directed: bool
    candidates: Mapping[str, tuple[str, ...]] | None = None

    def among_candidates(self, run: Run) -> Run:
        """The run without what isn't to be ranked; hand in one as deep as the corpus, so that nothing is missing."""
        if self.candidates is None:
            return run
        wanted = {query_id: set(self.candidates[query_id]) for query_id in run if query_id in self.candidates}
        kept = {
            query_id: [hit for hit in run[query_id] if query_id not in wanted or hit.doc_id in wanted[query_id]]
            for query_id in run
        }
        return Run(kept, run.depth)

    def removed(self) -> dict[str, list[str]]:
        """pair_id -> the documents that are relevant under the first instruction and not under the second."""
        return removed_by_change(self._judged("first"), self._judged("second"))

    def p_mrr(self, run: Run) -> dict[str, float]:
        """pair_id -> p-MRR, from -1 to 1, higher is better, 0 if the instruction is ignored.

        Args:
            run: of all queries of the task.

        Raises:
            ConfigError: if none of the pairs is in the run.
        """
        first, second = self._side(run, "first"), self._side(run, "second")
        if self.directed:
            return p_mrr(first, second, self.removed())
        return opposite_p_mrr(first, second, self._judged("first"), self._judged("second"))

    def _side(self, run: Run, side: str) -> Run:
        return Run({p.pair_id: run[getattr(p, side)] for p in self.pairs if getattr(p, side) in run}, run.depth)

    def _judged(self, side: str) -> Qrels:
        qrels = self.task.collection.qrels
        return {pair.pair_id: qrels.get(getattr(pair, side), {}) for pair in self.pairs}


def load_follow(folder: str | Path, *, split: str = "test", name: str | None = None) -> FollowTask:
    """Load a collection in one of the forms above.

    Args:
        folder: holds corpus.jsonl, queries.jsonl and the judgements.
        split: which judgements.
        name: of the task; the folder's if None.

    Raises:
        DataError: naming file, line and field: what `load_beir` refuses, a query without an instruction, half a pair,
            a text that doesn't end with its source query, candidates that aren't documents.
    """
    folder = Path(folder)
    path = folder / "queries.jsonl"
    name = name or folder.resolve().name
    form = _form(path)
    if form == "two columns":
        queries = tuple(_from_two_columns(path))
        qrels = {
            query_id + suffix: judged
            for suffix, part in ((ORIGINAL, "qrels_og"), (CHANGED, "qrels_changed"))
            for query_id, judged in read_qrels(folder / part / f"{split}.tsv").items()
        }
    else:
        queries = tuple(_from_texts(path)) if form == "in the text" else tuple(read_queries(path))
        qrels = dict(read_qrels(folder / "qrels" / f"{split}.tsv"))
    without = [query.query_id for query in queries if query.instruction is None]
    if without:
        problem = f"{len(without):,} of {len(queries):,} queries have none, the first is {without[0]!r}"
        raise DataError(f"{problem}; wanted one in each query or its metadata", path=path, field="instruction")
    corpus = Corpus(read_documents(folder / "corpus.jsonl"))
    tell_oddities(name, qrels, corpus, queries)
    queries = tuple(query for query in queries if query.query_id in qrels)
    if not queries:
        raise DataError(f"no query is judged in the split {split!r}", path=path)
    directed = all(query.query_id.endswith((ORIGINAL, CHANGED)) for query in queries)
    groups = _pairs_by_id(queries, path) if directed else _grouped(queries)
    candidates = _read_candidates(folder / "top_ranked.jsonl", queries, corpus)
    task = Task(name, "follow", TestCollection(name, corpus, queries, qrels))
    return FollowTask(task, groups, tuple(_pairs(groups)), directed, candidates)


def load_follow_suite(data: str | Path, names: Sequence[str] | None = None, *, split: str = "test") -> list[FollowTask]:
    """Load several collections below a folder.

    Args:
        data: holds one folder for each, or is one itself.
        names: of the folders; None: all whose queries have instructions.
        split: which judgements.

    Raises:
        ConfigError: if there is no folder of a name; near names are suggested. Or if the folder is a collection itself
            and others are asked for.
        DataError: see `load_follow`; or if there is none at all.
    """
    data = Path(data)
    if (data / "queries.jsonl").is_file():
        check_itself(data, names)
        return [load_follow(data, split=split)]
    if not data.is_dir():
        raise DataError("no such folder", path=data)
    there = [path.parent for path in sorted(data.glob("*/queries.jsonl")) if _has_instructions(path)]
    if not there:
        raise DataError("holds no collection whose queries have instructions", path=data)
    known = [folder.name for folder in there]
    for name in names or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise ConfigError(f"{data}: holds no {name!r} with instructions; did you mean {', '.join(near)}?")
    return [load_follow(data / name, split=split) for name in (known if names is None else names)]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((number, parse_json_object(line, path, number)) for number, line in read_lines(path) if line.strip())


def _first_row(path: Path) -> dict[str, Any]:
    return next((row for _, row in _rows(path)), {})


def _metadata(row: Mapping[str, Any]) -> dict[str, Any]:
    metadata = row.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _form(path: Path) -> str:
    row = _first_row(path)
    if "instruction_og" in row:
        return "two columns"
    return "in the text" if "source_query" in _metadata(row) else "in each query"


def _has_instructions(path: Path) -> bool:
    row = _first_row(path)
    return bool({"instruction", "instruction_og"} & set(row) or {"instruction", "source_query"} & set(_metadata(row)))


def _string(row: Mapping[str, Any], field: str, path: Path, line: int) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        found = "nothing" if field not in row else repr(value)[:40]
        raise DataError(f"wanted a string that isn't blank, found {found}", path=path, line=line, field=field)
    return value


def _from_two_columns(path: Path) -> Iterator[Query]:
    seen: set[str] = set()
    for number, row in _rows(path):
        query_id, text = _string(row, "_id", path, number), _string(row, "text", path, number)
        if query_id in seen:
            raise DataError(f"{query_id!r} comes twice", path=path, line=number, field="_id")
        seen.add(query_id)
        for suffix, field in ((ORIGINAL, "instruction_og"), (CHANGED, "instruction_changed")):
            yield Query(query_id + suffix, text, Instruction(_string(row, field, path, number)))


def _from_texts(path: Path) -> Iterator[Query]:
    for query, (number, row) in zip(read_queries(path), _rows(path), strict=True):
        source = _string(_metadata(row), "source_query", path, number).strip()
        text = query.text.strip()
        wish = text.removesuffix(source).strip().rstrip(":").rstrip()
        if not text.endswith(source) or not wish:
            problem = "wanted an instruction and then the source_query of the metadata"
            raise DataError(f"{problem}, found {text[:60]!r}", path=path, line=number, field="text")
        yield Query(query.query_id, source, Instruction(wish))


def _pairs_by_id(queries: Sequence[Query], path: Path) -> dict[str, tuple[str, ...]]:
    """FollowIR: BASE-og and BASE-changed."""
    ids = {query.query_id for query in queries}
    bases = dict.fromkeys(query.query_id.removesuffix(CHANGED).removesuffix(ORIGINAL) for query in queries)
    for base in bases:
        for query_id in (base + ORIGINAL, base + CHANGED):
            if query_id not in ids:
                raise DataError(f"{query_id!r} is missing or not judged; wanted both of a pair", path=path, field="_id")
    return {base: (base + ORIGINAL, base + CHANGED) for base in bases}


def _grouped(queries: Sequence[Query]) -> dict[str, tuple[str, ...]]:
    """By what stands before the first "_" of the ids, if that puts equal texts together, else by the texts."""
    by_id: dict[str, list[Query]] = defaultdict(list)
    by_text: dict[str, list[Query]] = defaultdict(list)
    for query in queries:
        by_id[query.query_id.split("_")[0]].append(query)
        by_text[query.text].append(query)
    fits = all(len({query.text for query in members}) == 1 for members in by_id.values())
    if fits and len(by_id) < len(queries):
        return {base: tuple(query.query_id for query in members) for base, members in by_id.items()}
    return {members[0].query_id: tuple(query.query_id for query in members) for members in by_text.values()}


def _pairs(groups: Mapping[str, tuple[str, ...]]) -> Iterator[Pair]:
    for base, members in groups.items():
        if len(members) == 2:
            yield Pair(base, *members)
        elif len(members) > 2:
            for first, second in zip(members, [*members[1:], members[0]], strict=True):
                yield Pair(f"{first}|{second}", first, second)


def _read_candidates(path: Path, queries: Sequence[Query], corpus: Corpus) -> dict[str, tuple[str, ...]] | None:
    if not path.is_file():
        return None
    listed: dict[str, list[str]] = defaultdict(list)
    for number, row in _rows(path):
        old = "qid" in row
        query_id = str(row.get("qid" if old else "query-id", ""))
        doc_ids = [row.get("pid")] if old else row.get("corpus-ids")
        field = "pid" if old else "corpus-ids"
        if not isinstance(doc_ids, list):
            raise DataError("wanted a list of document ids", path=path, line=number, field=field)
        for doc_id in map(str, doc_ids):
            if doc_id not in corpus:
                raise DataError(f"the corpus has no document {doc_id!r}", path=path, line=number, field=field)
            listed[query_id].append(doc_id)
    found = {}
    for query in queries:  # a list for a base query holds for both of its pair
        base = query.query_id.removesuffix(CHANGED).removesuffix(ORIGINAL)
        doc_ids = listed.get(query.query_id) or listed.get(base)
        if not doc_ids:
            raise DataError(f"has no candidates for query {query.query_id!r}", path=path)
        found[query.query_id] = tuple(dict.fromkeys(doc_ids))
    return found
