"""The development search: does a model listen, and what has it forgotten? On the development split, never a test set.

Some tasks, some queries of each; every task's own documents are its corpus, all of them together the pool. "Closed"
searches the own corpus, "pooled" the pool, where only the instruction tells what is wanted.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tart.collection import Document, Query
from tart.errors import ConfigError, DataError
from tart.example import NegativeKind, TrainingExample
from tart.index.dense import check_finite, normalised
from tart.instruction import Instruction
from tart.retrieval.protocols import Encoder, FloatArray, Reranker
from tart.seeded import seeded, text_hash
from tart.shards import Collection
from tart.training.settings import CONDITIONS, DevelopmentSettings

logger = logging.getLogger(__name__)
DEPTH = 10
Rows = npt.NDArray[np.int64]  # of the pool


class _Asked(NamedTuple):
    """A query of one task: its text, what is right for it, and what is of the right kind, as rows of the pool."""

    task: str
    text: str
    right: frozenset[int]


class DevelopmentSearch:
    """A few tasks of a collection's development split, ready to be searched.

    A document is known by its title and text. It is of a task's kind if it is a positive or a hard or random negative
    there, or in a compatible task. Unfollowing negatives are in the pool too, except copies of the query.

    Args:
        collection: a finished one.
        tasks: how many tasks; families stay whole as far as that goes; 0: all.
        queries: of each task, at most; siblings get the same ones.
        documents: of each task's corpus, at most; right ones first, and all of them.
        levels: tasks of other levels are left out; all if empty.
        seed: of the choice.

    Raises:
        DataError: no task of the levels has a development example.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        tasks: int = 40,
        queries: int = 50,
        documents: int = 200,
        levels: Sequence[str] = ("train",),
        seed: int = 1,
    ) -> None:
        self._seed = seed
        self._facts = {name: collection.tasks[name] for name in _chosen(collection, tasks, levels, seed)}
        if not self._facts:
            raise DataError(f"no development example of level {' or '.join(levels)}", path=collection.folder)
        self._row: dict[tuple[str, str], int] = {}
        self.documents: list[Document] = []  # the pool
        self.queries: list[_Asked] = []
        self._kind: dict[str, set[int]] = {}
        for name in self._facts:
            examples = sorted(collection.examples("dev", name), key=lambda one: text_hash(str(seed), one.group))
            self._add_task(name, examples[:queries], documents)
        self._accept_compatible()

    def _add_task(self, name: str, examples: Sequence[TrainingExample], documents: int) -> None:
        right: dict[str, set[int]] = defaultdict(set)
        for example in examples:
            right[example.query.text] |= {self._add(document) for document in example.positives}
        kind = self._kind[name] = set().union(*right.values())
        for document in _further(examples, (NegativeKind.HARD, NegativeKind.RANDOM)):
            if len(kind) < documents:
                kind.add(self._add(document))
        before = len(self.documents)
        for document in _further(examples, (NegativeKind.UNFOLLOWING,)):
            if len(self.documents) - before < documents // 2:
                self._add(document)
        self.queries += [_Asked(name, text, frozenset(rows)) for text, rows in right.items()]

    def _accept_compatible(self) -> None:
        """What is of a compatible task's kind, or right for the same query there, is so here as well."""
        kind = {name: set(rows) for name, rows in self._kind.items()}
        right = {(one.task, one.text): one.right for one in self.queries}
        fitting = {
            name: [other for other in facts["compatible"] if other in kind] for name, facts in self._facts.items()
        }
        for name, others in fitting.items():
            self._kind[name] = kind[name].union(*(kind[other] for other in others))
        self.queries = [
            one._replace(
                right=one.right.union(*(right.get((other, one.text), frozenset()) for other in fitting[one.task]))
            )
            for one in self.queries
        ]

    def _add(self, document: Document) -> int:
        row = self._row.setdefault((document.title, document.text), len(self.documents))
        if row == len(self.documents):
            self.documents.append(Document(str(row), document.text, document.title))
        return row

    @property
    def tasks(self) -> list[str]:
        """The tasks that were chosen."""
        return list(self._facts)

    def asked(self, condition: str) -> list[Query]:
        """The queries under one condition.

        Args:
            condition: "own": one of the task's wordings; "held_out": one that training never sees; "other": a wording
                of another of the tasks; "plain": no instruction.

        Raises:
            ConfigError: unknown condition.
        """
        if condition not in CONDITIONS:
            raise ConfigError(f"unknown condition {condition!r}; there are {', '.join(CONDITIONS)}")
        return [
            Query(str(number), one.text, self._instruction(one, condition)) for number, one in enumerate(self.queries)
        ]

    def _instruction(self, one: _Asked, condition: str) -> Instruction | None:
        random, task = seeded(self._seed, "development", condition, one.task, one.text), one.task
        if condition == "plain":
            return None
        if condition == "other":
            fitting = {task, *self._facts[task]["compatible"]}
            task = random.choice([name for name in self._facts if name not in fitting] or [task])
        facts = self._facts[task]
        wordings = (facts["held_out_wordings"] if condition == "held_out" else ()) or facts["wordings"]
        return Instruction(random.choice(wordings), facts["intent"], facts["domain"], facts["unit"])

    def evaluate(self, encoder: Encoder) -> dict[str, float]:
        """Search with a bi-encoder.

        Args:
            encoder: any; each distinct text is encoded once.

        Returns:
            The `MEASURES` of `tart.training.settings`: mean nDCG@10 over queries, from 0 to 1, higher is better, and
            "wrong_...", the share of the pooled top 10 that is not of the task's kind, lower is better.

        Raises:
            DataError: a vector is not finite.
        """
        vectors = _vectors(encoder, encoder.encode_documents(self.documents), "documents")
        found: dict[str, float] = {}
        for condition in CONDITIONS:
            asked = _vectors(encoder, encoder.encode_queries(self.asked(condition)), f"{condition} queries")
            pooled, closed = list[Rows](), list[Rows]()
            for start in range(0, len(asked), 512):
                for one, scores in zip(self.queries[start:], asked[start : start + 512] @ vectors.T, strict=False):
                    pooled.append(_best(scores, np.arange(len(scores)), DEPTH))
                    closed.append(_best(scores, self._rows(one.task), DEPTH))
            found |= self._figures(condition, pooled, closed)
        return found

    def candidates(self, encoder: Encoder, depth: int = 20) -> Candidates:
        """What a reranker gets: the best documents for each query without instruction, of the pool and of its corpus.

        Args:
            encoder: the first stage.
            depth: documents of each search.
        """
        vectors = _vectors(encoder, encoder.encode_documents(self.documents), "documents")
        scores = _vectors(encoder, encoder.encode_queries(self.asked("plain")), "queries") @ vectors.T
        everything = np.arange(len(vectors))
        return Candidates(
            [_best(row, everything, depth) for row in scores],
            [_best(row, self._rows(one.task), depth) for one, row in zip(self.queries, scores, strict=True)],
        )

    def evaluate_reranker(self, reranker: Reranker, candidates: Candidates) -> dict[str, float]:
        """The same figures where a reranker orders the candidates anew.

        Args:
            reranker: any.
            candidates: from `candidates`; the same ones under every condition.

        Returns:
            as `evaluate`.
        """
        found: dict[str, float] = {}
        for condition in CONDITIONS:
            rows = [np.union1d(*both) for both in zip(candidates.pooled, candidates.closed, strict=True)]
            asked = self.asked(condition)
            pairs = [(query, self.documents[row]) for query, some in zip(asked, rows, strict=True) for row in some]
            scores = np.split(reranker.score(pairs), np.cumsum([len(some) for some in rows])[:-1])
            ranked = [some[np.argsort(-one, kind="stable")] for some, one in zip(rows, scores, strict=True)]
            orders = [
                [one[np.isin(one, given)][:DEPTH] for one, given in zip(ranked, side, strict=True)]
                for side in candidates
            ]
            found |= self._figures(condition, *orders)
        return found

    def _rows(self, task: str) -> Rows:
        return np.array(sorted(self._kind[task]), dtype=np.int64)

    def _figures(self, condition: str, pooled: Sequence[Rows], closed: Sequence[Rows]) -> dict[str, float]:
        wrong = [
            sum(row not in self._kind[one.task] and row not in one.right for row in rows.tolist()) / max(len(rows), 1)
            for one, rows in zip(self.queries, pooled, strict=True)
        ]
        right = [one.right for one in self.queries]
        return {
            f"closed_{condition}": ndcg(closed, right),
            f"pooled_{condition}": ndcg(pooled, right),
            f"wrong_{condition}": math.fsum(wrong) / len(wrong),
        }


