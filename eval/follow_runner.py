"""What a task whose queries come with several instructions adds to an evaluation: p-MRR, Robustness@k, candidates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eval.follow_measures import robustness_at_k
from eval.follow_suite import CHANGED, ORIGINAL, FollowTask
from eval.report import Cell
from eval.system import Corpora, System
from eval.systems import RerankSystem
from tart.collection import Query
from tart.run import Hit, Run

P_MRR = "p-MRR"
DEPTH = 1000  # how deep p-MRR looks where no candidates are given; what lies deeper has the rank after


class AmongCandidates(System):
    """Another system, ranking the candidates of each query only."""

    def __init__(self, system: System, follow: FollowTask) -> None:
        self.system, self.follow = system, follow
        self.name, self.retrieval, self.fixed = system.name, system.retrieval, system.fixed

    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        """See `System.retrieve`. A cross-encoder orders the candidates, not the corpus."""
        if isinstance(self.system, RerankSystem):
            first = AmongCandidates(self.system.first, self.follow)
            depth = max(k, search_depth(self.follow))
            return RerankSystem(first, self.system.reranker, depth).retrieve(corpora, queries, k)
        everything = sum(len(corpus) for _, corpus in corpora)
        hits: dict[str, tuple[Hit, ...]] = {}
        step = len(queries) if self.fixed else 8  # the whole corpus is ranked: a few queries at once
        for start in range(0, len(queries), step):
            run = self.system.retrieve(corpora, queries[start : start + step], everything)
            hits.update(self.follow.among_candidates(run))
        return Run(hits, k)

    def facts(self) -> dict[str, Any]:
        """Those of the system."""
        return self.system.facts()


def search_depth(follow: FollowTask) -> int:
    """How deep a search has to go for p-MRR."""
    if follow.candidates is None:
        return DEPTH
    return max(len(candidates) for candidates in follow.candidates.values())


def first_groups(follow: FollowTask, max_queries: int | None) -> FollowTask:
    """The task with the first groups of queries, so many that they hold at most that many queries, one at least."""
    if max_queries is None:
        return follow
    kept: dict[str, tuple[str, ...]] = {}
    for base, members in follow.groups.items():
        if kept and sum(map(len, kept.values())) + len(members) > max_queries:
            break
        kept[base] = members
    asked = {query_id for members in kept.values() for query_id in members}
    collection = follow.task.collection
    queries = tuple(query for query in collection.queries if query.query_id in asked)
    task = replace(follow.task, collection=replace(collection, queries=queries))
    pairs = tuple(pair for pair in follow.pairs if {pair.first, pair.second} <= asked)
    return replace(follow, task=task, groups=kept, pairs=pairs)


def follow_values(
    follow: FollowTask, run: Run, values: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """p-MRR of each pair, and Robustness@k of each group for every nDCG@k among the values.

    Args:
        follow: the task.
        run: of all its queries.
        values: measure -> query_id -> value.
    """
    found: dict[str, dict[str, float]] = {}
    if any(follow.removed().values()):
        found[P_MRR] = follow.p_mrr(run)
    for measure, by_query in values.items():
        cutoff = re.fullmatch(r"nDCG@(\d+)", measure)
        several = {base: ids for base, ids in follow.groups.items() if all(one in by_query for one in ids)}
        if cutoff and any(len(ids) > 1 for ids in several.values()):
            found[f"Robustness@{cutoff.group(1)}"] = robustness_at_k(by_query, several)
    return found


def original_and_changed(follow: FollowTask, cell: Cell) -> Iterator[Cell]:
    """FollowIR's two halves of the cell with the own instructions; p-MRR, which needs both, stands with "changed"."""
    if not follow.directed:
        return
    for label, suffix in (("original", ORIGINAL), ("changed", CHANGED)):
        values: dict[str, Mapping[str, float]] = {}
        for measure, by_query in cell.values.items():
            part = {query_id: value for query_id, value in by_query.items() if query_id.endswith(suffix)}
            if part:
                values[measure] = part
        if label == "changed" and P_MRR in cell.values:
            values[P_MRR] = cell.values[P_MRR]
        yield replace(cell, instruction=label, run=Run({}, 1), values=values, file="")
