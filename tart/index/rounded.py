"""Vectors in half precision (bfloat16) beside the exact ones: what a scan reads, at half of the memory.

A rounded score is off by a bounded amount. The best rows by rounded score, scored again exactly, are the true best
wherever the last of them lies further below than that bound.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tart.errors import DataError
from tart.files import usable_cores
from tart.index.documents import load_array
from tart.retrieval.protocols import FloatArray

ROUNDED = "embeddings.bf16.npy"
ROWS = 1 << 16  # rounded at once
ROWS_PER_THREAD = 1 << 14
UNIT = 2.0**-8  # bfloat16 keeps 8 bits: a rounded number is off by at most this, relatively

Bits = npt.NDArray[np.uint16]


def load_faiss() -> Any:
    """faiss, untyped: its type stubs lack half of what it has."""
    return import_module("faiss")


class Candidates(NamedTuple):
    """Rows that may be among the best.

    Args:
        rows: shape (n, count).
        bound: shape (n,): no other row scores more than this.
    """

    rows: npt.NDArray[np.int64]
    bound: FloatArray


class Rounded(NamedTuple):
    """A matrix in bfloat16.

    Args:
        bits: shape (rows, dim), the bits of bfloat16 numbers; may be memory-mapped.
        longest: no exact row is longer than this.
        error: no rounded row is further than this from its exact one.
    """

    bits: Bits
    longest: float
    error: float


def round_to_bfloat16(vectors: FloatArray) -> Bits:
    """The nearest bfloat16 numbers, as bits; halves go to the even one.

    >>> round_to_bfloat16(np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8])).tolist() == [0x3F80, 0x3F80, 0x3F82]
    True
    """
    bits = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def to_float32(bits: Bits) -> FloatArray:
    """The numbers that bits stand for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write_rounded(folder: Path, vectors: FloatArray) -> dict[str, float]:
    """Write the rounded copy of an index folder's vectors.

    Returns:
        What the manifest keeps of it: `longest` and `error` of `Rounded`.
    """
    longest = error = 0.0
    with (folder / ROUNDED).open("wb") as file:
        header = {"descr": "<u2", "fortran_order": False, "shape": vectors.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, len(vectors), ROWS):
            part = np.asarray(vectors[first : first + ROWS])
            bits = round_to_bfloat16(part)
            longest = max(longest, float(np.linalg.norm(part, axis=1).max()))
            error = max(error, float(np.linalg.norm(part - to_float32(bits), axis=1).max()))
            file.write(bits.astype("<u2").tobytes())
            if isinstance(vectors.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                vectors.base.madvise(mmap.MADV_DONTNEED)  # what was read doesn't stay in this process's memory
    return {"longest": 1.001 * longest, "error": 1.001 * error}  # float32's own rounding stays below a thousandth


def open_rounded(folder: Path, facts: Mapping[str, Any], shape: tuple[int, ...]) -> Rounded:
    """Memory-map the rounded copy.

    Args:
        folder: an index folder.
        facts: what `write_rounded` returned.
        shape: of the exact vectors.

    Raises:
        DataError: if the file holds anything but such a matrix.
    """
    bits = load_array(folder / ROUNDED)
    if bits.dtype != np.uint16 or bits.shape != shape:
        raise DataError(f"wanted a uint16 matrix of shape {shape}; build the index again", path=folder / ROUNDED)
    return Rounded(bits, float(facts["longest"]), float(facts["error"]))


def scan_few(matrix: Rounded, queries: FloatArray, count: int) -> Candidates:
    """The rows whose rounded scores are the best, for a few queries: one pass over the matrix for each.

    It is limited by the memory's bandwidth: faiss reads the numbers where they lie, each core its share of the rows.

    Args:
        matrix: what to search.
        queries: float32, shape (n, dim).
        count: how many rows are wanted for each query, at most `rows`.
    """
    faiss = load_faiss()

    total, dim = matrix.bits.shape
    shares = max(min(usable_cores(), total // max(ROWS_PER_THREAD, count)), 1)
    edges = [total * share // shares for share in range(shares + 1)]

    def best(share: int) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        bits = np.ascontiguousarray(matrix.bits[edges[share] : edges[share + 1]])
        empty = faiss.MaybeOwnedVectorUInt8()
        part = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_bf16, faiss.METRIC_INNER_PRODUCT)
        # A view: faiss copies nothing. Both `empty`, whose owner is none, and `bits` live until the search is over.
        part.codes = faiss.MaybeOwnedVectorUInt8.create_view(faiss.swig_ptr(bits), bits.nbytes, empty.owner)
        part.ntotal = len(bits)
        scores, rows = part.search(queries, count)
        return scores, rows + edges[share]

    # faiss lets go of the interpreter while it works. Its own threads have nothing to share out, but wait for each
    # other; the setting is one of the thread that makes it, so that no other search is slowed down.
    with ThreadPoolExecutor(shares, initializer=faiss.omp_set_num_threads, initargs=(1,)) as threads:
        found = list(threads.map(best, range(shares)))
    scores, rows = (np.concatenate(one, axis=1) for one in zip(*found, strict=True))
    kept = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    lowest = np.take_along_axis(scores, kept[:, -1:], axis=1)[:, 0]  # the partition puts the count-th best there
    lengths = np.linalg.norm(queries, axis=1)
    sums = dim * 2.0**-23 * lengths * matrix.longest  # what float32 loses in adding up
    return Candidates(np.take_along_axis(rows, kept, axis=1), lowest + 1.001 * lengths * matrix.error + sums)
