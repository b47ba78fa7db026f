"""The search of one task by one system under every instruction condition, measured per query."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from eval.conditions import queries_under
from eval.follow_runner import AmongCandidates, follow_values, original_and_changed, search_depth
from eval.follow_suite import FollowTask
from eval.measures import per_query, without_relevant, wrong_share
from eval.report import RUNS, Cell
from eval.run_files import run_name, write_run
from eval.system import Corpora, System
from eval.task import Task
from tart.collection import Qrels, Query
from tart.run import Run

logger = logging.getLogger(__name__)

SHOWN = 10  # how many hits the share of wrong documents looks at, and how many a report keeps in memory
WRONG_TASK, WRONG_UNIT = f"wrong task@{SHOWN}", f"wrong unit@{SHOWN}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What stays the same through an evaluation.

    Args:
        tasks: all of them; their corpora make the pool.
        asked: those with queries, cut to the queries that are asked.
        follow: what is known of those of them whose queries come with several instructions, by name.
        pooled: whether they are searched pooled as well.
        conditions: instruction conditions.
        measures: names as ir_measures writes them.
        depth: how deep is searched.
        out: where run files go; None: nowhere.
    """

    tasks: tuple[Task, ...]
    asked: tuple[Task, ...]
    follow: Mapping[str, FollowTask]
    pooled: bool
    conditions: tuple[str, ...]
    measures: tuple[str, ...]
    depth: int
    out: Path | None


def search_task(system: System, task: Task, pooled: bool, plan: Plan) -> Iterator[Cell]:
    """Search one task's queries under every condition, and measure.

    Every run is written as soon as it is there.
    """
    pool = "pooled" if pooled else "closed"
    prefix = pool_prefix(task) if pooled else ""
    corpora: Corpora = [("", task.collection.corpus)]
    if pooled:
        corpora = [(pool_prefix(one), one.collection.corpus) for one in plan.tasks]
    qrels = {
        query_id: {prefix + doc_id: grade for doc_id, grade in judged.items()}
        for query_id, judged in task.collection.qrels.items()
    }
    follow, depth = plan.follow.get(task.name), plan.depth
    if follow is not None:
        depth = max(depth, search_depth(follow))
        system = system if follow.candidates is None else AmongCandidates(system, follow)
    logger.info("%s (%s): %s, %s", system.name, system.retrieval, task.name, pool)
    runs: dict[tuple[Query, ...], Run] = {}  # "wording-1" asks what "own" asks
    for condition in plan.conditions:
        for label, queries in queries_under(condition, task, plan.tasks).items():
            if queries not in runs:
                runs[queries] = _retrieve(system, corpora, queries, depth, prefix, task)
                _tell_short(system, corpora, runs[queries], depth)
            run = runs[queries]
            values = per_query(run, qrels, plan.measures)
            if pooled:
                values |= _wrong_shares(run, task, plan.tasks, qrels)
            if follow is not None:
                values |= follow_values(follow, run, values)
            labels = (task.suite, task.name, system.name, system.retrieval, label, pool)
            file = ""
            if plan.out is not None:
                file = f"{RUNS}/{run_name(labels)}"
                write_run(run, plan.out / file, system.name)
            cell = Cell(*labels, run=run.cut(SHOWN), values=values, file=file, group=task.group)
            yield cell
            if follow is not None and label == "own":
                yield from original_and_changed(follow, cell)


def pool_prefix(task: Task) -> str:
    """What stands before the ids of a task's documents in a pool; its only slash is the last sign."""
    return quote(task.name, safe="") + "/"


def _retrieve(system: System, corpora: Corpora, queries: Sequence[Query], depth: int, prefix: str, task: Task) -> Run:
    if not task.drop_identical_ids:
        return system.retrieve(corpora, queries, depth)
    run = system.retrieve(corpora, queries, depth + 1)
    kept = {query_id: [hit for hit in run[query_id] if hit.doc_id != prefix + query_id] for query_id in run}
    return Run(kept, min(depth, run.depth))


def _tell_short(system: System, corpora: Corpora, run: Run, depth: int) -> None:
    """Warn of a run file without a list as long as is looked at: it may have been made so, or found no more."""
    longest = max((len(run.doc_ids(query_id)) for query_id in run), default=0)
    if system.retrieval.startswith("run") and longest < min(depth, sum(len(corpus) for _, corpus in corpora)):
        told = "%s: its longest list has %d hits; a measure that looks deeper takes the rest as not found"
        logger.warning(told, system.name, longest)


def _wrong_shares(run: Run, task: Task, tasks: Sequence[Task], qrels: Qrels) -> dict[str, dict[str, float]]:
    """Of the measured queries, the share of the first hits that another task, or another unit, put there.

    A hit that no task of the pool has counts as wrong in both.
    """
    unit_of = {pool_prefix(one): one.unit for one in tasks}
    own = pool_prefix(task)
    skipped = set(without_relevant(qrels))

    def source(doc_id: str) -> str:
        return doc_id.partition("/")[0] + "/"

    shares = {WRONG_TASK: wrong_share(run, SHOWN, lambda _, doc_id: source(doc_id) != own)}
    if task.unit:
        shares[WRONG_UNIT] = wrong_share(run, SHOWN, lambda _, doc_id: unit_of.get(source(doc_id)) != task.unit)
    return {
        name: {query_id: value for query_id, value in found.items() if query_id not in skipped}
        for name, found in shares.items()
    }
