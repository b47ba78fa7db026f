"""Vectors of many texts, each encoded once, kept on disk part by part so that a kill loses one part at most."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from tart.collection import Document, Query
from tart.errors import DataError
from tart.files import atomic_write, storage_errors
from tart.index.dense import normalised as unit_length
from tart.index.documents import load_array
from tart.progress import progress
from tart.retrieval.protocols import Encoder, FloatArray
from tart.seeded import text_hash

PART = 8192  # texts encoded together
T = TypeVar("T")


class TextVectors:
    """Vectors of texts, found by the text's hash.

    Args:
        hashes: uint64, sorted, shape (n,).
        vectors: float16, shape (n, dim), of length 1; memory-mapped.
        folder: that they came from, for errors.
    """

    def __init__(self, hashes: npt.NDArray[np.uint64], vectors: npt.NDArray[np.float16], folder: Path) -> None:
        self._hashes, self._vectors, self._folder = hashes, vectors, folder

    def of(self, hashes: Iterable[int]) -> FloatArray:
        """The vectors of some texts, float32, shape (m, dim).

        Raises:
            DataError: if one is missing.
        """
        wanted = np.fromiter(hashes, dtype=np.uint64)
        rows = np.minimum(np.searchsorted(self._hashes, wanted), max(len(self._hashes) - 1, 0))
        if len(wanted) and (not len(self._hashes) or (self._hashes[rows] != wanted).any()):
            raise DataError("a text has no vector; remove this folder and begin again", path=self._folder)
        return np.asarray(self._vectors[rows], dtype=np.float32)

    @classmethod
    def open(cls, folder: Path) -> TextVectors:
        """Memory-map what `encode_texts` wrote."""
        return cls(load_array(folder / "hashes.npy"), load_array(folder / "vectors.npy"), folder)


def encode_texts(
    folder: Path,
    texts: dict[int, T],
    encode: Callable[[Sequence[T]], FloatArray],
    model_hash: str,
    advance: Callable[[int], None],
) -> None:
    """Encode texts that have no vectors yet.

    Args:
        folder: keeps the parts until all are there, then all vectors in one file.
        texts: hash -> text, of whatever type `encode` takes.
        encode: texts to vectors, shape (n, dim).
        model_hash: changes with the model.
        advance: told how many texts are done, part by part.
    """
    hashes = np.sort(np.fromiter(texts, dtype=np.uint64, count=len(texts)))
    parts = [hashes[start : start + PART] for start in range(0, len(hashes), PART)]
    names = [hashlib.sha256(model_hash.encode() + part.tobytes()).hexdigest()[:32] for part in parts]
    whole = hashlib.sha256("".join(names).encode()).hexdigest()
    done = folder / "whole"
    if done.is_file() and done.read_text(encoding="ascii") == whole:
        advance(len(texts))
        return
    paths = [folder / f"{name}.npy" for name in names]
    for part, path in zip(parts, paths, strict=True):
        if not path.is_file():
            vectors = unit_length(encode([texts[int(one)] for one in part])).astype(np.float16)
            with atomic_write(path) as file:
                np.save(file, vectors)
        advance(len(part))
    _join(folder, hashes, paths)
    with atomic_write(done) as file:
        file.write(whole.encode())
    for path in paths:
        path.unlink()


def encode_both(
    folder: Path, encoder: Encoder, queries: dict[int, Query], documents: dict[int, Document], said: str
) -> tuple[TextVectors, TextVectors]:
    """Encode queries and documents, below a folder, or take the vectors that an earlier call has left there.

    Each encoder and set of texts has a place of its own there, so that runs at the same time don't meet; of processes
    that want the same vectors one encodes, and the others wait.

    Args:
        folder: keeps the vectors.
        encoder: a model.
        queries: hash -> query, with or without its instruction.
        documents: hash -> document.
        said: what the progress is called.

    Returns:
        The vectors of the queries, and of the documents.
    """
    encoded_by = (encoder.model_hash, encoder.backend, json.dumps(encoder.text_format.to_dict(), sort_keys=True))
    folder /= f"{text_hash(*encoded_by, *map(str, sorted(queries)), '', *map(str, sorted(documents))):016x}"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".wait.lock"), progress(said, len(queries) + len(documents), "texts") as advance:
            encode_texts(folder / "queries", queries, encoder.encode_queries, encoder.model_hash, advance)
            encode_texts(folder / "documents", documents, encoder.encode_documents, encoder.model_hash, advance)
    return TextVectors.open(folder / "queries"), TextVectors.open(folder / "documents")


def _join(folder: Path, hashes: npt.NDArray[np.uint64], parts: list[Path]) -> None:
    with atomic_write(folder / "hashes.npy") as file:
        np.save(file, hashes)
    dim = load_array(parts[0]).shape[1] if parts else 0
    with atomic_write(folder / "vectors.npy") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(hashes), dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for path in parts:
            file.write(np.ascontiguousarray(load_array(path)).tobytes())
