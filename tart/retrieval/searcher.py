"""Searcher: an index, the model that made it, and one call that searches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tart.collection import Query
from tart.errors import ConfigError, DataError, StorageError
from tart.index.approximate import ApproximateIndex
from tart.index.build import KIND, Documents, build_index
from tart.index.dense import DenseIndex
from tart.index.documents import DocumentStore
from tart.index.sparse import SparseIndex, sparse_parts
from tart.instruction import Instruction
from tart.manifest import NAME, read_manifest
from tart.models import DEFAULT_MODEL
from tart.models.backend import Backend
from tart.models.load import load_encoder, load_reranker
from tart.retrieval.fusion import Fusion, ReciprocalRankFusion
from tart.retrieval.index_model import check_fit, encoder_of
from tart.retrieval.protocols import Encoder, Reranker
from tart.retrieval.result import SearchHit, SearchResult, Stage
from tart.retrieval.retrievers import DenseRetriever, SparseRetriever
from tart.retrieval.retrievers import rerank as rerank_run
from tart.run import Run
from tart.text_format import TextFormat

Mode = Literal["dense", "sparse", "hybrid"]
MODES = ("dense", "sparse", "hybrid")
CANDIDATES = 100  # how deep the stages before fusion and reranking go, at least


class Searcher:
    """Searches one index. Make one with `build` or `open`.

    Args:
        folder: the index folder.
        encoder: the model that made it.

    Raises:
        IndexMismatch: if another model, or another text format, made the index.
        DataError: if the folder is no finished index, or is damaged.
    """

    def __init__(self, folder: str | Path, encoder: Encoder) -> None:
        self.folder, self.encoder = Path(folder), encoder
        self._rerankers: dict[str, Reranker] = {}
        self._backend: Backend = "auto"
        self._open_parts()

    def _open_parts(self) -> None:
        """Open what every search needs; anew if another index takes its place in the meantime."""
        written = _written(self.folder)
        try:
            self.manifest: dict[str, Any] = read_manifest(self.folder, KIND)
            check_fit(self.folder, self.manifest, self.encoder)
            self.documents = DocumentStore(self.folder)
            exact = DenseIndex.open(self.folder, self.encoder.similarity, self.manifest.get("rounding"))
            approximate = ApproximateIndex.open(self.folder, self.manifest, exact)
            self.dense = DenseRetriever(self.encoder, exact, self.documents, approximate)
        except (DataError, OSError):
            if _written(self.folder) == written:
                raise
        if _written(self.folder) != written:
            self._open_parts()

    @cached_property
    def sparse(self) -> SparseRetriever:
        """BM25, opened when it is first asked: a search by vectors alone doesn't wait for it.

        Raises:
            StorageError: if another index has taken the folder's place since this one was opened.
        """
        sparse = SparseRetriever(SparseIndex(self.folder), self.documents)
        if sparse_parts(read_manifest(self.folder, KIND)) != sparse_parts(self.manifest):
            raise StorageError(f"{self.folder}: was built anew since it was opened; open it again")
        return sparse

    @classmethod
    def build(
        cls,
        documents: Documents,
        model: str | os.PathLike[str] | Encoder = DEFAULT_MODEL,
        output: str | os.PathLike[str] = "index",
        *,
        text_format: TextFormat | str | None = None,
        backend: Backend = "auto",
        overwrite: bool = False,
        show_progress: bool = False,
    ) -> Searcher:
        """Index documents and open the result.

        Args:
            documents: a path (BEIR's corpus.jsonl, TSV, a folder of text files), documents, or plain strings.
            model: a name that `load_encoder` takes, or an encoder.
            output: the index folder to make.
            text_format: how instruction and query are joined, where the model's own folder doesn't say; with a name.
            backend: what `load_encoder` takes; with a name.
            overwrite: take the place of an existing folder.
            show_progress: show a bar on stderr.

        Raises:
            TartError: see `build_index` and `load_encoder`.
        """
        if isinstance(model, str | os.PathLike):
            encoder: Encoder = load_encoder(model, text_format=text_format, backend=backend)
        elif text_format is not None or backend != "auto":
            raise ConfigError("text_format and backend go with a model's name; an encoder has them already")
        else:
            encoder = model
        build_index(documents, encoder, Path(output), overwrite=overwrite, show_progress=show_progress)
        return cls.open(output, encoder, backend=backend)

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], encoder: Encoder | None = None, *, backend: Backend = "auto"
    ) -> Searcher:
        """Open an index, read-only; any number of processes may.

        Args:
            folder: an index folder.
            encoder: the model that made it; None loads it by the name that the index remembers.
            backend: what `load_encoder` and `load_reranker` take, for models that are loaded by name.

        Raises:
            DataError: if the folder is no finished index, or is damaged.
            IndexMismatch: if the model has changed since, or the encoder is another one.
        """
        if encoder is None:
            encoder = encoder_of(Path(folder), read_manifest(Path(folder), KIND), backend)
        searcher = cls(Path(folder), encoder)
        searcher._backend = backend
        return searcher

    def search(
        self,
        query: str,
        instruction: str | Instruction | None = None,
        k: int = 10,
        *,
        mode: Mode = "dense",
        rerank: str | os.PathLike[str] | Reranker | None = None,
        fusion: Fusion | None = None,
        exact: bool = False,
    ) -> SearchResult:
        """Find the documents that fit a query and an instruction.

        Args:
            query: what is asked; not blank.
            instruction: what kind of document is wanted, in plain words.
            k: how many documents, at least 1; all if there are fewer.
            mode: "dense" (vectors of instruction and query), "sparse" (BM25 on the query's words), or "hybrid" (both).
            rerank: a cross-encoder, or its name; it sees the instruction and scores the best 100 (k, if that is more).
            fusion: how "hybrid" joins the two; reciprocal rank fusion if None.
            exact: compare with every vector, also where `tart tune` has saved a faster setting.

        Raises:
            ConfigError: k below 1, an unknown mode, a blank instruction, or an unknown model.
            DataError: if the query is blank.
        """
        wish = Instruction(instruction) if isinstance(instruction, str) else instruction
        return self.search_many([Query("query", query, wish)], k, mode=mode, rerank=rerank, fusion=fusion, exact=exact)[
            0
        ]

    def search_many(
        self,
        queries: Sequence[Query],
        k: int = 10,
        *,
        mode: Mode = "dense",
        rerank: str | os.PathLike[str] | Reranker | None = None,
        fusion: Fusion | None = None,
        exact: bool = False,
    ) -> list[SearchResult]:
        """Search many queries at once, each with its own instruction; ids must be unique. See `search`.

        Returns:
            One result for each query, in their order.
        """
        runs, seconds = self._stages(queries, k, mode, rerank, fusion, exact)
        *_, final = runs.values()
        read = [None] * len(queries) if mode == "sparse" else self.encoder.read_queries(queries)
        places = {name: _places(run) for name, run in runs.items()}
        results = []
        for query, encoded in zip(queries, read, strict=True):
            hits = []
            for rank, hit in enumerate(final[query.query_id], start=1):
                found = {name: place[query.query_id].get(hit.doc_id) for name, place in places.items()}
                stages = {name: stage for name, stage in found.items() if stage is not None}
                document = self.documents[hit.doc_id]
                hits.append(SearchHit(rank, hit.doc_id, document.title, document.text, hit.score, stages))
            results.append(SearchResult(query, tuple(hits), encoded, seconds))
        return results

    def retrieve(
        self,
        queries: Sequence[Query],
        k: int,
        *,
        mode: Mode = "dense",
        rerank: str | os.PathLike[str] | Reranker | None = None,
        fusion: Fusion | None = None,
        exact: bool = False,
    ) -> Run:
        """The same as a run: ids and scores alone, for measuring. See `search`."""
        *_, final = self._stages(queries, k, mode, rerank, fusion, exact)[0].values()
        return final

    def _stages(
        self,
        queries: Sequence[Query],
        k: int,
        mode: Mode,
        reranker: str | os.PathLike[str] | Reranker | None,
        fusion: Fusion | None,
        exact: bool,
    ) -> tuple[dict[str, Run], dict[str, float]]:
        """The run of each stage, the last one being the answer, and the seconds that each took."""
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        if mode not in MODES:
            raise ConfigError(f"unknown mode {mode!r}; wanted {', '.join(MODES)}")
        if fusion is not None and mode != "hybrid":
            raise ConfigError(f"fusion goes with mode 'hybrid', not with {mode!r}")
        if exact and mode == "sparse":
            raise ConfigError("exact is about vectors, and mode 'sparse' uses none")
        if isinstance(reranker, str | os.PathLike):
            reranker = self._load_reranker(os.fspath(reranker))
        depth = max(k, CANDIDATES) if reranker is not None or mode == "hybrid" else k
        runs: dict[str, Run] = {}
        seconds: dict[str, float] = {}

        def stage(name: str, work: Callable[[], Run]) -> None:
            started = time.perf_counter()
            runs[name] = work()
            seconds[name] = time.perf_counter() - started

        if mode != "sparse":
            stage("dense", lambda: self.dense.retrieve(queries, depth, exact=exact))
        if mode != "dense":
            stage("sparse", lambda: self.sparse.retrieve(queries, depth))
        if mode == "hybrid":
            joined = depth if reranker is not None else k
            stage("fused", lambda: (fusion or ReciprocalRankFusion()).fuse([runs["dense"], runs["sparse"]], joined))
        if reranker is not None:
            *_, candidates = runs.values()
            by = self.encoder.name if mode == "dense" else ""
            stage("reranked", lambda: rerank_run(candidates, queries, self.documents, reranker, by))
        last = list(runs)[-1]
        runs[last] = runs[last].cut(k)
        return runs, seconds

    def _load_reranker(self, name: str) -> Reranker:
        if name not in self._rerankers:
            self._rerankers[name] = load_reranker(name, backend=self._backend)
        return self._rerankers[name]


def _written(folder: Path) -> bytes:
    """What the manifest of a folder says now; nothing if it can't be read, of which `read_manifest` tells."""
    with suppress(OSError):
        return (folder / NAME).read_bytes()
    return b""


def _places(run: Run) -> dict[str, dict[str, Stage]]:
    return {qid: {hit.doc_id: Stage(rank, hit.score) for rank, hit in enumerate(run[qid], 1)} for qid in run}


_last_opened: dict[tuple[str, str], Searcher] = {}


def search(
    query: str,
    instruction: str | Instruction | None = None,
    k: int = 10,
    *,
    index: str | os.PathLike[str],
    mode: Mode = "dense",
    rerank: str | os.PathLike[str] | Reranker | None = None,
) -> SearchResult:
    """Search an index folder in one call; the index and its model stay open for the next one.

    Args:
        index: the folder; the other arguments are those of `Searcher.search`.
    """
    folder = Path(index).absolute()
    state = (str(folder), read_manifest(folder, KIND)["sha256"])  # an index that was built anew is opened anew
    if state not in _last_opened:
        _last_opened.clear()
        _last_opened[state] = Searcher.open(folder)
    return _last_opened[state].search(query, instruction, k, mode=mode, rerank=rerank)
