"""Mining: for each draft of a task the documents that are near and wrong, before some of them are chosen.

Hard candidates come from the task's own corpus, by words (BM25) and, with a model, by meaning. What could be right is
left out: what scores nearly as much as the positive itself, unless everything does. Where the query finds nothing, the
positive is the query.

Source: arXiv 2211.09260, section 3.2; the margin, a share of the positive's score, is that of arXiv 2407.15831.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from berri.corpus import Pool, search_words, write_word_index
from berri.draft import Draft, Text
from berri.near import LIKENESS, likeness, words_of
from tart.index.dense import DenseIndex
from tart.retrieval.protocols import FloatArray, Scored

DEPTH = 100  # candidates looked at, of each way of mining
KEPT = 20  # candidates handed on, of each way
MARGIN = 0.95  # a candidate that scores more than this share of the positive's score may be right
LAST = 10  # taken from the end of the list where every candidate scores more than the positive
OTHERS = 5  # documents of other tasks handed on


@dataclass(frozen=True, slots=True)
class Corpus:
    """A task's own corpus, ready for mining.

    Args:
        texts: by id, in a fixed order.
        classes: id -> the classes of the records that a document comes from.
        vectors: of the documents, shape (len(texts), dim), of length 1; None to mine by words alone.
    """

    texts: Mapping[str, Text]
    classes: Mapping[str, frozenset[str]]
    vectors: FloatArray | None
    _words: dict[str, frozenset[str]] = field(default_factory=dict)

    def words(self, doc_id: str) -> frozenset[str]:
        """The words of a document, looked up once."""
        if doc_id not in self._words:
            self._words[doc_id] = words_of(self.texts[doc_id].text)
        return self._words[doc_id]


def mine(
    drafts: Sequence[Draft], corpus: Corpus, query_vectors: FloatArray | None, pool: Pool, elsewhere: frozenset[str]
) -> Iterator[dict[str, Any]]:
    """Candidates for the negatives of each draft.

    Args:
        drafts: of one task.
        corpus: its corpus.
        query_vectors: shape (len(drafts), dim), of length 1; None to mine by words alone.
        pool: all tasks' corpora.
        elsewhere: the tasks whose documents this one can't want.

    Returns:
        For each draft a row: its `group`, `hard` as [doc_id, origin, score], and `others` as [title, text, score].
    """
    names = list(corpus.texts)
    queries = [draft.query for draft in drafts]
    lists: dict[str, Iterable[Scored]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_word_index(Path(folder), (text.document() for text in corpus.texts.values()))
        from tart.index.sparse import SparseIndex

        index = SparseIndex(Path(folder))
        lists["bm25"] = search_words(index, queries, DEPTH)
        if corpus.vectors is not None and query_vectors is not None:
            lists["dense"] = _search_vectors(corpus.vectors, query_vectors)
        others = pool.of_other_tasks(queries, elsewhere, 4 * DEPTH)
        for draft, other, *found in zip(drafts, others, *lists.values(), strict=True):
            judge = _Judge(draft, corpus)
            hard = []
            for origin, scored in zip(lists, found, strict=True):
                ids = [names[row] for row in scored.rows.tolist()[: 2 * DEPTH]]
                hard += [[name, origin, score] for name, score in judge.passing(ids, scored.scores.tolist())]
            if (
                not hard
            ):  # no document shares a word with the query, such as one that is a name: what is like the right one
                (scored,) = search_words(index, [draft.positives[0].text], DEPTH)
                ids = [names[row] for row in scored.rows.tolist()]
                hard = [[name, "bm25", score] for name, score in judge.passing(ids, scored.scores.tolist())]
            near = ([one.title, one.text, score] for one, score in other if judge.may_be_wrong(words_of(one.text)))
            yield {"group": draft.group, "hard": hard, "others": list(islice(near, OTHERS))}


def _search_vectors(documents: FloatArray, queries: FloatArray) -> Iterator[Scored]:
    index = DenseIndex(documents, "cosine")
    for start in range(0, len(queries), 256):
        yield from index.search(np.ascontiguousarray(queries[start : start + 256]), DEPTH)


class _Judge:
    """Says which documents of a corpus can be wrong for a draft."""

    def __init__(self, draft: Draft, corpus: Corpus) -> None:
        self._corpus = corpus
        right = (*draft.positives, *draft.allowed)
        self._right = {text.document().doc_id for text in right}
        self._right_words = [words_of(text) for text in (draft.query, *(one.text for one in right))]
        self._classes = frozenset(draft.classes)

    def may_be_wrong(self, words: frozenset[str]) -> bool:
        """Neither the words of what is right, or of the query, nor nearly."""
        return all(likeness(words, right) < LIKENESS for right in self._right_words)

    def passing(self, ids: list[str], scores: list[float]) -> list[tuple[str, float]]:
        """The best candidates that score clearly less than the positive, best first, `KEPT` at most.

        Where none does, because all lie within the margin or above it, the last `LAST` are taken, however near.
        """
        listed = list(zip(ids, scores, strict=False))
        best = max((score for name, score in listed if name in self._right), default=None)
        last = (one for one in reversed(listed) if self._fits(one[0]))
        if best is None and len(ids) >= DEPTH:  # the positive is not among them: all score more than it
            return list(islice(last, LAST))[::-1]
        clear = (one for one in listed if (best is None or one[1] < MARGIN * best) and self._fits(one[0]))
        return list(islice(clear, KEPT)) or list(islice(last, LAST))[::-1]

    def _fits(self, name: str) -> bool:
        if name in self._right or not self._classes.isdisjoint(self._corpus.classes.get(name, ())):
            return False
        return self.may_be_wrong(self._corpus.words(name))


def classes_of(drafts: Iterable[Draft]) -> dict[str, frozenset[str]]:
    """doc_id -> the classes of the drafts for which it is right."""
    classes: dict[str, frozenset[str]] = {}
    for draft in drafts:
        for text in draft.positives:
            name = text.document().doc_id
            classes[name] = classes.get(name, frozenset()).union(draft.classes)
    return classes