def development_of(
    collection: Collection, settings: DevelopmentSettings, levels: Sequence[str], seed: int
) -> tuple[DevelopmentSearch | None, DevelopmentSettings]:
    """The search that a recipe wants, and its settings; without development examples none, and a warning."""
    tasks = collection.tasks.values()
    if not any(facts["examples"]["dev"] and (not levels or facts["level"] in levels) for facts in tasks):
        logger.warning("%s has no development examples: the loss alone is watched", collection.folder)
        return None, replace(settings, every=0, patience=0)
    search = DevelopmentSearch(collection, tasks=settings.tasks, queries=settings.queries, levels=levels, seed=seed)
    return search, settings


class Candidates(NamedTuple):
    """Rows of the pool for each query, best first: found in the whole pool, and in the task's own corpus."""

    pooled: list[Rows]
    closed: list[Rows]


def ndcg(ranked: Sequence[Rows], right: Sequence[frozenset[int]]) -> float:
    """Mean nDCG@10 of ranked rows where each right one has grade 1, by trec_eval's own code.

    >>> round(ndcg([np.array([4, 7]), np.array([1])], [frozenset({7}), frozenset({1})]), 3)
    0.815
    """
    from ir_measures import nDCG, pytrec_eval

    grades = {str(number): {str(row): 1 for row in rows} for number, rows in enumerate(right)}
    run = {
        str(number): {str(row): -float(place) for place, row in enumerate(rows)} for number, rows in enumerate(ranked)
    }
    return math.fsum(metric.value for metric in pytrec_eval.iter_calc([nDCG @ DEPTH], grades, run)) / len(right)


