"""The corpora that negatives are mined from: each task's own, and all tasks' in one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from berri.card import TaskCard
from berri.draft import Draft, Text
from tart.collection import Document
from tart.errors import DataError
from tart.files import new_folder
from tart.manifest import read_manifest, write_manifest
from tart.retrieval.protocols import Scored

if TYPE_CHECKING:
    from tart.index.sparse import SparseIndex

POOL = "berri-pool/1"
MOST_WORDS = 64  # of a query or document in word matching: the rest of a long text adds little but time
POOL_WORDS = 16  # of a query in the pool, where any document of its topic will do
_AT_ONCE = 512  # queries


def corpus_of(drafts: Iterable[Draft]) -> dict[str, Text]:
    """The right documents of a task's drafts, by id, each one once."""
    corpus: dict[str, Text] = {}
    for draft in drafts:
        for text in draft.positives:
            corpus.setdefault(text.document().doc_id, text)
    return corpus


def beginning(text: str, words: int = MOST_WORDS) -> str:
    """The first words of a text."""
    return " ".join(text.split(None, words)[:words])


def write_word_index(folder: Path, documents: Iterable[Document]) -> None:
    """BM25 over the beginnings of documents."""
    from tart.index.sparse import write_bm25

    write_bm25(folder, (Document(one.doc_id, beginning(f"{one.title} {one.text}")) for one in documents))


def search_words(index: SparseIndex, queries: list[str], k: int, words: int = MOST_WORDS) -> Iterator[Scored]:
    """BM25 over the beginnings of queries."""
    for start in range(0, len(queries), _AT_ONCE):
        yield from index.search([beginning(query, words) for query in queries[start : start + _AT_ONCE]], k)


def build_pool(folder: Path, documents: Iterable[tuple[Document, str]], key: str) -> None:
    """Write the corpora of all tasks as one, unless it is there.

    Args:
        folder: `owners.txt` says, line by line, to which tasks a document belongs.
        documents: each with the names of its tasks, joined by blanks; each one once.
        key: what it is made from; a pool with another key is made anew.
    """
    from tart.index.documents import write_documents

    try:
        if read_manifest(folder, POOL)["key"] == key:
            return
    except DataError:
        shutil.rmtree(folder, ignore_errors=True)  # what is there was left by a kill
    with new_folder(folder, overwrite=True) as staging:
        with (staging / "owners.txt").open("w", encoding="utf-8", newline="\n") as owners:

            def noted() -> Iterator[Document]:
                for document, tasks in documents:
                    owners.write(tasks + "\n")
                    yield document

            write_documents(staging, noted())
        from tart.index.documents import DocumentStore

        write_word_index(staging, DocumentStore(staging).in_order())
        write_manifest(staging, POOL, {"key": key})


class Pool:
    """The corpora of all tasks in one, searched by words.

    Args:
        folder: what `build_pool` made.
    """

    def __init__(self, folder: Path) -> None:
        from tart.index.documents import DocumentStore
        from tart.index.sparse import SparseIndex

        self.documents, self._index = DocumentStore(folder), SparseIndex(folder)
        lines = (folder / "owners.txt").read_text(encoding="utf-8").split("\n")
        known: dict[str, tuple[str, ...]] = {}
        self._owners = [known.setdefault(line, tuple(line.split())) for line in lines[:-1]]

    def of_other_tasks(
        self, queries: list[str], elsewhere: frozenset[str], k: int
    ) -> Iterator[Iterator[tuple[Document, float]]]:
        """For each query the nearest documents that belong to none but some tasks, with their BM25 scores.

        Args:
            queries: texts.
            elsewhere: the tasks.
            k: how many are looked at.
        """
        for scored in search_words(self._index, queries, k, POOL_WORDS):
            rows = zip(scored.rows.tolist(), scored.scores.tolist(), strict=True)
            yield ((self.documents.at(row), score) for row, score in rows if elsewhere.issuperset(self._owners[row]))


def elsewhere(task: TaskCard, cards: Mapping[str, TaskCard]) -> frozenset[str]:
    """The tasks whose documents can't be what a task wants: of other sources, with another intent and another unit."""
    return frozenset(
        other.name
        for other in cards.values()
        if other.source.name != task.source.name and other.intent != task.intent and other.unit != task.unit
    )


def pool_rows(drafts: Mapping[str, Callable[[], Iterable[Draft]]]) -> Iterator[tuple[Document, str]]:
    """All documents of some tasks' corpora, each once, with the names of the tasks it belongs to.

    Args:
        drafts: task -> what gives its drafts, anew at each call: they are read twice, so that no text is kept.
    """
    sets: dict[tuple[str, ...], tuple[str, ...]] = {}
    owners: dict[int, tuple[str, ...]] = {}
    for name, read in drafts.items():
        for draft in read():
            for text in draft.positives:
                key = int(text.document().doc_id, 16)
                known = owners.get(key, ())
                if known[-1:] != (name,):
                    owners[key] = sets.setdefault((*known, name), (*known, name))
    for read in drafts.values():
        for draft in read():
            for text in draft.positives:
                document = text.document()
                if (names := owners.pop(int(document.doc_id, 16), None)) is not None:
                    yield document, " ".join(names)
