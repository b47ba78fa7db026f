"""Building an index folder: documents are checked and stored, then encoded; the folder appears when it is whole."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tart.collection import Document
from tart.errors import DataError, StorageError
from tart.files import folder_lock, is_disk_full, new_folder
from tart.index.chunks import kept_vectors
from tart.index.dense import VECTORS, VectorWriter
from tart.index.documents import DocumentStore, load_array, write_documents
from tart.index.readers import read_documents
from tart.index.rounded import write_rounded
from tart.index.sparse import write_bm25
from tart.manifest import write_manifest
from tart.progress import progress, silent
from tart.retrieval.protocols import Encoder, FloatArray

KIND = "tart-index/1"
CHUNK = 2048  # documents in memory at once; what a kill can cost

logger = logging.getLogger(__name__)

Documents = str | os.PathLike[str] | Iterable[Document | str] | Mapping[str, Document | str]


def build_index(
    documents: Documents, encoder: Encoder, output: str | Path, *, overwrite: bool = False, show_progress: bool = False
) -> None:
    """Encode documents and write an index folder; the log's last line tells how fast.

    Args:
        documents: a path that `read_documents` takes, documents, or plain strings (whose ids are then "0", "1", ...);
            or a mapping to either, such as a `Corpus` (its keys are the ids of plain strings).
        encoder: makes the vectors.
        output: the folder to make. It appears when it is whole. A build that is killed leaves, in hidden folders beside
            it, what it has encoded: the next one goes on from there where encoder and documents are the same.
        overwrite: take the place of an existing folder.
        show_progress: show a bar on stderr.

    Raises:
        DataError: a bad document, two of one id, none at all, or vectors that aren't finite.
        StorageError: the folder exists already or isn't an index, is being built by somebody else, or the disk is full.
    """
    started = time.perf_counter()
    target = Path(output).resolve()
    chunks = target.with_name(f".{target.name}.chunks")
    with new_folder(output, overwrite=overwrite, kind=KIND) as folder:
        write_documents(folder, _checked(documents))  # all of them first: a bad line shows before the slow part
        store = DocumentStore(folder)
        write_bm25(folder, store.in_order())
        try:
            counts, encoding = _write_vectors(folder, store, encoder, chunks, show_progress)
            rounding = write_rounded(folder, load_array(folder / VECTORS))
            write_manifest(folder, KIND, {**counts, **_facts(encoder), "rounding": rounding})
        except OSError as error:
            if is_disk_full(error):
                shutil.rmtree(chunks, ignore_errors=True)  # what fills the disk doesn't stay
            raise
    with suppress(StorageError), folder_lock(target):  # if somebody builds it anew already, the chunks are theirs
        shutil.rmtree(chunks, ignore_errors=True)
    seconds = time.perf_counter() - started
    outside = f"{1 - encoding / seconds:.0%} of them outside the model"
    logger.info(
        "%s: %s documents in %.1f s (%.0f/s), %s", output, f"{len(store):,}", seconds, len(store) / seconds, outside
    )


def _write_vectors(
    folder: Path, store: DocumentStore, encoder: Encoder, chunks: Path, show_progress: bool
) -> tuple[dict[str, int], float]:
    """Write `embeddings.npy`, chunk by chunk, each of which is kept in a file of its own until all are there.

    Returns:
        Counts for the manifest, and the seconds that the encoder took.
    """
    facts = [encoder.model_hash, encoder.backend, encoder.text_format.to_dict(), encoder.dim]
    fingerprint = json.dumps(facts, sort_keys=True).encode()
    cut_documents = cut_tokens = known = 0
    seconds = 0.0

    def encode(chunk: Sequence[Document]) -> FloatArray:
        nonlocal seconds
        started = time.perf_counter()
        vectors = encoder.encode_documents(chunk)
        seconds += time.perf_counter() - started
        return vectors

    vectors = VectorWriter(folder, encoder.dim, encoder.similarity)
    with progress("Encoding", len(store)) if show_progress else nullcontext(silent) as advance:
        for start in range(0, len(store), CHUNK):
            chunk = [store.at(row) for row in range(start, min(start + CHUNK, len(store)))]
            names = [document.doc_id for document in chunk]
            digest = hashlib.blake2b(fingerprint + store.lines(start, start + len(chunk)), digest_size=20)
            path = chunks / f"{digest.hexdigest()}.npy"
            known += len(chunk) if path.exists() else 0
            vectors.append(kept_vectors(path, partial(encode, chunk), names, encoder), names, encoder.name)
            for read in encoder.read_documents(chunk):
                cut_documents += read.cut_tokens > 0
                cut_tokens += read.cut_tokens
            advance(len(chunk))
    vectors.close()
    if known:
        logger.info("%s documents had been encoded by a build that wasn't finished", f"{known:,}")
    return {"documents": len(store), "cut_documents": cut_documents, "cut_tokens": cut_tokens}, seconds


def _facts(encoder: Encoder) -> dict[str, Any]:
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": {"name": encoder.name, "hash": encoder.model_hash, "dim": encoder.dim},
        "backend": encoder.backend,
        "similarity": encoder.similarity,
        "text_format": encoder.text_format.to_dict(),
        "versions": {name: version(name) for name in ("tart-retrieval", "faiss-cpu", "bm25s")},
    }


def _checked(documents: Documents) -> Iterator[Document]:
    if isinstance(documents, str | os.PathLike):
        yield from read_documents(documents)
        return
    seen: set[str] = set()
    for name, given in documents.items() if isinstance(documents, Mapping) else enumerate(documents):
        document = Document(str(name), given) if isinstance(given, str) else given
        if not isinstance(document, Document):
            raise DataError(f"document {name}: wanted a tart.Document or a string, got {type(document).__name__}")
        if document.doc_id in seen:
            raise DataError(f"document {name}: the id {document.doc_id!r} comes twice", field="doc_id")
        seen.add(document.doc_id)
        yield document
    if not seen:
        raise DataError("there is no document to index")
