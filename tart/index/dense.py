"""Exact dense search with faiss over memory-mapped vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tart.errors import DataError, IndexMismatch
from tart.index.documents import load_array
from tart.retrieval.protocols import FloatArray, Scored, Similarity

VECTORS = "embeddings.npy"


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
        if vectors.shape != (len(doc_ids), self._dim):
            raise DataError(f"model {model} gives vectors of shape {vectors.shape}, wanted {(len(doc_ids), self._dim)}")
        check_finite(vectors, doc_ids, model)
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
    """

    def __init__(self, vectors: FloatArray, similarity: Similarity) -> None:
        self.vectors, self.similarity = vectors, similarity

    @classmethod
    def open(cls, folder: Path, similarity: Similarity) -> DenseIndex:
        """Memory-map the vectors of an index folder.

        Raises:
            DataError: if the file holds anything but a float32 matrix.
        """
        vectors: FloatArray = load_array(folder / VECTORS)
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise DataError("wanted a float32 matrix; build the index again", path=folder / VECTORS)
        return cls(vectors, similarity)

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
        if queries.shape[1] != self.vectors.shape[1]:
            raise IndexMismatch(
                f"the query vectors have {queries.shape[1]} dimensions, those of the index {self.vectors.shape[1]}: "
                "another model made it"
            )
        if self.similarity == "cosine":
            queries = normalised(queries)
        total = len(self.vectors)
        k = min(k, total)
        asked = min(k + 16, total)
        found = self._nearest(queries, asked)
        for row, query in enumerate(queries):
            wider = asked
            while wider < total and _may_miss_a_tie(found[row].scores, k):
                wider = min(4 * wider, total)
                found[row] = self._nearest(query[None], wider)[0]
        return [Scored(scores[scores >= scores[k - 1]], rows[scores >= scores[k - 1]]) for scores, rows in found]

    def _nearest(self, queries: FloatArray, k: int) -> list[Scored]:
        import faiss

        # From version 1.15 on faiss multiplies matrices only for products above a size that a batch of 300 queries
        # doesn't reach; without BLAS such a batch is several times slower.
        faiss.cvar.distance_compute_blas_threshold = 4 * queries.shape[1]
        _, rows = faiss.knn(queries, self.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        return [self._score(query, found) for query, found in zip(queries, rows, strict=True)]

    def _score(self, query: FloatArray, rows: npt.NDArray[np.int64]) -> Scored:
        """Score in double precision: the same bits whatever path faiss took."""
        scores = (self.vectors[rows].astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        return Scored(scores[order], rows[order])


def _may_miss_a_tie(scores: FloatArray, k: int) -> bool:
    """Whether a row that was not fetched could score as much as the k-th, given faiss's rounding."""
    margin = 1e-5 * max(1.0, abs(float(scores[k - 1])))
    return bool(scores[-1] >= scores[k - 1] - margin)
