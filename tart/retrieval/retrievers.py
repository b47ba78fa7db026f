"""Retrievers: queries to a run, by vectors or by words; and reranking, a run to a better one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tart.collection import Document, Query
from tart.index.approximate import ApproximateIndex
from tart.index.dense import DenseIndex, check_finite
from tart.index.documents import DocumentStore
from tart.index.sparse import SparseIndex
from tart.models.summed import SummedReranker
from tart.retrieval.protocols import Encoder, Reranker, Scored
from tart.run import Hit, Run

logger = logging.getLogger(__name__)


class DenseRetriever:
    """Retrieves by the vectors of instruction and query together.

    Args:
        encoder: makes the queries' vectors.
        index: searches the documents' vectors exactly.
        documents: the documents.
        approximate: searches them faster, if the index has such a setting.
    """

    def __init__(
        self,
        encoder: Encoder,
        index: DenseIndex,
        documents: DocumentStore,
        approximate: ApproximateIndex | None = None,
    ) -> None:
        self.encoder, self.index, self.documents, self.approximate = encoder, index, documents, approximate

    def retrieve(self, queries: Sequence[Query], k: int, *, exact: bool = False) -> Run:
        """The best k documents for each query, or all if there are fewer; about the best, unless `exact`.

        Raises:
            DataError: if the model's vectors aren't finite, or an id comes twice.
        """
        vectors = self.encoder.encode_queries(queries)
        check_finite(vectors, [query.query_id for query in queries], self.encoder.name)
        index = self.index if exact or self.approximate is None else self.approximate
        return _to_run(queries, index.search(vectors, k), self.documents, k)


class SparseRetriever:
    """Retrieves by the query's own words (BM25). An instruction doesn't change the result."""

    def __init__(self, index: SparseIndex, documents: DocumentStore) -> None:
        self.index, self.documents = index, documents
        self._warned = False

    def retrieve(self, queries: Sequence[Query], k: int) -> Run:
        """The best k documents for each query; only those that share a word with it."""
        if not self._warned and any(query.instruction for query in queries):
            self._warned = True
            logger.warning("BM25 ranks by the words of the query alone: the instruction changes nothing in its part")
        return _to_run(queries, self.index.search([query.text for query in queries], k), self.documents, k)


def rerank(
    run: Run, queries: Sequence[Query], documents: Mapping[str, Document], reranker: Reranker, scored_by: str = ""
) -> Run:
    """Score every hit of a run anew; the reranker sees the instruction.

    Args:
        run: what was found.
        queries: that were asked.
        documents: by id.
        reranker: the cross-encoder.
        scored_by: the bi-encoder whose scores the run has; a reranker that adds to that one's takes them as they are.

    Returns:
        A run of the same depth with the same documents, in the reranker's order.
    """
    pairs = [(query, documents[hit.doc_id]) for query in queries for hit in run[query.query_id]]
    if isinstance(reranker, SummedReranker) and _same_model(reranker.first_stage, scored_by):
        known = [hit.score for query in queries for hit in run[query.query_id]]
        scores = iter(reranker.add(pairs, np.asarray(known, dtype=np.float32)).tolist())
    else:
        scores = iter(reranker.score(pairs).tolist())
    return Run({q.query_id: [Hit(hit.doc_id, next(scores)) for hit in run[q.query_id]] for q in queries}, run.depth)


def _same_model(name: str, other: str) -> bool:
    """Whether two names are of one model; a folder may be named in several ways."""
    folders = [Path(one) for one in (name, other) if one and Path(one).is_dir()]
    return name == other or (len(folders) == 2 and folders[0].samefile(folders[1]))


def _to_run(queries: Sequence[Query], found: Sequence[Scored], documents: DocumentStore, k: int) -> Run:
    pairs = zip(queries, found, strict=True)
    return Run.of_arrays(((q.query_id, documents.doc_ids(one.rows), one.scores) for q, one in pairs), k)
