"""TrainingExample: a query with its instruction, what is right for it, and what is wrong in which way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tart.collection import Document, Query
from tart.errors import DataError


class NegativeKind(str, Enum):
    """In which way a document is wrong.

    Source: arXiv 2211.09260, section 3.2 (hard and instruction-unfollowing negatives).
    """

    RANDOM = "random"  # drawn from the task's corpus
    HARD = "hard"  # of the right kind, near the query, and not what it asks for
    UNFOLLOWING = "unfollowing"  # near the query, and not what the instruction asks for


@dataclass(frozen=True, slots=True)
class Negative:
    """A document that is wrong for a query and its instruction.

    Args:
        document: the document.
        kind: in which way it is wrong.
        origin: where it comes from: "random", "given" (with the data), "bm25", "dense"; of unfollowing ones
            "other-task", "sibling" (right for the same query under another instruction), "query" (the query itself) or
            "opposite".
        score: what the retriever or cross-encoder that found it gave; None where nothing scored it.
    """

    document: Document
    kind: NegativeKind
    origin: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One query of one task with its documents.

    Args:
        example_id: unique in its collection: the task's name and a number.
        task: name of the task card.
        query: with one of the task's wordings as its instruction.
        positives: right for query and instruction; at least one.
        negatives: wrong; none has the text of a positive.
        group: the same for all examples, of whatever task, that ask the same text: they are siblings.

    Raises:
        DataError: naming the example, if it has no positive or a positive among its negatives.
    """

    example_id: str
    task: str
    query: Query
    positives: tuple[Document, ...]
    negatives: tuple[Negative, ...]
    group: str

    def __post_init__(self) -> None:
        if not self.positives:
            raise DataError(f"example {self.example_id!r} has no positive", field="positives")
        right = {(document.title, document.text) for document in self.positives}
        for negative in self.negatives:
            if (negative.document.title, negative.document.text) in right:
                raise DataError(f"example {self.example_id!r} has a positive among its negatives", field="negatives")
