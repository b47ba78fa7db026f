"""DocumentStore: the documents of an index on disk, read one at a time.

`corpus.jsonl` is a plain BEIR corpus file; `offsets.npy` says where each line begins; `ids.npy` finds the row of an id.
All three are memory-mapped: a million documents open in no time, and any number of processes share them.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tart.collection import Document
from tart.errors import DataError

CORPUS, OFFSETS, IDS = "corpus.jsonl", "offsets.npy", "ids.npy"
_ID_START, _ID_BYTES = b'{"_id": "', 120  # how a line begins; ids beyond that length, or with escapes, are parsed
ID_ROW = np.dtype([("hash", np.uint64), ("row", np.int64)])
NOT_AN_ARRAY = (ValueError, EOFError, OSError, SyntaxError, tokenize.TokenError)
"""What numpy raises for a damaged .npy file, whose header it reads as Python."""


def _id_hash(doc_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(doc_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def write_documents(folder: Path, documents: Iterable[Document]) -> None:
    """Write the documents' part of an index folder."""
    offsets, hashes, position = [0], [], 0
    with (folder / CORPUS).open("wb") as file:
        for document in documents:
            row = {"_id": document.doc_id, "title": document.title, "text": document.text}
            line = json.dumps(row).encode("ascii") + b"\n"  # escapes keep lone surrogates readable
            file.write(line)
            position += len(line)
            offsets.append(position)
            hashes.append(_id_hash(document.doc_id))
    order = np.argsort(np.asarray(hashes, dtype=np.uint64), kind="stable")
    sorted_ids = np.empty(len(hashes), dtype=ID_ROW)
    sorted_ids["hash"], sorted_ids["row"] = np.asarray(hashes, dtype=np.uint64)[order], order
    np.save(folder / OFFSETS, np.asarray(offsets, dtype=np.int64))
    np.save(folder / IDS, sorted_ids)


class DocumentStore(Mapping[str, Document]):
    """The documents of an index: a mapping doc_id -> Document in the order of the index, read from disk on demand.

    Raises:
        DataError: if a file doesn't hold what it should.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CORPUS
        self._offsets: npt.NDArray[np.int64] = np.asarray(load_array(folder / OFFSETS))  # rows of a memmap are slow
        self._ids = load_array(folder / IDS)
        try:
            with self._path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file can't be mapped
            raise DataError(f"damaged ({error}); build the index again", path=self._path) from None
        fits = self._offsets.dtype == np.int64 and self._ids.dtype == ID_ROW
        fits = fits and self._offsets.shape == (len(self._ids) + 1,) and int(self._offsets[-1]) == len(self._bytes)
        if not fits:
            raise DataError(f"doesn't fit {OFFSETS} and {IDS}; build the index again", path=self._path)

    def at(self, row: int) -> Document:
        """The document in a row, 0-based."""
        start, end = int(self._offsets[row]), int(self._offsets[row + 1])
        try:
            facts = json.loads(self._bytes[start:end])
            return Document(facts["_id"], facts["text"], facts["title"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"damaged ({error}); build the index again", path=self._path, line=row + 1) from None

    def lines(self, first: int, end: int) -> bytes:
        """The rows from `first` to before `end` as they stand in the file."""
        return self._bytes[int(self._offsets[first]) : int(self._offsets[end])]

    def doc_ids(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The ids of the documents in some rows, without reading the rest of them."""
        content, found = self._bytes, []
        for row, start, end in zip(rows, self._offsets[rows].tolist(), self._offsets[rows + 1].tolist(), strict=True):
            line = content[start : min(end, start + _ID_BYTES)]
            quote = line.find(b'"', len(_ID_START)) if line.startswith(_ID_START) else 0
            plain = quote > 0 and b"\\" not in line[:quote]
            found.append(line[len(_ID_START) : quote].decode("ascii") if plain else self.at(row).doc_id)
        return found

    def row(self, doc_id: str) -> int:
        """The row of an id.

        Raises:
            KeyError: if there is no such document.
        """
        wanted = np.uint64(_id_hash(doc_id))
        place = int(np.searchsorted(self._ids["hash"], wanted))
        while place < len(self._ids) and self._ids["hash"][place] == wanted:
            row = int(self._ids["row"][place])
            if not 0 <= row < len(self):
                raise DataError("damaged; build the index again", path=self._path.with_name(IDS))
            if self.at(row).doc_id == doc_id:
                return row
            place += 1
        raise KeyError(doc_id)

    def __getitem__(self, doc_id: str) -> Document:
        return self.at(self.row(doc_id))

    def __iter__(self) -> Iterator[str]:
        return (self.at(row).doc_id for row in range(len(self)))

    def __len__(self) -> int:
        return len(self._ids)

    def in_order(self) -> Iterator[Document]:
        """All documents, row by row."""
        return (self.at(row) for row in range(len(self)))


def load_array(path: Path) -> npt.NDArray[Any]:
    """Memory-map a .npy file, never unpickling.

    Raises:
        DataError: if it is no such file.
    """
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except NOT_AN_ARRAY as error:
        raise DataError(f"damaged: no array file ({error}); build the folder again", path=path) from None
