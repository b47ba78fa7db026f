"""Systems whose answers are made elsewhere: TREC run files, and retrievers that bring their own index."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from eval.run_files import is_run_of, unescape_id
from eval.system import Corpora, PooledDocuments, System, check_documents
from tart.collection import Query
from tart.errors import DataError
from tart.files import sha256_file
from tart.retrieval.protocols import Retriever
from tart.run import Hit, Run

logger = logging.getLogger(__name__)


class TrecRunSystem(System):
    """A run file made by anybody, as the answer to one task. It can't be asked anew, so the instruction is fixed.

    Args:
        path: a TREC run file. Ids with percent escapes are decoded where the task knows them so.

    Raises:
        DataError: if it is no run file.
    """

    retrieval, fixed = "run", True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self.run = Run.read_trec(self.path)

    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        """See `System.retrieve`. Documents that the corpus lacks stay as wrong hits, and queries that nobody asks are
        left out, as in trec_eval; a warning tells of either. How many hits were asked for a file doesn't say: what it
        lacks counts as not found.

        Raises:
            DataError: if the file knows none of the queries, or the corpus none of its documents.
        """
        documents = PooledDocuments(corpora)
        asked = {query.query_id for query in queries}
        hits: dict[str, list[Hit]] = {query_id: [] for query_id in asked}
        others = []
        for query_id, found in self.run.items():
            known_as = _known(query_id, asked)
            if known_as in asked:
                hits[known_as] = [Hit(_known(hit.doc_id, documents), hit.score) for hit in found]
            else:
                others.append(query_id)
        missing = [query_id for query_id in asked if not hits[query_id]]
        if len(missing) == len(asked):
            raise DataError(
                f"has none of the task's {len(asked):,} queries: a run file answers one task", path=self.path
            )
        if others:
            shown = ", ".join(map(repr, others[:3])) + ", ..." * (len(others) > 3)
            logger.warning("%s: %d queries (%s) are not asked; they are left out", self.path, len(others), shown)
        if missing:
            logger.warning("%s: no hit for %d of %d queries; they count as 0", self.path, len(missing), len(asked))
        run = Run(hits, k)
        check_documents(run, documents, str(self.path))
        return run

    def answers(self, task: str, pool: str) -> bool:
        """See `System.answers`. The file's name says so, as an evaluation gave it."""
        return is_run_of(self.path.name, task, pool)

    def facts(self) -> dict[str, Any]:
        """The file's checksum."""
        return {"model": self.name, "retrieval": self.retrieval, "sha256": sha256_file(self.path)}


class RetrieverSystem(System):
    """Any `Retriever` object. It searches what it was built over; for a pool its ids must be `task/id`."""

    retrieval = "retriever"

    def __init__(self, retriever: Retriever, name: str | None = None) -> None:
        self.retriever, self.name = retriever, name or type(retriever).__name__

    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        """See `System.retrieve`.

        Raises:
            DataError: if the corpus has none of the documents.
        """
        run = self.retriever.retrieve(queries, k)
        check_documents(run, PooledDocuments(corpora), self.name)
        return run

    def facts(self) -> dict[str, Any]:
        """Its class."""
        kind = type(self.retriever)
        return {"model": self.name, "retrieval": self.retrieval, "class": f"{kind.__module__}.{kind.__qualname__}"}


def _known(name: str, names: Container[str]) -> str:
    return name if name in names else unescape_id(name)
