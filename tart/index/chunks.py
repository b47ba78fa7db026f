"""Chunks of vectors in files, each written at once: who encodes the same texts after a kill goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tart.files import atomic_write
from tart.index.dense import check_vectors
from tart.index.documents import load_array
from tart.retrieval.protocols import Encoder, FloatArray


def kept_vectors(path: Path, encode: Callable[[], FloatArray], names: Sequence[str], encoder: Encoder) -> FloatArray:
    """The vectors that a file holds; those that `encode` makes, if there is no such file, which then appears.

    Args:
        path: named after everything that the vectors depend on.
        encode: makes them.
        names: of the texts, for messages.
        encoder: whose vectors they are.

    Returns:
        float32, memory-mapped.

    Raises:
        DataError: if the vectors aren't finite, or aren't one for each name.
    """
    if not path.exists():
        vectors = np.asarray(encode(), dtype=np.float32)
        check_vectors(vectors, names, encoder.dim, encoder.name)
        with atomic_write(path) as file:
            np.save(file, vectors, allow_pickle=False)
    return np.asarray(load_array(path))  # a view: rows of a memmap are slow to take one by one
