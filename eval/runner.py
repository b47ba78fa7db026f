"""evaluate: tasks, systems and instruction conditions in, a Report out. One straight line.

Every search is written to a run file as soon as it is done, so that none is lost, and every vector stands in the
embedding cache: an evaluation that was interrupted encodes nothing again, and searches anew.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.conditions import parse_conditions, queries_under
from eval.details import collect_details
from eval.embedding_cache import EmbeddingCache
from eval.follow_runner import first_groups
from eval.follow_suite import FollowTask
from eval.measure_names import measure_name
from eval.measures import without_relevant
from eval.provenance import provenance
from eval.report import REPORT, Cell, Report, unique
from eval.search_task import SHOWN, Plan, pool_prefix, search_task
from eval.statistics import check_seed
from eval.summary import summarise
from eval.system import System
from eval.systems import make_systems
from eval.task import Pool, Task
from tart.errors import ConfigError, DataError, StorageError
from tart.models.backend import Backend
from tart.retrieval.protocols import Retriever

WHOLE = 1000  # how deep a search goes for a measure without a cutoff


def evaluate(
    tasks: Pool | Task | FollowTask | Sequence[Task | FollowTask],
    systems: Sequence[str | os.PathLike[str] | Retriever | System],
    *,
    instructions: Sequence[str] = ("none", "own"),
    measures: Sequence[str] = ("nDCG@10",),
    max_queries: int | None = None,
    rerank: str | None = None,
    max_document_tokens: int | None = None,
    backend: Backend = "auto",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    cache: EmbeddingCache | None = None,
    seed: int = 0,
    command: str = "",
) -> Report:
    """Measure systems on tasks under instruction conditions.

    Args:
        tasks: searched closed, each in its own corpus; those of a `Pool` also pooled, in all corpora together. Tasks
            without queries only fill the pool.
        systems: names that `make_systems` takes, retrievers, or systems.
        instructions: keys of `eval.conditions.CONDITIONS`; a task that lacks what one needs is left out of it (a note).
        measures: names as ir_measures writes them; the first decides the verdict, the gap and the page's figures.
        max_queries: the first so many judged queries of each task; None: all. Of a `FollowTask` the first whole groups.
        rerank: a cross-encoder behind every system.
        max_document_tokens: where bi-encoders cut documents, if before their own end.
        backend: what `load_encoder` and `load_reranker` take.
        out: a folder for run files, report.json, report.md and report.html.
        overwrite: let a finished report in that folder be replaced.
        cache: of embeddings; None takes the usual one.
        seed: of the bootstrap and the randomization test.
        command: what was typed, for the report.

    Raises:
        ConfigError: an unknown name, or settings that don't go together.
        DataError: data that can't be measured on.
        StorageError: the folder holds a report already, or the disk is full.
    """
    started = time.perf_counter()
    check_seed(seed)
    plan = _plan(tasks, instructions, measures, max_queries, out, overwrite)
    cache = cache or EmbeddingCache()
    cache.labels.update({task.collection.corpus.fingerprint: task.name for task in plan.tasks})
    made = make_systems(systems, rerank=rerank, cache=cache, max_document_tokens=max_document_tokens, backend=backend)
    cells, seconds = _search(made, plan)
    summary = summarise(cells, plan.measures, sources=[task.name for task in plan.tasks], seed=seed)
    seconds["all"] = round(time.perf_counter() - started, 1)
    settings = {"instructions": plan.conditions, "measures": plan.measures, "max_queries": max_queries}
    own = {"command": command, "settings": settings, "seed": seed, "seconds": seconds}
    report = replace(
        summary,
        notes=list(_notes(plan, made)),
        provenance={**provenance(plan.tasks, [system.facts() for system in made]), **own},
        cells=cells,
        details=_details(cells, plan),
    )
    if plan.out is not None:
        report.write(plan.out)
    return report


def _search(systems: Sequence[System], plan: Plan) -> tuple[list[Cell], dict[str, float]]:
    """Every cell of the report, and how many seconds each system took."""
    for system in systems:
        if system.fixed and plan.conditions not in (("none",), ("own",)):
            raise ConfigError(
                f"{system.name} is a run file, whose answers are given: say with --instructions none, or own, how they "
                f"were made; {', '.join(plan.conditions)} can't be asked of it"
            )
    cells: list[Cell] = []
    seconds: dict[str, float] = {}
    for system in systems:
        before = time.perf_counter()
        for task, pooled in _places(system, plan):
            cells.extend(search_task(system, task, pooled, plan))
        seconds[f"{system.name} {system.retrieval}"] = round(time.perf_counter() - before, 1)
    return cells, seconds


def _places(system: System, plan: Plan) -> list[tuple[Task, bool]]:
    """Which tasks a system searches, and whether pooled. Of a pool a run file answers the task that its name says."""
    if not plan.pooled:
        return [(task, False) for task in plan.asked]
    pools = {"closed": False, "pooled": True}
    found = [(task, pools[pool]) for task in plan.asked for pool in pools if system.answers(task.name, pool)]
    if not found:
        raise ConfigError(
            f"{system.name} is a run file whose name says no task of the pool, as SUITE,TASK,MODEL,RETRIEVAL,"
            "INSTRUCTION,POOL.trec would: rename it, or measure it in the folder of its task"
        )
    return found


def _details(cells: Sequence[Cell], plan: Plan) -> dict[str, Any]:
    asked = {task.name: task for task in plan.asked}
    tasks = [asked.get(task.name, task) for task in plan.tasks]
    return collect_details(cells, tasks, [pool_prefix(task) for task in tasks], plan.measures[0])


def _plan(
    tasks: Pool | Task | FollowTask | Sequence[Task | FollowTask],
    instructions: Sequence[str],
    measures: Sequence[str],
    max_queries: int | None,
    out: str | os.PathLike[str] | None,
    overwrite: bool,
) -> Plan:
    if max_queries is not None and max_queries < 1:
        raise ConfigError(f"max_queries must be at least 1, got {max_queries}")
    if not measures:
        raise ConfigError("no measure given; wanted at least one, such as nDCG@10")
    names = unique(measure_name(name) for name in measures)
    cutoffs = [int(found.group(1)) if (found := re.search(r"@(\d+)$", name)) else WHOLE for name in names]
    pooled = isinstance(tasks, Pool)
    listed = tasks.tasks if isinstance(tasks, Pool) else (tasks,) if isinstance(tasks, Task | FollowTask) else tasks
    follow = {one.task.name: first_groups(one, max_queries) for one in listed if isinstance(one, FollowTask)}
    given = tuple(one.task if isinstance(one, FollowTask) else one for one in listed)
    for task in given:
        if [one.name for one in given].count(task.name) > 1:
            raise ConfigError(f"two tasks are both called {task.name!r}; names must be unique")
    asked = tuple(
        _limited(follow[task.name].task, None) if task.name in follow else _limited(task, max_queries)
        for task in given
        if task.collection.queries
    )
    if not asked:
        raise ConfigError("there is no task with queries to measure on")
    folder = None if out is None else Path(out)
    if folder is not None and (folder / REPORT).exists() and not overwrite:
        raise StorageError(f"{folder}: holds a report already; choose another folder, or overwrite it (--overwrite)")
    conditions, depth = parse_conditions(instructions), max([*cutoffs, SHOWN])
    return Plan(given, asked, follow, pooled, conditions, tuple(names), depth, folder)


def _limited(task: Task, max_queries: int | None) -> Task:
    """The task with the queries that are asked: those that are judged, or the first of them."""
    collection = task.collection
    judged = tuple(query for query in collection.queries if collection.qrels.get(query.query_id))[:max_queries]
    qrels = {query.query_id: collection.qrels[query.query_id] for query in judged}
    if len(without_relevant(qrels)) == len(qrels):
        raise DataError(f"task {task.name!r}: none of its {len(collection.queries):,} queries has a relevant document")
    return replace(task, collection=replace(collection, queries=judged, qrels=qrels))


def _notes(plan: Plan, systems: Sequence[System]) -> Iterator[str]:
    given = {task.name: task for task in plan.tasks}
    for task in plan.asked:
        whole = given[task.name].collection
        unknown = [query_id for query_id in whole.qrels if query_id not in {query.query_id for query in whole.queries}]
        if unknown:
            yield f"{task.name}: the judgements name {len(unknown):,} queries that aren't there; they are left out"
        without = without_relevant(task.collection.qrels)
        if without:
            yield f"{task.name}: {len(without):,} judged queries have no relevant document; they are left out"
        lost = {doc_id for judged in task.collection.qrels.values() for doc_id in judged if doc_id not in whole.corpus}
        if lost:
            yield f"{task.name}: the judgements name {len(lost):,} documents that the corpus lacks"
        same = sum(query.query_id in whole.corpus for query in task.collection.queries)
        if task.drop_identical_ids and same:
            yield f"{task.name}: for {same:,} queries the document with the query's own id is dropped"
        for condition in plan.conditions:
            if not queries_under(condition, task, plan.tasks):
                yield f"{task.name}: nothing to ask under {condition!r}; it is left out there"
    for system in systems:
        if system.retrieval == "sparse" and plan.conditions != ("none",):
            yield f"{system.name} reads the words of the query alone: no instruction changes its ranking"
