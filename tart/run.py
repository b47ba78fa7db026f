"""Run: ranked results per query, in the one order that the whole project uses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tart.errors import ConfigError, DataError
from tart.files import LONE_SURROGATE, atomic_write, read_lines

Scores = npt.NDArray[np.floating]


class Hit(NamedTuple):
    """One line of a run: a document and its score; a higher score is better."""

    doc_id: str
    score: float


def rank_hits(hits: Iterable[Hit]) -> list[Hit]:
    """Sort hits by the project's one order: float32 score falling, then doc_id falling.

    Source: trec_eval sorts so (`form_res_rels.c`), whatever ranks a run file states.

    >>> [hit.doc_id for hit in rank_hits([Hit("a", 1.0), Hit("c", 0.5), Hit("b", 1.0)])]
    ['b', 'a', 'c']
    """
    ranked = list(hits)
    scores = np.fromiter((hit.score for hit in ranked), dtype=np.float32, count=len(ranked))
    if (scores[:-1] > scores[1:]).all():  # as searches deliver them
        return ranked
    order = sorted(range(len(ranked)), key=lambda row: (scores[row], ranked[row].doc_id), reverse=True)
    return [ranked[row] for row in order]


class Run(Mapping[str, tuple[Hit, ...]]):
    """Ranked results: query_id -> hits, best first.

    Args:
        hits: for each query its hits, in any order.
        depth: how many hits were asked for per query, at least 1. A measure that looks deeper is an error, not a low
            number.

    Raises:
        ConfigError: if depth is below 1.
        DataError: if a score is NaN or a document comes twice for one query.

    >>> run = Run({"q1": [Hit("a", 0.2), Hit("b", 0.9)]}, depth=10)
    >>> run["q1"][0].doc_id
    'b'
    """

    def __init__(self, hits: Mapping[str, Iterable[Hit]], depth: int) -> None:
        if depth < 1:
            raise ConfigError(f"depth must be at least 1, got {depth}")
        self.depth = depth
        self._found: dict[str, tuple[tuple[str, ...], Scores]] = {}
        for query_id, found in hits.items():
            self._add(query_id, rank_hits(found))

    @classmethod
    def of_arrays(cls, found: Iterable[tuple[str, Sequence[str], Scores]], depth: int) -> Run:
        """A run from what searches deliver, several times faster than from hits.

        Args:
            found: for each query its id, document ids, and as many scores.
            depth: how many hits were asked for per query.

        Raises:
            ConfigError, DataError: as for the class; also if a query id comes twice.
        """
        run = cls({}, depth)
        for query_id, doc_ids, scores in found:
            if query_id in run._found:
                raise DataError(f"the query id {query_id!r} comes twice; ids must be unique", field="query_id")
            falling = bool((scores[:-1] > scores[1:]).all()) and not (len(scores) and math.isnan(scores[0]))
            if falling and len(set(doc_ids)) == len(doc_ids):
                run._found[query_id] = tuple(doc_ids[:depth]), scores[:depth]
            else:
                run._add(query_id, rank_hits(map(Hit, doc_ids, scores.tolist())))
        return run

    def _add(self, query_id: str, ranked: list[Hit]) -> None:
        if len({hit.doc_id for hit in ranked}) < len(ranked):
            raise DataError(f"query {query_id!r} has a document twice")
        for hit in ranked:
            if math.isnan(hit.score):
                raise DataError(f"query {query_id!r}: the score of document {hit.doc_id!r} is NaN")
        best = ranked[: self.depth]
        self._found[query_id] = tuple(hit.doc_id for hit in best), np.array([hit.score for hit in best], dtype=float)

    def __getitem__(self, query_id: str) -> tuple[Hit, ...]:
        doc_ids, scores = self._found[query_id]
        return tuple(map(Hit, doc_ids, scores.tolist()))

    def doc_ids(self, query_id: str) -> tuple[str, ...]:
        """The documents of a query, best first; none if the run lacks the query."""
        return self._found[query_id][0] if query_id in self._found else ()

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def cut(self, depth: int) -> Run:
        """The best `depth` hits of each query."""
        return Run.of_arrays(((qid, *found) for qid, found in self._found.items()), depth)

    def write_trec(self, path: str | Path, tag: str = "tart") -> None:
        """Write a TREC run file: `query_id Q0 doc_id rank score tag`, rank from 1, scores exact to the float32.

        Raises:
            DataError: if an id or the tag holds what the format can't express.
            StorageError: if the disk is full; the old file, if any, is kept.
        """
        for kind, names in (
            ("query id", self),
            ("document id", {doc_id for doc_ids, _ in self._found.values() for doc_id in doc_ids}),
            ("tag", [tag]),
        ):
            for name in names:
                if name.split() != [name] or LONE_SURROGATE.search(name):
                    raise DataError(
                        f"the {kind} {name!r} is empty or holds white space or a lone surrogate, "
                        "which a TREC run file can't express"
                    )
        with atomic_write(path) as file:
            for query_id, hits in self.items():
                for rank, hit in enumerate(hits, start=1):
                    line = f"{query_id} Q0 {hit.doc_id} {rank} {float(np.float32(hit.score)):.9g} {tag}\n"
                    file.write(line.encode("utf-8"))

    @classmethod
    def read_trec(cls, path: str | Path, depth: int | None = None) -> Run:
        """Read a TREC run file; the stated ranks are ignored, as trec_eval does.

        Args:
            path: the file.
            depth: how many hits were asked for; None takes the longest list found.

        Raises:
            DataError: naming the line, if one has not six columns, a score that is no number, or a document twice.
        """
        hits: dict[str, dict[str, float]] = {}
        for number, line in read_lines(path):
            columns = line.split()
            if not columns:
                continue
            if len(columns) != 6:
                wanted = "6 columns (query_id Q0 doc_id rank score tag)"
                raise DataError(f"wanted {wanted}, found {len(columns)}", path=path, line=number)
            query_id, _, doc_id, _, text, _ = columns
            try:
                score = float(text)
            except ValueError:
                raise DataError(f"{text!r} is not a number", path=path, line=number, field="score") from None
            if math.isnan(score):
                raise DataError("the score is NaN", path=path, line=number, field="score")
            if doc_id in hits.setdefault(query_id, {}):
                raise DataError(f"document {doc_id!r} comes twice for query {query_id!r}", path=path, line=number)
            hits[query_id][doc_id] = score
        longest = max((len(found) for found in hits.values()), default=1)
        depth = longest if depth is None else depth
        return cls({qid: [Hit(*item) for item in found.items()] for qid, found in hits.items()}, depth)
