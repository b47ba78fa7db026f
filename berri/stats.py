"""Statistics of cards and collections: tasks by domain, intent and unit, negatives by kind, families and twins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from berri.card import TaskCard
from tart.shards import SPLITS, Collection


def card_stats(cards: Mapping[str, TaskCard]) -> dict[str, Any]:
    """Counts over task cards, JSON-able."""
    tasks = list(cards.values())
    family_tasks = [task for task in tasks if task.family]
    return {
        "tasks": len(tasks),
        "sources": len({task.source.name for task in tasks}),
        "wordings": sum(len(task.wordings) for task in tasks),
        "in families": len(family_tasks),
        "by family": _counted(task.family for task in family_tasks),
        "by intent": _counted(task.intent for task in tasks),
        "by unit": _counted(task.unit for task in tasks),
        "by domain": _counted(task.domain for task in tasks),
        "by license class": _counted(task.source.license_class for task in tasks),
        "by level": _counted(task.level for task in tasks),
        "by form of wording": _counted(wording.form for task in tasks for wording in task.wordings),
    }


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def collection_stats(collection: Collection) -> dict[str, Any]:
    """Counts over the examples of a collection, JSON-able; every example is read.

    Returns:
        `totals`; `tasks`: name -> counts; `by domain`, `by intent` and `by unit`: examples; `duplicates`: queries asked
        by several tasks (families do so on purpose), and documents that are right in several tasks or for several
        queries of one; `twins`.
    """
    queries: Counter[str] = Counter()
    documents: Counter[str] = Counter()
    tasks = {name: _task_stats(collection, name, queries, documents) for name in collection.tasks}
    totals: Counter[str] = Counter()
    for counts in tasks.values():
        totals.update({key: value for key, value in counts.items() if isinstance(value, int)})
    return {
        "totals": dict(sorted(totals.items())),
        "tasks": tasks,
        **{f"by {key}": _examples_by(collection, key) for key in ("domain", "intent", "unit")},
        "duplicates": {
            "queries of several tasks": sum(count > 1 for count in queries.values()),
            "documents of several tasks": sum(count > 1 for count in documents.values()),
            "positives that come again in their task": totals["positives"] - totals["documents"],
        },
        "twins": twins(collection),
    }


def _examples_by(collection: Collection, key: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for facts in collection.tasks.values():
        counts[facts[key] or "not stated"] += sum(facts["examples"].values())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _task_stats(
    collection: Collection, task: str, queries: Counter[str], all_documents: Counter[str]
) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    asked: set[str] = set()
    for split in SPLITS:
        for example in collection.examples(split, task):
            asked.add(example.group)
            counts[split] += 1
            counts["positives"] += len(example.positives)
            kinds = {negative.kind.value for negative in example.negatives}
            counts.update(f"with {kind}" for kind in kinds)
            counts["with hard and unfollowing"] += {"hard", "unfollowing"} <= kinds
            counts.update(f"{one.kind.value}: {one.origin}" for one in example.negatives)
            characters["query"] += len(example.query.text)
            characters["document"] += sum(len(one.text) for one in example.positives)
            texts.update(document.doc_id for document in example.positives)
    queries.update(asked)
    all_documents.update(texts.keys())
    examples = max(counts["train"] + counts["dev"], 1)
    return {
        **counts,
        "documents": len(texts),
        "mean query characters": round(characters["query"] / examples, 1),
        "mean document characters": round(characters["document"] / max(counts["positives"], 1), 1),
    }


def twins(collection: Collection) -> dict[str, int]:
    """How many pairs of examples ask the same text of two tasks, each one's right document being the other's wrong one.

    Returns:
        family -> pairs; the family of a pair is that of its first task.

    Source: dual-view pairs of arXiv 2604.18845.
    """
    counts: Counter[str] = Counter()
    for split in SPLITS:
        asked = Counter(example.group for task in collection.tasks for example in collection.examples(split, task))
        found: dict[str, list[_Seen]] = {}
        for task in collection.tasks:
            for example in collection.examples(split, task):
                if asked[example.group] > 1:
                    right = {document.doc_id for document in example.positives}
                    wrong = {negative.document.doc_id for negative in example.negatives}
                    found.setdefault(example.group, []).append(_Seen(collection.tasks[task], right, wrong))
        for seen in found.values():
            for place, one in enumerate(seen):
                for other in seen[place + 1 :]:
                    if _related(one.task, other.task) and one.right & other.wrong and other.right & one.wrong:
                        counts[one.task["family"] or "no family"] += 1
    return dict(sorted(counts.items()))


class _Seen(NamedTuple):
    task: Mapping[str, Any]
    right: set[str]
    wrong: set[str]


def _related(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tasks are of one family, or ask the same field of one source."""
    same = (one["source"], one["query_field"]) == (other["source"], other["query_field"])
    return same or (bool(one["family"]) and one["family"] == other["family"])
