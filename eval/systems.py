"""The systems that there are (vectors, BM25, both, a cross-encoder behind them), and how a name becomes one."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.embedding_cache import EmbeddingCache, query_fingerprint
from eval.given_systems import RetrieverSystem, TrecRunSystem
from eval.system import Corpora, PooledDocuments, System, some, unknown_documents
from tart.collection import Query
from tart.errors import ConfigError, DataError
from tart.index.dense import DenseIndex
from tart.index.sparse import SETTINGS, SparseIndex, write_bm25
from tart.models.backend import Backend
from tart.models.load import load_encoder, load_reranker
from tart.retrieval.fusion import ReciprocalRankFusion
from tart.retrieval.protocols import Encoder, Reranker, Retriever, Scored
from tart.retrieval.retrievers import rerank
from tart.retrieval.searcher import CANDIDATES
from tart.run import Hit, Run

BATCH = 4096  # queries that are searched at once: bounds the memory of a search whatever the number of queries


class DenseSystem(System):
    """Vectors, searched exactly."""

    retrieval = "dense"

    def __init__(self, encoder: Encoder, cache: EmbeddingCache, name: str | None = None) -> None:
        self.encoder, self.cache, self.name = encoder, cache, name or encoder.name

    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        """See `System.retrieve`. A corpus is encoded once, for every pool and instruction."""
        _check_unique(queries)
        vectors = self.cache.queries(self.encoder, queries)
        indexes, ids = [], []
        for prefix, corpus in corpora:
            if len(corpus):
                matrix = np.asarray(self.cache.documents(self.encoder, corpus))  # a view of what is mapped
                indexes.append(DenseIndex(matrix, self.encoder.similarity))
                ids.append((prefix, np.array(list(corpus), dtype=object)))

        def search() -> Iterator[tuple[str, list[str], npt.NDArray[np.float32]]]:
            for start in range(0, len(queries), BATCH):
                batch = queries[start : start + BATCH]
                found = [index.search(vectors[start : start + BATCH], k) for index in indexes]
                for row, query in enumerate(batch):
                    yield query.query_id, *_best([one[row] for one in found], ids, k)

        return Run.of_arrays(search(), k)

    def facts(self) -> dict[str, Any]:
        """Name, hash, text format and similarity of the model."""
        encoder = self.encoder
        return {
            "model": self.name,
            "retrieval": self.retrieval,
            "model_hash": encoder.model_hash,
            "backend": encoder.backend,
            "text_format": encoder.text_format.to_dict(),
            "similarity": encoder.similarity,
            "dim": encoder.dim,
        }


class SparseSystem(System):
    """BM25 on the query's own words; an instruction changes nothing. A pool has one index, with the idf of the pool."""

    name, retrieval = "bm25", "sparse"

    def __init__(self) -> None:
        self._indexes: dict[tuple[tuple[str, str], ...], SparseIndex] = {}
        self._last: tuple[object, Run] | None = None  # the next condition asks the same again
        self._folder = tempfile.TemporaryDirectory(prefix="tart-eval-bm25-")

    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        """See `System.retrieve`. Documents that share no word with the query are not ranked."""
        _check_unique(queries)
        pool = tuple((prefix, corpus.fingerprint) for prefix, corpus in corpora)
        asked = (pool, query_fingerprint([query.plain() for query in queries]), k)
        if self._last is None or self._last[0] != asked:
            self._last = asked, self._search(pool, corpora, queries, k)
        return self._last[1]

    def _search(self, pool: tuple[tuple[str, str], ...], corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        ids = np.array([prefix + doc_id for prefix, corpus in corpora for doc_id in corpus], dtype=object)
        if pool not in self._indexes:
            folder = Path(self._folder.name) / str(len(self._indexes))
            folder.mkdir()
            write_bm25(folder, (document for _, corpus in corpora for document in corpus.values()))
            self._indexes[pool] = SparseIndex(folder)

        def search() -> Iterator[tuple[str, list[str], npt.NDArray[np.float32]]]:
            for start in range(0, len(queries), BATCH):
                batch = queries[start : start + BATCH]
                found = self._indexes[pool].search([query.text for query in batch], k)
                for query, scored in zip(batch, found, strict=True):
                    yield query.query_id, *_best([scored], [("", ids)], k)

        return Run.of_arrays(search(), k)

    def facts(self) -> dict[str, Any]:
        """The settings of BM25."""
        return {"model": self.name, "retrieval": self.retrieval, "bm25s": SETTINGS}


class HybridSystem(System):
    """Vectors and BM25, each to a depth of 100 at least, joined by reciprocal rank fusion."""

    retrieval = "hybrid"

    def __init__(self, dense: DenseSystem, sparse: SparseSystem) -> None:
        self.dense, self.sparse, self.name = dense, sparse, dense.name
        self.fusion = ReciprocalRankFusion()

    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        """See `System.retrieve`."""
        depth = max(k, CANDIDATES)
        runs = [system.retrieve(corpora, queries, depth) for system in (self.dense, self.sparse)]
        return self.fusion.fuse(runs, k)

    def facts(self) -> dict[str, Any]:
        """Those of both parts, and the constant of the fusion."""
        parts = {**self.sparse.facts(), **self.dense.facts()}
        return {**parts, "retrieval": self.retrieval, "fusion": f"reciprocal rank, constant {self.fusion.constant}"}


class RerankSystem(System):
    """The best documents of another system in the order of a cross-encoder, which sees the instruction.

    Args:
        first: of a run file everything is reranked, whatever `depth` says.
        reranker: the cross-encoder.
        depth: how many documents it sees for each query. A run is no deeper than that.
    """

    def __init__(self, first: System, reranker: Reranker, depth: int = CANDIDATES) -> None:
        self.first, self.reranker, self.depth = first, reranker, depth
        self.name, self.retrieval = f"{first.name}+{reranker.name}", f"{first.retrieval}+rerank"

    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        """See `System.retrieve`."""
        everything = sum(len(corpus) for _, corpus in corpora)
        candidates = self.first.retrieve(corpora, queries, everything if self.first.fixed else self.depth)
        documents = PooledDocuments(corpora)
        scored_by = self.first.encoder.name if isinstance(self.first, DenseSystem) else ""
        unknown = unknown_documents(candidates, documents)
        if unknown:
            raise DataError(f"{some(unknown)} of {self.first.name} not in the corpus: a reranker needs their texts")
        hits: dict[str, tuple[Hit, ...]] = {}
        for start in range(0, len(queries), 16):
            hits.update(rerank(candidates, queries[start : start + 16], documents, self.reranker, scored_by))
        return Run(hits, min(k, candidates.depth))

    def answers(self, task: str, pool: str) -> bool:
        """See `System.answers`."""
        return self.first.answers(task, pool)

    def facts(self) -> dict[str, Any]:
        """Those of the first stage, and name, hash, backend and text format of the cross-encoder."""
        second = {
            "reranker": self.reranker.name,
            "reranker_hash": getattr(self.reranker, "model_hash", None),
            "reranker_backend": getattr(self.reranker, "backend", None),
            "reranker_text_format": self.reranker.text_format.to_dict(),
        }
        return {**self.first.facts(), "model": self.name, "retrieval": self.retrieval, **second}


def make_systems(
    names: Sequence[str | os.PathLike[str] | Retriever | System],
    *,
    rerank: str | None = None,
    cache: EmbeddingCache | None = None,
    max_document_tokens: int | None = None,
    backend: Backend = "auto",
) -> list[System]:
    """The systems of some names, which share a model that several of them use.

    Args:
        names: each a model that `load_encoder` takes (dense), "bm25", "hybrid" (minilm and bm25), "hybrid:MODEL", a
            TREC run file, a `Retriever`, or a system.
        rerank: a cross-encoder that `load_reranker` takes; it follows each of them.
        cache: of embeddings; None takes the usual one.
        max_document_tokens: where bi-encoders cut documents, if before their own end.
        backend: what `load_encoder` and `load_reranker` take.

    Raises:
        ConfigError: unknown name, or two systems that results couldn't tell apart.
        TartError: see `load_encoder` and `load_reranker`.
    """
    cache = cache or EmbeddingCache()
    dense: dict[str, DenseSystem] = {}
    sparse = SparseSystem()

    def of_model(model: str) -> DenseSystem:
        if model not in dense:
            encoder = load_encoder(model, backend=backend)
            if max_document_tokens is not None:
                encoder.text_format = replace(encoder.text_format, max_document_tokens=max_document_tokens)
            dense[model] = DenseSystem(encoder, cache, model)
        return dense[model]

    def one(name: str | os.PathLike[str] | Retriever | System) -> System:
        if isinstance(name, System):
            return name
        if not isinstance(name, str | os.PathLike):
            return RetrieverSystem(name)
        text = os.fspath(name)
        kind, _, model = text.partition(":")
        if text == "bm25":
            return sparse
        if kind == "hybrid":
            return HybridSystem(of_model(model or "minilm"), sparse)
        if Path(text).is_file():
            return TrecRunSystem(text)
        if not Path(text).exists() and (near := difflib.get_close_matches(text, ["bm25", "hybrid"], cutoff=0.6)):
            raise ConfigError(f"unknown system {text!r}; did you mean {near[0]}?")
        return of_model(text)

    systems = [one(name) for name in names]
    if rerank is not None:
        reranker = load_reranker(rerank, backend=backend)
        systems = [RerankSystem(system, reranker) for system in systems]
    _check_names(systems)
    return systems


def _check_names(systems: Sequence[System]) -> None:
    labels = [(system.name, system.retrieval) for system in systems]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two systems are both called {label[0]} ({label[1]}): results couldn't tell them apart")


def _best(
    found: Sequence[Scored], ids: Sequence[tuple[str, npt.NDArray[np.object_]]], k: int
) -> tuple[list[str], npt.NDArray[np.float32]]:
    """The documents of several matrices that score at least what the k-th best of all does, and their scores."""
    scores = np.concatenate([np.empty(0, dtype=np.float32), *(one.scores for one in found)])
    bar = np.partition(scores, -k)[-k] if len(scores) > k else -np.inf
    names = [
        prefix + doc_id
        for one, (prefix, doc_ids) in zip(found, ids, strict=True)
        for doc_id in doc_ids[one.rows[one.scores >= bar]].tolist()
    ]
    kept = scores[scores >= bar]
    if len(found) < 2:
        return names, kept
    order = np.argsort(-kept, kind="stable")
    return [names[place] for place in order.tolist()], kept[order]


def _check_unique(queries: Sequence[Query]) -> None:
    seen: set[str] = set()
    for query in queries:
        if query.query_id in seen:
            raise DataError(f"the query id {query.query_id!r} comes twice; ids must be unique", field="query_id")
        seen.add(query.query_id)
