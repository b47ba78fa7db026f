"""evaluate: tasks, systems and instruction conditions in, a Report out. One straight line.

Every search is written to a run file as soon as it is done, and every vector stands in the embedding cache: an
evaluation that was interrupted goes on from there when it is started again.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eval.conditions import parse_conditions, queries_under
from eval.details import collect_details
from eval.embedding_cache import EmbeddingCache
from eval.measures import measure_name, per_query, without_relevant, wrong_share
from eval.provenance import describe_tasks, provenance
from eval.report import REPORT, RUNS, Cell, Report, unique
from eval.run_files import run_name, write_run
from eval.summary import summarise
from eval.system import Corpora, System
from eval.systems import make_systems
from eval.task import Pool, Task
from tart.collection import Qrels, Query
from tart.errors import ConfigError, DataError, StorageError
from tart.retrieval.protocols import Retriever
from tart.run import Run

logger = logging.getLogger(__name__)

SHOWN = 10  # how many hits the share of wrong documents looks at, and how many a report keeps in memory
WRONG_TASK, WRONG_UNIT = f"wrong task@{SHOWN}", f"wrong unit@{SHOWN}"
WHOLE = 1000  # how deep a search goes for a measure without a cutoff


@dataclass(frozen=True, slots=True)
class _Plan:
    """What stays the same through an evaluation."""

    tasks: tuple[Task, ...]
    asked: tuple[Task, ...]  # those with queries, cut to the queries that are asked
    pooled: bool
    conditions: tuple[str, ...]
    measures: tuple[str, ...]
    depth: int
    out: Path | None


def evaluate(
    tasks: Pool | Task | Sequence[Task],
    systems: Sequence[str | os.PathLike[str] | Retriever | System],
    *,
    instructions: Sequence[str] = ("none", "own"),
    measures: Sequence[str] = ("nDCG@10",),
    max_queries: int | None = None,
    rerank: str | None = None,
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
        instructions: keys of `eval.conditions.CONDITIONS`. A task that lacks what a condition needs is left out of it,
            and the report says so.
        measures: names as ir_measures writes them; the first decides the verdict, the gap and the page's figures.
        max_queries: the first so many judged queries of each task; None: all.
        rerank: a cross-encoder behind every system.
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
    plan = _plan(tasks, instructions, measures, max_queries, out, overwrite)
    cache = cache or EmbeddingCache()
    cache.labels.update({task.collection.corpus.fingerprint: task.name for task in plan.tasks})
    made = make_systems(systems, rerank=rerank, cache=cache)
    for system in made:
        if system.fixed and plan.conditions not in (("none",), ("own",)):
            raise ConfigError(
                f"{system.name} is a run file, whose answers are given: say with --instructions none, or own, how they "
                f"were made; {', '.join(plan.conditions)} can't be asked of it"
            )
    cells: list[Cell] = []
    seconds: dict[str, float] = {}
    for system in made:
        before = time.perf_counter()
        for task in plan.asked:
            for pooled in (False, True) if plan.pooled else (False,):
                cells.extend(_search(system, task, pooled, plan))
        seconds[f"{system.name} {system.retrieval}"] = round(time.perf_counter() - before, 1)
    sources = [task.name for task in plan.tasks] if plan.pooled else []
    summary = summarise(cells, plan.measures, sources=sources, seed=seed)
    facts: dict[str, Any] = {
        **provenance(),
        "command": command,
        "settings": {"instructions": plan.conditions, "measures": plan.measures, "max_queries": max_queries},
        "seed": seed,
        "data": describe_tasks(plan.tasks),
        "systems": [system.facts() for system in made],
        "seconds": {**seconds, "all": round(time.perf_counter() - started, 1)},
    }
    limited = [next((one for one in plan.asked if one.name == task.name), task) for task in plan.tasks]
    report = replace(
        summary,
        notes=[*_notes(plan, made)],
        provenance=facts,
        cells=cells,
        details=collect_details(cells, limited, [_prefix(task) for task in limited], plan.measures[0]),
    )
    if plan.out is not None:
        report.write(plan.out)
    return report


def _plan(
    tasks: Pool | Task | Sequence[Task],
    instructions: Sequence[str],
    measures: Sequence[str],
    max_queries: int | None,
    out: str | os.PathLike[str] | None,
    overwrite: bool,
) -> _Plan:
    if max_queries is not None and max_queries < 1:
        raise ConfigError(f"max_queries must be at least 1, got {max_queries}")
    if not measures:
        raise ConfigError("no measure given; wanted at least one, such as nDCG@10")
    names = unique(measure_name(name) for name in measures)
    cutoffs = [int(found.group(1)) if (found := re.search(r"@(\d+)$", name)) else WHOLE for name in names]
    given = tasks.tasks if isinstance(tasks, Pool) else (tasks,) if isinstance(tasks, Task) else tuple(tasks)
    for task in given:
        if [one.name for one in given].count(task.name) > 1:
            raise ConfigError(f"two tasks are both called {task.name!r}; names must be unique")
    asked = tuple(_limited(task, max_queries) for task in given if task.collection.queries)
    if not asked:
        raise ConfigError("there is no task with queries to measure on")
    folder = None if out is None else Path(out)
    if folder is not None and (folder / REPORT).exists() and not overwrite:
        raise StorageError(f"{folder}: holds a report already; choose another folder, or overwrite it (--overwrite)")
    pooled = isinstance(tasks, Pool)
    return _Plan(given, asked, pooled, parse_conditions(instructions), tuple(names), max([*cutoffs, SHOWN]), folder)


def _limited(task: Task, max_queries: int | None) -> Task:
    """The task with the queries that are asked: those that are judged, or the first of them."""
    collection = task.collection
    judged = tuple(query for query in collection.queries if collection.qrels.get(query.query_id))[:max_queries]
    qrels = {query.query_id: collection.qrels[query.query_id] for query in judged}
    if len(without_relevant(qrels)) == len(qrels):
        raise DataError(f"task {task.name!r}: none of its {len(collection.queries):,} queries has a relevant document")
    return replace(task, collection=replace(collection, queries=judged, qrels=qrels))


def _search(system: System, task: Task, pooled: bool, plan: _Plan) -> Iterator[Cell]:
    """Search one task's queries under every condition, and measure."""
    pool = "pooled" if pooled else "closed"
    prefix = _prefix(task) if pooled else ""
    corpora: Corpora = [("", task.collection.corpus)]
    if pooled:
        corpora = [(_prefix(one), one.collection.corpus) for one in plan.tasks]
    qrels = {
        query_id: {prefix + doc_id: grade for doc_id, grade in judged.items()}
        for query_id, judged in task.collection.qrels.items()
    }
    logger.info("%s (%s): %s, %s", system.name, system.retrieval, task.name, pool)
    runs: dict[tuple[Query, ...], Run] = {}  # "wording-1" asks what "own" asks
    for condition in plan.conditions:
        for label, queries in queries_under(condition, task, plan.tasks).items():
            if queries not in runs:
                runs[queries] = _retrieve(system, corpora, queries, plan.depth, prefix, task)
            values = per_query(runs[queries], qrels, plan.measures)
            if pooled:
                values |= _wrong_shares(runs[queries], task, plan.tasks, qrels)
            labels = (task.suite, task.name, system.name, system.retrieval, label, pool)
            file = ""
            if plan.out is not None:
                file = f"{RUNS}/{run_name(labels)}"
                write_run(runs[queries], plan.out / file, system.name)
            yield Cell(*labels, run=runs[queries].cut(SHOWN), values=values, file=file, group=task.group)