def _chosen(collection: Collection, count: int, levels: Sequence[str], seed: int) -> list[str]:
    """Tasks by whole families, in an order drawn once."""
    families: dict[str, list[str]] = defaultdict(list)
    for name, facts in collection.tasks.items():
        if facts["examples"]["dev"] and (not levels or facts["level"] in levels):
            families[facts["family"] or name].append(name)
    order = sorted(families, key=lambda family: text_hash(str(seed), family))
    names = [name for family in order for name in families[family]]
    return names[: count or None]


def _further(examples: Iterable[TrainingExample], kinds: tuple[NegativeKind, ...]) -> Iterator[Document]:
    for example in examples:
        for negative in example.negatives:
            if negative.kind in kinds and negative.origin != "query":
                yield negative.document


def _vectors(encoder: Encoder, vectors: FloatArray, what: str) -> FloatArray:
    check_finite(vectors, [f"{number} of the {what}" for number in range(len(vectors))], encoder.name)
    return normalised(vectors) if encoder.similarity == "cosine" else vectors


def _best(scores: FloatArray, rows: Rows, count: int) -> Rows:
    """The rows with the highest scores, best first; ties as trec_eval's float32 order by row."""
    some = scores[rows]
    if len(rows) > count:
        kept = some >= np.partition(some, -count)[-count]
        rows, some = rows[kept], some[kept]
    return rows[np.argsort(-some, kind="stable")][:count]
