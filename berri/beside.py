"""Families over several sources: two ask the same query, and the right document of each is wrong for the other.

Drafts are made source by source, so that only the records of one source are known there. Here the drafts of a family's
tasks meet: for a query that stands in several sources, what another one wants becomes a sibling, or, where intent and
unit are the same, one more document that is right and so never a negative.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from berri import stages
from berri.card import TaskCard
from berri.draft import MOST_POSITIVES, Draft, Text, distinct, normalised
from berri.steps import Step

Groups = npt.NDArray[np.uint64]


def join_families(work: Path, cards: Mapping[str, TaskCard], drafts: Mapping[str, Step]) -> dict[str, Step]:
    """The drafts of all tasks, those of families over several sources with what the other sources want.

    Args:
        work: the work folder.
        cards: the tasks.
        drafts: of each of them.
    """
    joined = dict(drafts)
    families: dict[str, list[TaskCard]] = defaultdict(list)
    for name in drafts:
        families[cards[name].family].append(cards[name])
    for family, tasks in families.items():
        if family and len({task.source.name for task in tasks}) > 1:
            joined |= _join(work, tasks, drafts)
    return joined


def _join(work: Path, tasks: Sequence[TaskCard], drafts: Mapping[str, Step]) -> dict[str, Step]:
    shared = _shared(tasks, drafts)
    found: dict[int, list[tuple[TaskCard, tuple[Text, ...]]]] = defaultdict(list)
    for task in tasks:
        for draft in _of_groups(drafts[task.name], shared):
            found[int(draft.group, 16)].append((task, draft.positives))
    involved = {task.name for those in found.values() for task, _ in those}
    facts = [(one.name, one.intent, one.unit, drafts[one.name].digest) for one in tasks if one.name in involved]

    def rows(task: TaskCard, _: Counter[str]) -> Iterator[dict[str, Any]]:
        for draft in stages.drafts_in(drafts[task.name]):
            there = found.get(int(draft.group, 16), ())
            others = [(other, texts) for other, texts in there if other.source.name != task.source.name]
            yield (_with(task, draft, others) if others else draft).to_row()

    return {
        task.name: Step(work / "joined" / f"{task.name}.jsonl", [stages.FORMAT, task.name, facts]).make(
            partial(rows, task)
        )
        for task in tasks
        if task.name in involved
    }


def _with(task: TaskCard, draft: Draft, others: Iterable[tuple[TaskCard, tuple[Text, ...]]]) -> Draft:
    right, wrong = list(draft.allowed), list(draft.siblings)
    for other, texts in others:
        also_right = (other.intent, other.unit) == (task.intent, task.unit)
        (right if also_right else wrong).extend(texts[:MOST_POSITIVES])
    taken = {normalised(one) for one in (draft.query, *(text.text for text in draft.positives))}
    allowed = distinct(right, taken)
    siblings = distinct(wrong, taken | {normalised(one.text) for one in allowed})
    return replace(draft, allowed=tuple(allowed), siblings=tuple(siblings))


def _shared(tasks: Sequence[TaskCard], drafts: Mapping[str, Step]) -> Groups:
    """The groups that stand in several sources."""
    by_source: dict[str, list[Groups]] = defaultdict(list)
    for task in tasks:
        numbers = (int(row["group"], 16) for row in drafts[task.name].rows())
        by_source[task.source.name].append(np.fromiter(numbers, dtype=np.uint64))
    each = np.concatenate([np.unique(np.concatenate(parts)) for parts in by_source.values()])
    groups, sources = np.unique(each, return_counts=True)
    shared: Groups = groups[sources > 1]
    return shared


def _of_groups(step: Step, groups: Groups) -> Iterator[Draft]:
    wanted = set(groups.tolist())
    return (draft for draft in stages.drafts_in(step) if int(draft.group, 16) in wanted)
