"""Drafts: what the records of a source give for one task, before split, instruction and mined negatives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from berri.card import TaskCard
from berri.record import CLASS_FIELD, Record
from tart.collection import Document
from tart.seeded import text_hash

MOST_POSITIVES = 4
_WORDS = re.compile(r"[^\W_]+")  # runs of what str.isalnum() accepts


class Text(NamedTuple):
    """A document before it has an id, and the task whose field it is."""

    title: str
    text: str
    task: str

    def document(self) -> Document:
        """With an id made of its content: equal documents have equal ids, in all tasks."""
        return Document(f"{text_hash(self.title, self.text):016x}", self.text, self.title)


@dataclass(frozen=True, slots=True)
class Draft:
    """One query of a task with everything that its records say about it.

    Args:
        task: name of the task.
        query: its text, as it stands in the first record.
        group: the same for equal queries, whatever their task.
        positives: right documents, at most four.
        given: wrong ones, as the source itself says.
        siblings: right for the same records under another task's instruction.
        opposites: those of a task that wants the contrary.
        allowed: others that are right too (further positives, documents of compatible tasks): never negatives.
        classes: the classes of its records.
    """

    task: str
    query: str
    group: str
    positives: tuple[Text, ...]
    given: tuple[Text, ...] = ()
    siblings: tuple[Text, ...] = ()
    opposites: tuple[Text, ...] = ()
    allowed: tuple[Text, ...] = ()
    classes: tuple[str, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """As plain values, JSON-able."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Draft:
        """The draft that `to_row` made the row of."""
        texts = ("positives", "given", "siblings", "opposites", "allowed")
        return cls(
            row["task"],
            row["query"],
            row["group"],
            **{name: tuple(Text(*one) for one in row[name]) for name in texts},
            classes=tuple(row["classes"]),
        )

    def right(self) -> frozenset[str]:
        """The normalised texts that are right for the query and so can't be wrong for it."""
        return frozenset(normalised(one.text) for one in (*self.positives, *self.allowed))


def normalised(text: str) -> str:
    """Letters and digits in lower case, one blank between words: what makes two texts the same.

    >>> normalised(" What's a GPU?")
    'what s a gpu'
    """
    return " ".join(_WORDS.findall(text.casefold()))


def group_of(query: str) -> str:
    """The group of a query: equal for equal texts."""
    return f"{text_hash(normalised(query) or query):016x}"


def drafts_of(
    task: TaskCard, others: Sequence[TaskCard], records: Iterable[Record], counts: Counter[str]
) -> Iterator[Draft]:
    """The drafts of one task, equal queries joined, in the order of their first records.

    Args:
        task: the card.
        others: the other tasks of the same source.
        records: the source's records, cleaned.
        counts: gets the reasons why records give nothing.
    """
    groups: dict[str, tuple[str, list[Record]]] = {}
    for record in records:
        if task.query not in record.fields:
            counts["records without query"] += 1
        for query in record.fields.get(task.query, ()):
            groups.setdefault(group_of(query), (query, []))[1].append(record)
    for group, (query, found) in groups.items():
        draft = _draft(task, others, query, group, found)
        if draft is None:
            counts["queries without a document other than themselves"] += 1
        else:
            yield draft


def _draft(task: TaskCard, others: Sequence[TaskCard], query: str, group: str, found: list[Record]) -> Draft | None:
    same = {normalised(query)}
    right = distinct((text for record in found for text in _texts(task, task.document, record)), same)
    if not right:
        return None
    compatible = [other for other in others if other.name in task.compatible]
    allowed = [text for other in compatible for record in found for text in _texts(other, other.document, record)]
    taken = same | {normalised(one.text) for one in (*right, *allowed)}
    wrong: dict[str, list[Text]] = {"given": [], "opposites": [], "siblings": []}
    if task.negatives:
        wrong["given"] = [text for record in found for text in _texts(task, task.negatives, record)]
    for other in others:
        if other not in compatible and other.document not in (task.query, task.document):
            kind = "opposites" if other.name in task.opposite else "siblings"
            theirs = distinct((text for record in found for text in _texts(other, other.document, record)), same)
            wrong[kind] += theirs[:MOST_POSITIVES]  # its positives: each other's right and wrong documents make twins
    kept = {kind: tuple(distinct(texts, taken)) for kind, texts in wrong.items()}
    classes = dict.fromkeys(name for record in found for name in record.fields.get(CLASS_FIELD, ()))
    more = (*right[MOST_POSITIVES:], *allowed)
    return Draft(task.name, query, group, tuple(right[:MOST_POSITIVES]), **kept, allowed=more, classes=tuple(classes))


def _texts(task: TaskCard, field: str, record: Record) -> list[Text]:
    title = record.fields.get(task.title, ("",))[0] if task.title else ""
    return [Text(title, text, task.name) for text in record.fields.get(field, ())]


def distinct(texts: Iterable[Text], without: set[str]) -> list[Text]:
    """Texts that differ from one another and from some normalised ones."""
    seen, kept = set(without), []
    for one in texts:
        name = normalised(one.text)
        if name and name not in seen:
            seen.add(name)
            kept.append(one)
    return kept
