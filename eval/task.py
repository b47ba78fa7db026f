"""Task and Pool: what is measured."""

from __future__ import annotations

from dataclasses import dataclass

from tart.collection import Query, TestCollection
from tart.instruction import Instruction


@dataclass(frozen=True, slots=True)
class Task:
    """One retrieval task: a test collection, and the instruction that says what it wants.

    Args:
        name: unique in its suite.
        suite: "beir", "lotte", "x2" or "follow".
        collection: its queries carry an instruction of their own where the data gives one per query. Without queries
            the task is a distractor: its documents fill a pool.
        wordings: ways to state the task's wish; the first is its own instruction. Empty: it has none.
        unit: what kind of document is wanted, such as "abstract"; in a pool the other units are the wrong ones.
        drop_identical_ids: whether a document with the query's own id is dropped (BEIR's rule).
        group: the set of which this task is a part, whose figure is the mean of its parts; empty: it stands alone.
    """

    name: str
    suite: str
    collection: TestCollection
    wordings: tuple[Instruction, ...] = ()
    unit: str = ""
    drop_identical_ids: bool = False
    group: str = ""

    def own_queries(self) -> tuple[Query, ...]:
        """The queries, each with its own instruction, else with the task's."""
        if not self.wordings:
            return self.collection.queries
        return tuple(q if q.instruction else q.instructed(self.wordings[0]) for q in self.collection.queries)


@dataclass(frozen=True, slots=True)
class Pool:
    """Tasks whose corpora are searched together; ids of different tasks are kept apart.

    Args:
        name: of the pool.
        tasks: those with queries and the distractors.
    """

    name: str
    tasks: tuple[Task, ...]
