"""Documents, queries and judgements: the small immutable types that everything passes around."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from tart.errors import DataError
from tart.instruction import Instruction


def _require_text(value: object, field: str, *, blank_ok: bool) -> None:
    if not isinstance(value, str):
        raise DataError(f"must be a string, got {type(value).__name__}", field=field)
    if not blank_ok and not value.strip():
        raise DataError("must not be empty", field=field)


@dataclass(frozen=True, slots=True)
class Document:
    """One unit that can be retrieved. It never carries an instruction, so one index serves every instruction.

    Args:
        doc_id: unique in its corpus, not blank.
        text: the body; may be empty.
        title: may be empty.

    Raises:
        DataError: naming the field, if one is not a string or the id is blank.
    """

    doc_id: str
    text: str
    title: str = ""

    def __post_init__(self) -> None:
        _require_text(self.doc_id, "doc_id", blank_ok=False)
        _require_text(self.text, "text", blank_ok=True)
        _require_text(self.title, "title", blank_ok=True)


@dataclass(frozen=True, slots=True)
class Query:
    """What the user asks, with what the user wants back.

    Args:
        query_id: unique in its set, not blank.
        text: the question, claim, title, ... ; not blank.
        instruction: None for a search without instruction.

    Raises:
        DataError: naming the field, if one is of the wrong type, or the id or text is blank.

    >>> Query("q1", "read a file", Instruction("Find Python code")).plain().instruction is None
    True
    """

    query_id: str
    text: str
    instruction: Instruction | None = None

    def __post_init__(self) -> None:
        _require_text(self.query_id, "query_id", blank_ok=False)
        _require_text(self.text, "text", blank_ok=False)
        if self.instruction is not None and not isinstance(self.instruction, Instruction):
            raise DataError(
                f"must be an Instruction or None, got {type(self.instruction).__name__}; "
                "wrap a sentence as tart.Instruction('...')",
                field="instruction",
            )

    def plain(self) -> Query:
        """The same query without its instruction."""
        return replace(self, instruction=None)

    def instructed(self, instruction: Instruction) -> Query:
        """The same query under another instruction."""
        return replace(self, instruction=instruction)


class Corpus(Mapping[str, Document]):
    """All documents that are searched, in their given order.

    Args:
        documents: in any order; their ids must be unique.

    Raises:
        DataError: if an id comes twice.

    >>> corpus = Corpus([Document("a", "one"), Document("b", "two")])
    >>> list(corpus), corpus["b"].text
    (['a', 'b'], 'two')
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents: dict[str, Document] = {}
        for document in documents:
            if document.doc_id in self._documents:
                raise DataError(f"the id {document.doc_id!r} comes twice; ids must be unique", field="doc_id")
            self._documents[document.doc_id] = document

    def __getitem__(self, doc_id: str) -> Document:
        return self._documents[doc_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over ids, titles and texts in order: equal if and only if the corpus is the same."""
        digest = hashlib.sha256()
        for document in self._documents.values():
            for part in (document.doc_id, document.title, document.text):
                data = part.encode("utf-8", "surrogatepass")
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()


Qrels = Mapping[str, Mapping[str, int]]
"""Judgements: query_id -> doc_id -> grade. A document is relevant if its grade is above 0."""


@dataclass(frozen=True, slots=True)
class TestCollection:
    """A corpus, queries on it and judgements: what a retrieval system is measured on."""

    __test__ = False  # the name is the field's own; it is no test case for pytest

    name: str
    corpus: Corpus
    queries: tuple[Query, ...]
    qrels: Qrels
