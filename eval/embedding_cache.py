"""EmbeddingCache: each text is encoded once per model and text format, and its vector found again by any later run.

An entry is a folder: the matrix and a manifest with its checksum. Its name is a hash of everything that the vectors
depend on. For queries that is each one's id, text and instruction, so that a changed instruction never meets an old
vector. A finished chunk of an unfinished encoding is a file in a hidden folder: who comes next goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from tart.collection import Corpus, Document, Query
from tart.errors import DataError
from tart.files import new_folder, parse_json_object, storage_errors
from tart.index.chunks import kept_vectors
from tart.index.dense import VECTORS, VectorWriter
from tart.index.documents import load_array
from tart.manifest import NAME, read_manifest, verify_parts, write_manifest
from tart.models.packaged import cache_folder
from tart.progress import progress, silent
from tart.retrieval.protocols import Encoder, FloatArray

KIND = "tart-embeddings/1"
CHUNK = 2048  # texts per file of an unfinished encoding: what a kill can cost

_OURS = re.compile(r"([0-9a-f]{40})|\.([0-9a-f]{40})\.(work|[0-9a-f]{32}\.new)")  # finished, or being made

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Entry(NamedTuple):
    """One entry of the cache.

    Args:
        path: its folder.
        model: name of the model; empty while unfinished.
        part: "documents", "queries", or "unfinished".
        label: which corpus it is, as far as known.
        rows: number of vectors; 0 while unfinished.
        bytes: size on disk.
        created: ISO 8601, UTC.
    """

    path: Path
    model: str
    part: str
    label: str
    rows: int
    bytes: int
    created: str


class _Work(NamedTuple, Generic[T]):
    """What has to be encoded: items, how they are told apart, and how they become vectors."""

    part: str
    fingerprint: str
    items: Sequence[T]
    name_of: Callable[[T], str]
    text_of: Callable[[T], str]
    encode: Callable[[Sequence[T]], FloatArray]


class EmbeddingCache:
    """Vectors on disk, memory-mapped, shared between runs and processes.

    Args:
        root: the folder that holds it; None takes "embeddings" in the project's cache folder.
        show_progress: show a bar on stderr while something is encoded.

    Attributes:
        labels: fingerprint of a corpus -> what the listing and the bar call it.

    >>> import tempfile
    >>> from tart.testing import KeywordEncoder, toy_collection
    >>> cache = EmbeddingCache(tempfile.mkdtemp())
    >>> cache.documents(KeywordEncoder(["code", "prose"]), toy_collection().corpus).shape
    (8, 2)
    """

    def __init__(self, root: str | Path | None = None, *, show_progress: bool = False) -> None:
        self.root = cache_folder() / "embeddings" if root is None else Path(root)
        self.show_progress = show_progress
        self.labels: dict[str, str] = {}
        self._open: dict[str, FloatArray] = {}

    def documents(self, encoder: Encoder, corpus: Corpus) -> FloatArray:
        """The vectors of a corpus.

        Args:
            encoder: what makes them, if they aren't there yet.
            corpus: any number of documents.

        Returns:
            float32, shape (len(corpus), dim), in the corpus's order, normalised if the encoder's similarity is cosine;
            memory-mapped. Equal texts have equal vectors.

        Raises:
            DataError: if vectors aren't finite.
            StorageError: if the disk is full; what was encoded until then is kept.
        """

        def name(document: Document) -> str:
            return document.doc_id

        text, encode = encoder.text_format.document_text, encoder.encode_documents
        items = list(corpus.values())
        return self._vectors(encoder, _Work("documents", corpus.fingerprint, items, name, text, encode))

    def queries(self, encoder: Encoder, queries: Sequence[Query]) -> FloatArray:
        """The vectors of queries, each with its own instruction; otherwise as `documents`."""

        def name(query: Query) -> str:
            return query.query_id

        text, encode = encoder.text_format.query_text, encoder.encode_queries
        return self._vectors(encoder, _Work("queries", query_fingerprint(queries), queries, name, text, encode))

    def entries(self) -> list[Entry]:
        """Everything that the cache holds, oldest first; folders that aren't its own are passed over."""
        paths = self.root.iterdir() if self.root.is_dir() else ()
        found = [_entry(path) for path in paths if _OURS.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=lambda entry: entry.created)

    def clear(self) -> tuple[int, list[Path]]:
        """Remove every entry that nobody is writing.

        Returns:
            How many bytes became free, and the entries that were left because somebody is writing them.
        """
        freed, left = 0, []
        for entry in self.entries():
            lock = FileLock(self._lock_path(entry.path.name.lstrip(".").split(".")[0]))
            try:
                with storage_errors(entry.path), lock.acquire(timeout=0):
                    shutil.rmtree(entry.path)
                freed += entry.bytes
            except Timeout:
                left.append(entry.path)
        self._open.clear()
        return freed, left

    def _lock_path(self, key: str) -> Path:
        return self.root / f".{key}.encoding.lock"

    def _vectors(self, encoder: Encoder, work: _Work[T]) -> FloatArray:
        if not work.items:
            return np.empty((0, encoder.dim), dtype=np.float32)
        key = _key(encoder, work)
        if key not in self._open:
            found = self._read(key)
            if found is None:
                with self._alone(key):
                    found = self._read(key)  # another process may have finished it while we waited
                    if found is None:
                        self._write(key, encoder, work)
                        found = load_array(self.root / key / VECTORS)
            self._open[key] = found
        return self._open[key]

    def _read(self, key: str) -> FloatArray | None:
        folder = self.root / key
        if not folder.is_dir():
            return None
        try:
            verify_parts(folder, read_manifest(folder, KIND))
            vectors: FloatArray = load_array(folder / VECTORS)
        except DataError as error:
            logger.warning("%s; its texts are encoded again", error)
            return None
        return vectors

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Wait until nobody else encodes the same."""
        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_path(key))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.warning("another process is encoding the same texts; waiting for it")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _write(self, key: str, encoder: Encoder, work: _Work[T]) -> None:
        rows, distinct = _distinct([_digest(work.text_of(item)) for item in work.items])
        folder = self.root / f".{key}.work"
        with storage_errors(folder):
            folder.mkdir(exist_ok=True)
        chunks = self._encode_chunks(folder, encoder, work, distinct)
        with new_folder(self.root / key, overwrite=True) as target:
            writer = VectorWriter(target, encoder.dim, encoder.similarity)
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                vectors = [chunks[row // CHUNK][row % CHUNK] for row in part]
                names = [work.name_of(work.items[row]) for row in range(start, start + len(part))]
                writer.append(np.stack(vectors), names, encoder.name)
            writer.close()
            facts = {
                "model": encoder.name,
                "model_hash": encoder.model_hash,
                "backend": encoder.backend,
                "text_format": encoder.text_format.to_dict(),
                "similarity": encoder.similarity,
                "part": work.part,
                "label": self.labels.get(work.fingerprint, ""),
                "fingerprint": work.fingerprint,
                "rows": len(rows),
                "dim": encoder.dim,
                "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            }
            write_manifest(target, KIND, facts)
        shutil.rmtree(folder)

    def _encode_chunks(
        self, folder: Path, encoder: Encoder, work: _Work[T], distinct: Sequence[int]
    ) -> list[FloatArray]:
        """The vectors of the distinct texts in chunks, memory-mapped; those of an earlier, killed encoding are kept."""
        chunks: list[FloatArray] = []
        label = self.labels.get(work.fingerprint, work.part)
        shown = progress(f"Encoding {label}", len(distinct), work.part)
        told = self.show_progress and (work.part == "documents" or len(distinct) > CHUNK)
        with shown if told else nullcontext(silent) as advance:
            for start in range(0, len(distinct), CHUNK):
                rows = distinct[start : start + CHUNK]
                path = folder / f"{start:010}-{len(rows)}.npy"
                items = [work.items[row] for row in rows]
                names = [work.name_of(item) for item in items]
                chunks.append(kept_vectors(path, partial(work.encode, items), names, encoder))
                advance(len(rows))
        return chunks


def query_fingerprint(queries: Sequence[Query]) -> str:
    """sha256 over ids, texts and instructions in order: equal if and only if the queries are the same."""
    digest = hashlib.sha256()
    for query in queries:
        wish = None if query.instruction is None else query.instruction.text
        digest.update(json.dumps([query.query_id, query.text, wish]).encode() + b"\n")
    return digest.hexdigest()


def _key(encoder: Encoder, work: _Work[T]) -> str:
    model = [encoder.model_hash, encoder.backend, encoder.text_format.to_dict(), encoder.similarity]
    parts = [work.part, *model, work.fingerprint]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


def _distinct(digests: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """For each row the number of its text among the distinct ones, and for each of those the row where it first is."""
    numbers: dict[bytes, int] = {}
    first: list[int] = []
    rows = []
    for row, digest in enumerate(digests):
        number = numbers.setdefault(digest, len(first))
        if number == len(first):
            first.append(row)
        rows.append(number)
    return rows, first


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _entry(path: Path) -> Entry:
    size = sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    try:
        facts = parse_json_object((path / NAME).read_text(encoding="utf-8"), path / NAME)
        return Entry(path, facts["model"], facts["part"], facts["label"], facts["rows"], size, facts["created"])
    except (OSError, KeyError, DataError):
        changed = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).isoformat(timespec="seconds")
        return Entry(path, "", "unfinished", "", 0, size, changed)
