"""Exact dense search over memory-mapped vectors: in half precision first, the best of that exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tart.errors import DataError, IndexMismatch
from tart.files import usable_cores
from tart.index.documents import load_array
from tart.index.rounded import Candidates, Rounded, open_rounded, scan_few
from tart.index.scan import scan, worth_scanning
from tart.retrieval.protocols import FloatArray, Scored, Similarity

VECTORS = "embeddings.npy"
SPARE = 24  # rows fetched beyond the wanted ones, in case of ties
SPARE_ROUNDED = 56  # the same in half precision, where more come close
FEW = 3  # queries that are fastest scanned one by one
FEW_WITHOUT = 12  # the same where they can't be scanned together
SCORED_AT_ONCE = 1280  # pairs whose vectors lie in memory at once: they fit the cache


def normalised(vectors: FloatArray) -> FloatArray:
    """Scale each row to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def check_finite(vectors: FloatArray, names: Sequence[str], model: str) -> None:
    """Refuse NaN and infinite vectors.

    Raises:
        DataError: naming the model and the first few texts concerned.
    """
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        listed = ", ".join(repr(names[row]) for row in bad[:3])
        raise DataError(f"model {model} gives NaN or infinite vectors for {len(bad)} of {len(names)} texts: {listed}")


def check_vectors(vectors: FloatArray, names: Sequence[str], dim: int, model: str) -> None:
    """Refuse vectors of another shape too.

    Raises:
        DataError: if they aren't finite, or not one of the announced length for each text.
    """
    if vectors.shape != (len(names), dim):
        raise DataError(f"model {model} gives vectors of shape {vectors.shape}, wanted {(len(names), dim)}")
    check_finite(vectors, names, model)


class VectorWriter:
    """Writes vectors to `embeddings.npy` chunk by chunk, so that memory doesn't grow with the corpus."""

    def __init__(self, folder: Path, dim: int, similarity: Similarity) -> None:
        self._path, self._dim, self._similarity, self._rows = folder / VECTORS, dim, similarity, 0
        self._file = self._path.open("wb")
        self._write_header()

    def _write_header(self) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, self._dim)}
        np.lib.format.write_array_header_1_0(self._file, header)  # padded: it keeps its length when the count changes

    def append(self, vectors: FloatArray, doc_ids: Sequence[str], model: str) -> None:
        """Append the vectors of some documents, normalised if the similarity is cosine.

        Raises:
            DataError: if they aren't finite, or not one of the announced length for each document.
        """
        check_vectors(vectors, doc_ids, self._dim, model)
        rows = normalised(vectors) if self._similarity == "cosine" else vectors
        self._file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        self._rows += len(rows)

    def close(self) -> None:
        """Write the final count into the header."""
        with self._file:
            self._file.seek(0)
            self._write_header()


