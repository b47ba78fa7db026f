"""System: what is measured. It searches one corpus, or several as one.

In a pooled search a document is called `task/id`, so that ids of different tasks are kept apart.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tart.collection import Corpus, Document, Query
from tart.errors import DataError
from tart.run import Run

logger = logging.getLogger(__name__)

Corpora = Sequence[tuple[str, Corpus]]
"""Corpora that are searched as one, each with what is put before its documents' ids: "" or "task/"."""


class System(ABC):
    """Something that retrieves, with what results call it.

    Attributes:
        name: of the model.
        retrieval: "dense", "sparse", "hybrid", "run" or "retriever", and "+rerank" where a cross-encoder follows.
        fixed: whether it gives the same answer whatever the instruction, because the answer was made elsewhere.
    """

    name: str
    retrieval: str
    fixed = False

    @abstractmethod
    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        """The best k documents for each query over all corpora together, ids with their corpus's prefix."""

    def answers(self, task: str, pool: str) -> bool:
        """Whether a pool's task can be asked of it, "closed" or "pooled"."""
        return True

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What has to be known to do it again, JSON-able: model hash, text format, settings."""


class PooledDocuments(Mapping[str, Document]):
    """The documents of several corpora under their prefixed ids. A prefix is "" or ends with its only slash."""

    def __init__(self, corpora: Corpora) -> None:
        self._corpora = dict(corpora)

    def __getitem__(self, doc_id: str) -> Document:
        if "" in self._corpora:
            return self._corpora[""][doc_id]
        task, slash, own_id = doc_id.partition("/")
        return self._corpora[task + slash][own_id]

    def __iter__(self) -> Iterator[str]:
        return (prefix + doc_id for prefix, corpus in self._corpora.items() for doc_id in corpus)

    def __len__(self) -> int:
        return sum(len(corpus) for corpus in self._corpora.values())


def unknown_documents(run: Run, documents: Mapping[str, Document]) -> list[str]:
    """The ids in a run that aren't among the documents, sorted."""
    return sorted({hit.doc_id for hits in run.values() for hit in hits if hit.doc_id not in documents})


def check_documents(run: Run, documents: Mapping[str, Document], source: str) -> None:
    """Warn of documents that the corpus lacks; trec_eval too counts them as wrong hits.

    Raises:
        DataError: if it has none of them.
    """
    unknown = unknown_documents(run, documents)
    if not unknown:
        return
    if len(unknown) == len({hit.doc_id for hits in run.values() for hit in hits}):
        raise DataError(f"{source}: none of its documents ({some(unknown)}) is in the corpus that is searched")
    logger.warning("%s: %s not in the corpus; they count as wrong", source, some(unknown))


def some(names: Sequence[str]) -> str:
    """How many documents, and the first few ids."""
    listed = ", ".join(repr(name) for name in names[:3])
    return f"{len(names):,} documents ({listed}{', ...' if len(names) > 3 else ''})"
