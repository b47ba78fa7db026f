"""Run: ranked results per query, in the one order that the whole project uses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tart.errors import ConfigError, DataError
from tart.files import LONE_SURROGATE, atomic_write, read_lines


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
        self._hits: dict[str, tuple[Hit, ...]] = {}
        for query_id, found in hits.items():
            ranked = rank_hits(found)
            if len({hit.doc_id for hit in ranked}) < len(ranked):
                raise DataError(f"query {query_id!r} has a document twice")
            for hit in ranked:
                if math.isnan(hit.score):
                    raise DataError(f"query {query_id!r}: the score of document {hit.doc_id!r} is NaN")
            self._hits[query_id] = tuple(ranked[:depth])

    def __getitem__(self, query_id: str) -> tuple[Hit, ...]:
        return self._hits[query_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hits)

    def __len__(self) -> int:
        return len(self._hits)

    def without_identical_ids(self) -> Run:
        """Drop each hit whose document has the query's own id: BEIR's rule for sets whose queries are documents."""
        kept = {qid: [hit for hit in hits if hit.doc_id != qid] for qid, hits in self._hits.items()}
        return Run(kept, self.depth)

    def cut(self, depth: int) -> Run:
        """The best `depth` hits of each query."""
        return Run(self._hits, depth)

    def write_trec(self, path: str | Path, tag: str = "tart") -> None:
        """Write a TREC run file: `query_id Q0 doc_id rank score tag`, rank from 1, scores exact to the float32.

        Raises:
            DataError: if an id or the tag holds what the format can't express.
            StorageError: if the disk is full; the old file, if any, is kept.
        """
        for kind, names in (
            ("query id", self._hits),
            ("document id", {h.doc_id for hits in self._hits.values() for h in hits}),
            ("tag", [tag]),
        ):
            for name in names:
                if name.split() != [name] or LONE_SURROGATE.search(name):
                    raise DataError(
                        f"the {kind} {name!r} is empty or holds white space or a lone surrogate, "
                        "which a TREC run file can't express"
                    )
        with atomic_write(path) as file:
            for query_id, hits in self._hits.items():
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
