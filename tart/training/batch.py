"""A batch: queries, the distinct documents of all of them, and which document may be wrong for which.

What may not be a negative is masked: further positives of the query, what is right for the same query under a
compatible instruction, and, without an instruction, under any, and near duplicates of all these. What is right for the
same query under another wish stays: it is what teaches to listen.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from tart.collection import Document
from tart.retrieval.protocols import FloatArray
from tart.shards import Collection
from tart.training.examples import Drawn

Mask = npt.NDArray[np.bool_]
LIKENESS = 0.8  # shared words by all words, from which on two documents are near duplicates


class Relations(NamedTuple):
    """How n queries and m documents stand to each other.

    Args:
        positive: shape (n,): the column of each query's positive.
        candidate: shape (n, m): the positive, and what is wrong for sure.
        right_kind: shape (n, m): what is of the kind that the instruction wants, right or wrong; all without one.
        wrong_kind: shape (n, m): what is surely of a kind that the instruction doesn't want: right for the same query
            under another one, a copy of the query, or of tasks that all have another unit ("Java code" may be "code");
            none without an instruction.
        own: shape (n, m): the query's own negatives and positive, vetted when they were collected.
    """

    positive: npt.NDArray[np.int64]
    candidate: Mask
    right_kind: Mask
    wrong_kind: Mask
    own: Mask


def compatible_tasks(collection: Collection) -> dict[str, frozenset[str]]:
    """Task -> the tasks whose documents satisfy its instructions too, itself among them."""
    return {name: frozenset({name, *facts.get("compatible", ())}) for name, facts in collection.tasks.items()}


def units_of(collection: Collection) -> dict[str, str]:
    """Task -> what its documents are."""
    return {name: facts["unit"] for name, facts in collection.tasks.items()}


def distinct_documents(drawn: Sequence[Drawn]) -> list[Document]:
    """The documents of a batch, each once, in the order of their first appearance."""
    return list({document.doc_id: document for one in drawn for document in one.documents}.values())


def relations(
    drawn: Sequence[Drawn],
    documents: Sequence[Document],
    compatible: Mapping[str, frozenset[str]],
    units: Mapping[str, str],
) -> Relations:
    """Which documents are positives, candidates and of the right or a wrong kind for which query.

    Args:
        drawn: the examples, one a row.
        documents: one a column; they hold every document of the examples.
        compatible: see `compatible_tasks`.
        units: see `units_of`.
    """
    column = {document.doc_id: number for number, document in enumerate(documents)}
    shape = (len(drawn), len(documents))
    positive = np.array([column[one.positive.doc_id] for one in drawn], dtype=np.int64)
    right, right_kind, own = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    kinds: dict[str, set[int]] = defaultdict(set)  # task -> columns of its kind of document
    answers: dict[str, list[Drawn]] = defaultdict(list)  # group -> the examples that ask it
    for row, one in enumerate(drawn):
        kinds[one.task].update(column[document.doc_id] for document in (one.positive, *one.right_kind))
        answers[one.group].append(one)
        own[row, [column[document.doc_id] for document in one.documents]] = True
    for row, one in enumerate(drawn):
        fitting = compatible.get(one.task, frozenset({one.task}))
        for task in fitting:
            right_kind[row, list(kinds.get(task, ()))] = True
        for other in answers[one.group]:
            if other.task in fitting or one.query.instruction is None:
                known = (other.positive.doc_id, *other.others)
                right[row, [column[name] for name in known if name in column]] = True
        if one.query.instruction is None:
            right_kind[row] = True
    wrong_kind = _of_other_units(drawn, kinds, units, shape)
    for row, one in enumerate(drawn):
        wrong_kind[row, [column[name] for name in one.other_wish]] = True
    right[np.arange(len(drawn)), positive] = True
    some = np.flatnonzero(right.any(axis=0)).tolist()
    close = near_duplicates([documents[column] for column in some], documents)
    right |= right[:, some].astype(np.float32) @ close.astype(np.float32) > 0
    candidate = ~right
    candidate[np.arange(len(drawn)), positive] = True
    right_kind[np.arange(len(drawn)), positive] = True
    return Relations(positive, candidate, right_kind, wrong_kind & ~right & ~right_kind, own)


def _of_other_units(
    drawn: Sequence[Drawn], kinds: Mapping[str, set[int]], units: Mapping[str, str], shape: tuple[int, int]
) -> Mask:
    of_unit: dict[str, Mask] = {}
    for task, some in kinds.items():
        of_unit.setdefault(units.get(task, task), np.zeros(shape[1], np.bool_))[list(some)] = True
    placed: Mask = np.logical_or.reduce(list(of_unit.values()))
    found = np.zeros(shape, np.bool_)
    for row, one in enumerate(drawn):
        if one.query.instruction is not None:
            wanted = units.get(one.task, one.task)
            found[row] = placed
            for unit, columns in of_unit.items():
                if _nested(unit, wanted):
                    found[row] &= ~columns
    return found


def _nested(one: str, other: str) -> bool:
    """Whether one unit may be the other: "Java code" is code, and code can be in Java."""
    return f" {one}".endswith(f" {other}") or f" {other}".endswith(f" {one}")


def guarded(found: Relations, base_scores: FloatArray, share: float) -> Mask:
    """The candidates without in-batch documents of the right kind that the base scores about as high as the positive.

    Args:
        found: the relations.
        base_scores: shape (n, m), the base's cosines.
        share: of the positive's score, from which on a document may be right.

    Source: the margin is that of arXiv 2407.15831, applied to in-batch documents.
    """
    rows = np.arange(len(found.positive))
    limit = share * base_scores[rows, found.positive]
    doubtful = found.right_kind & ~found.own & (base_scores > limit[:, None])
    return found.candidate & ~doubtful


def near_duplicates(some: Sequence[Document], others: Sequence[Document]) -> Mask:
    """Which pairs share at least `LIKENESS` of their words, shape (len(some), len(others))."""
    words = {document.doc_id: _words(document) for document in (*some, *others)}
    number: dict[str, int] = {}
    for one in words.values():
        for word in one:
            number.setdefault(word, len(number))
    left, right = (_rows([words[document.doc_id] for document in side], number) for side in (some, others))
    shared = (left @ right.T).toarray()
    union = np.diff(left.indptr)[:, None] + np.diff(right.indptr)[None, :] - shared
    close: Mask = shared >= LIKENESS * np.maximum(union, 1)
    return close


def _words(document: Document) -> frozenset[str]:
    text = f"{document.title} {document.text}".casefold()
    return frozenset(re.findall(r"\w+", text)) or frozenset({text})


def _rows(sets: Sequence[frozenset[str]], number: Mapping[str, int]) -> csr_array:
    """A row for each set, 1 where it has a word."""
    columns = [number[word] for words in sets for word in words]
    ends = np.cumsum([0, *map(len, sets)])
    return csr_array((np.ones(len(columns), dtype=np.int32), columns, ends), shape=(len(sets), len(number)))
