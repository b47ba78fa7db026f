"""Tasks whose queries come with several instructions: p-MRR, Robustness@k and candidates, worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from eval.embedding_cache import EmbeddingCache
from eval.follow_runner import AmongCandidates, first_groups
from eval.follow_suite import FollowTask, Pair
from eval.report import Report, read_report
from eval.runner import evaluate
from eval.systems import DenseSystem, RerankSystem, SparseSystem
from eval.task import Task
from tart import Corpus, Document, Instruction, Query
from tart.collection import TestCollection
from tart.retrieval.protocols import FloatArray
from tart.testing import KeywordEncoder, KeywordReranker

CORPUS = Corpus(
    [
        Document("d-code", "sort code"),
        Document("d-prose", "sort prose"),
        *(Document(f"other-{row}", "read") for row in range(4)),
    ]
)
SECOND = 1 / math.log2(3)  # nDCG of one relevant document at rank 2


def follow_task(*, directed: bool, candidates: dict[str, tuple[str, ...]] | None = None, bases: int = 2) -> FollowTask:
    """Pairs: the first query wants code or prose (directed: both; else: prose), the second code."""
    queries, qrels, groups, pairs = [], {}, {}, []
    for base in map(str, range(bases)):
        first, second = f"{base}-og", f"{base}-changed"
        wish = "code or prose" if directed else "prose"
        queries += [Query(first, "sort", Instruction(wish)), Query(second, "sort", Instruction("code"))]
        qrels[first] = {"d-prose": 1, "d-code": 1} if directed else {"d-prose": 1}
        qrels[second] = {"d-code": 1}
        groups[base] = (first, second)
        pairs.append(Pair(base, first, second))
    task = Task("wishes", "follow", TestCollection("wishes", CORPUS, tuple(queries), qrels))
    return FollowTask(task, groups, tuple(pairs), directed, candidates)


def system(folder: Path) -> DenseSystem:
    return DenseSystem(KeywordEncoder(["sort", "code", "prose", "read"]), EmbeddingCache(folder / "cache"))


def figures(report: Report) -> dict[tuple[str, str], float]:
    return {(row.instruction, row.measure): row.value for row in report.results}


def test_followir_s_pairs(tmp_path: Path) -> None:
    """With "code or prose" both score 2 and the id puts the prose first; with "code" it falls to rank 2: 1 - 1/2."""
    report = evaluate(follow_task(directed=True), [system(tmp_path)], out=tmp_path / "out")
    found = figures(report)
    assert found["own", "p-MRR"] == found["changed", "p-MRR"] == 0.5
    assert found["none", "p-MRR"] == 0  # two equal queries give two equal rankings
    assert found["own", "nDCG@10"] == found["original", "nDCG@10"] == found["changed", "nDCG@10"] == 1
    assert found["none", "nDCG@10"] == pytest.approx((1 + SECOND) / 2)
    assert found["own", "Robustness@10"] == 1 and found["none", "Robustness@10"] == pytest.approx(SECOND)
    counts = {(row.instruction, row.measure): row.queries for row in report.results}
    assert counts["changed", "p-MRR"] == 2 and counts["original", "nDCG@10"] == 2 and counts["own", "nDCG@10"] == 4
    assert ("original", "p-MRR") not in found
    assert {row.instruction for row in report.differences} == {"none"}
    assert read_report(tmp_path / "out").results == report.results
    assert "p-MRR" in (tmp_path / "out/report.html").read_text()


def test_opposite_instructions_count_both_ways(tmp_path: Path) -> None:
    """Prose first and code second under "prose", the other way round under "code": 1 - 1/2 in both directions."""
    report = evaluate(follow_task(directed=False), [system(tmp_path)], instructions=["none", "own", "other"])
    found = figures(report)
    assert found["own", "p-MRR"] == 0.5
    assert found["other", "p-MRR"] == -0.5  # each query with the opposite wish: what is ruled out comes first
    assert found["other", "nDCG@10"] == pytest.approx(SECOND)
    assert not {"original", "changed"} & {row.instruction for row in report.results}
    (row,) = [row for row in report.differences if (row.instruction, row.measure) == ("none", "p-MRR")]
    assert (row.mean, row.losses, row.queries) == (-0.5, 2, 2)


def test_only_candidates_are_ranked(tmp_path: Path) -> None:
    wanted = dict.fromkeys(("0-og", "0-changed"), ("d-prose", "other-1"))
    follow = follow_task(directed=True, candidates=wanted, bases=1)
    for first in (system(tmp_path), SparseSystem()):
        among = AmongCandidates(first, follow)
        run = among.retrieve([("", CORPUS)], follow.task.own_queries(), 10)
        assert {hit.doc_id for hits in run.values() for hit in hits} <= {"d-prose", "other-1"}
        assert run["0-changed"][0].doc_id == "d-prose" and run.depth == 10
        assert (among.name, among.retrieval) == (first.name, first.retrieval)
    report = evaluate(follow, [system(tmp_path)])
    assert figures(report)["own", "p-MRR"] == 0  # the prose is first whatever the wish


def test_a_cross_encoder_scores_the_candidates_and_nothing_else(tmp_path: Path) -> None:
    class Asked(KeywordReranker):
        def __init__(self) -> None:
            self.asked: set[str] = set()

        def score(self, pairs: Sequence[tuple[Query, Document]]) -> FloatArray:
            self.asked |= {document.doc_id for _, document in pairs}
            return super().score(pairs)

    wanted = dict.fromkeys(("0-og", "0-changed"), ("d-prose", "d-code"))
    reranker = Asked()
    follow = follow_task(directed=True, candidates=wanted, bases=1)
    report = evaluate(follow, [RerankSystem(system(tmp_path), reranker)])
    assert reranker.asked == {"d-prose", "d-code"}
    assert figures(report)["own", "p-MRR"] == 0.5
    assert {row.retrieval for row in report.results} == {"dense+rerank"}


def test_max_queries_keeps_groups_whole() -> None:
    follow = follow_task(directed=True, bases=3)
    for wanted, kept in ((1, 1), (2, 1), (3, 1), (4, 2), (100, 3), (None, 3)):
        found = first_groups(follow, wanted)
        assert list(found.groups) == [str(base) for base in range(kept)] == [pair.pair_id for pair in found.pairs]
        assert len(found.task.collection.queries) == 2 * kept


def test_fewer_queries_are_measured(tmp_path: Path) -> None:
    report = evaluate(follow_task(directed=True, bases=3), [system(tmp_path)], max_queries=2)
    assert {row.queries for row in report.results if row.measure == "p-MRR"} == {1}


def test_a_group_with_an_unmeasured_query_has_no_robustness(tmp_path: Path) -> None:
    """A query without a relevant document has no nDCG; the worst over the others would be too good."""
    follow = follow_task(directed=False)
    follow.task.collection.qrels["0-og"]["d-prose"] = 0  # type: ignore[index]
    report = evaluate(follow, [system(tmp_path)], instructions=["own"])
    counts = {row.measure: row.queries for row in report.results}
    assert counts["Robustness@10"] == 1 and counts["nDCG@10"] == 3


def test_a_run_file_of_candidates_is_reranked_whole(tmp_path: Path) -> None:
    path = tmp_path / "candidates.trec"
    path.write_text("".join(f"0-{end} Q0 {doc} 1 1 x\n" for end in ("og", "changed") for doc in ("d-code", "d-prose")))
    from eval.given_systems import TrecRunSystem

    reranked = RerankSystem(TrecRunSystem(path), KeywordReranker())
    report = evaluate(follow_task(directed=True, bases=1), [reranked], measures=["nDCG@2"])
    assert {(row.model, row.retrieval) for row in report.results} == {("candidates+keyword-overlap", "run+rerank")}
    assert figures(report)["changed", "p-MRR"] == 0.5