class DenseIndex:
    """A matrix of vectors, searched exactly.

    Args:
        vectors: float32, shape (rows, dim), normalised if the similarity is cosine; may be memory-mapped.
        similarity: "cosine" normalises queries; "dot" takes them as they come.
        rounded: the same vectors in half precision, if there is a copy: the results are the same, found sooner.
    """

    def __init__(self, vectors: FloatArray, similarity: Similarity, rounded: Rounded | None = None) -> None:
        self.vectors, self.similarity, self.rounded = vectors, similarity, rounded

    @classmethod
    def open(cls, folder: Path, similarity: Similarity, rounding: Mapping[str, float] | None = None) -> DenseIndex:
        """Memory-map the vectors of an index folder.

        Args:
            folder: an index folder.
            similarity: see above.
            rounding: what the manifest says of the copy in half precision; None if there is none.

        Raises:
            DataError: if a file holds anything but the matrix that it should.
        """
        vectors: FloatArray = load_array(folder / VECTORS)
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise DataError("wanted a float32 matrix; build the index again", path=folder / VECTORS)
        rounded = None if rounding is None else open_rounded(folder, rounding, vectors.shape)
        return cls(vectors, similarity, rounded)

    def search(self, queries: FloatArray, k: int) -> list[Scored]:
        """The best rows for each query.

        Args:
            queries: float32, shape (n, dim).
            k: how many are wanted, at least 1; all rows if there are fewer.

        Returns:
            For each query every row that scores at least what the k-th best does, score falling: with ties at the end
            more than k. A score depends on its query and document alone, not on what was searched along with them.

        Raises:
            IndexMismatch: if the vectors have another length.
        """
        queries, k = self.prepared(queries), min(k, len(self.vectors))
        candidates = self._candidates(queries, min(k + SPARE_ROUNDED, len(self.vectors)))
        if candidates is None:
            return [cut(found, k) for found in self._search_in_full(queries, k)]
        found = self.scored(queries, candidates.rows)
        unsure = [row for row, bound in enumerate(candidates.bound.tolist()) if not found[row].scores[k - 1] > bound]
        for row, exact in zip(unsure, self._search_in_full(queries[unsure], k), strict=True):
            found[row] = exact
        return [cut(one, k) for one in found]

    def prepared(self, queries: FloatArray) -> FloatArray:
        """Queries as they are compared: normalised if the similarity is cosine.

        Raises:
            IndexMismatch: if the vectors have another length.
        """
        if queries.shape[1] != self.vectors.shape[1]:
            raise IndexMismatch(
                f"the query vectors have {queries.shape[1]} dimensions, those of the index {self.vectors.shape[1]}: "
                "another model made it"
            )
        return normalised(queries) if self.similarity == "cosine" else queries

    def _candidates(self, queries: FloatArray, count: int) -> Candidates | None:
        """The best by rounded score, where that is the faster way."""
        if count == len(self.vectors) or not len(queries):
            return None
        together = worth_scanning(len(queries) * len(self.vectors))
        if self.rounded is not None and len(queries) <= (FEW if together else FEW_WITHOUT):
            return scan_few(self.rounded, queries, count)
        return scan(self.vectors, self.rounded, queries, count) if together else None

    def _search_in_full(self, queries: FloatArray, k: int) -> list[Scored]:
        """In float32; what may tie with the k-th best is fetched too."""
        total = len(self.vectors)
        asked = min(k + SPARE, total)
        found = self._nearest(queries, asked)
        for row, query in enumerate(queries):
            wider = asked
            while wider < total and _may_miss_a_tie(found[row].scores, k):
                wider = min(4 * wider, total)
                found[row] = self._nearest(query[None], wider)[0]
        return found

    def _nearest(self, queries: FloatArray, k: int) -> list[Scored]:
        if not len(queries):
            return []
        import faiss

        # From version 1.15 on faiss multiplies matrices only for products above a size that a batch of 300 queries
        # doesn't reach; without BLAS such a batch is several times slower.
        faiss.cvar.distance_compute_blas_threshold = 4 * queries.shape[1]
        _, rows = faiss.knn(queries, self.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        return self.scored(queries, rows)

    def scored(self, queries: FloatArray, rows: npt.NDArray[np.int64]) -> list[Scored]:
        """Score rows anew in double precision: the same bits whatever was searched along with them.

        Args:
            queries: float32, shape (n, dim), as `prepared` gives them.
            rows: shape (n, count).

        Returns:
            For each query its rows, score falling.
        """
        at_once = max(SCORED_AT_ONCE // max(rows.shape[1], 1), 1)
        starts = range(0, len(queries), at_once)

        def score(start: int) -> list[Scored]:
            part = rows[start : start + at_once]
            asked = queries[start : start + at_once, None].astype(np.float64)
            scores = np.vecdot(self.vectors.take(part, axis=0).astype(np.float64), asked).astype(np.float32)
            each, order = np.arange(len(part))[:, None], np.argsort(-scores, axis=1)
            scores, part = scores[each, order], part[each, order]
            return [Scored(*one) for one in zip(scores, part, strict=True)]

        if len(starts) < 8:
            return [one for start in starts for one in score(start)]
        with ThreadPoolExecutor(usable_cores()) as threads:  # numpy lets go of the interpreter while it works
            return [one for found in threads.map(score, starts) for one in found]


def cut(found: Scored, k: int) -> Scored:
    """The k best, and those that tie with the last of them."""
    count = int(np.searchsorted(-found.scores, -found.scores[k - 1], side="right"))
    return Scored(found.scores[:count], found.rows[:count])


def _may_miss_a_tie(scores: FloatArray, k: int) -> bool:
    """Whether a row that was not fetched could score as much as the k-th, given faiss's rounding."""
    margin = 1e-5 * max(1.0, abs(float(scores[k - 1])))
    return bool(scores[-1] >= scores[k - 1] - margin)