def _retrieve(system: System, corpora: Corpora, queries: Sequence[Query], depth: int, prefix: str, task: Task) -> Run:
    if not task.drop_identical_ids:
        return system.retrieve(corpora, queries, depth)
    run = system.retrieve(corpora, queries, depth + 1)
    kept = {query_id: [hit for hit in run[query_id] if hit.doc_id != prefix + query_id] for query_id in run}
    return Run(kept, min(depth, run.depth))


def _wrong_shares(run: Run, task: Task, tasks: Sequence[Task], qrels: Qrels) -> dict[str, dict[str, float]]:
    """Of the measured queries, the share of the first hits that another task, or another unit, put there."""
    unit_of = {_prefix(one): one.unit for one in tasks}
    own = _prefix(task)
    skipped = set(without_relevant(qrels))

    def source(doc_id: str) -> str:
        return doc_id.partition("/")[0] + "/"

    shares = {WRONG_TASK: wrong_share(run, SHOWN, lambda _, doc_id: source(doc_id) != own)}
    if task.unit:
        shares[WRONG_UNIT] = wrong_share(run, SHOWN, lambda _, doc_id: unit_of[source(doc_id)] != task.unit)
    return {
        name: {query_id: value for query_id, value in found.items() if query_id not in skipped}
        for name, found in shares.items()
    }


def _prefix(task: Task) -> str:
    """What stands before the ids of a task's documents in a pool; its only slash is the last sign."""
    return quote(task.name, safe="") + "/"


def _notes(plan: _Plan, systems: Sequence[System]) -> Iterator[str]:
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
        if system.retrieval.startswith("sparse") and plan.conditions != ("none",):
            yield f"{system.name} reads the words of the query alone: no instruction changes its ranking"
