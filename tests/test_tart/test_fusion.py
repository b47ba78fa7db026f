"""Fusion, worked out by hand."""

from __future__ import annotations

import pytest

from tart.errors import ConfigError
from tart.retrieval.fusion import ReciprocalRankFusion, WeightedSum
from tart.run import Hit, Run


def make(*doc_ids_and_scores: tuple[str, float], query_id: str = "q") -> Run:
    return Run({query_id: [Hit(*item) for item in doc_ids_and_scores]}, 10)


DENSE = make(("a", 0.9), ("b", 0.8), ("c", 0.5))
SPARSE = make(("c", 20.0), ("d", 15.0), ("a", 10.0), ("e", 10.0))  # ranks: c, d, e, a


def test_reciprocal_ranks_by_hand() -> None:
    fused = ReciprocalRankFusion().fuse([DENSE, SPARSE], 10)
    wanted = {
        "a": 1 / 61 + 1 / 64,
        "b": 1 / 62,
        "c": 1 / 63 + 1 / 61,
        "d": 1 / 62,
        "e": 1 / 63,
    }
    assert [hit.doc_id for hit in fused["q"]] == ["c", "a", "d", "b", "e"]  # b and d tie: the higher id first
    assert {hit.doc_id: hit.score for hit in fused["q"]} == pytest.approx(wanted, rel=1e-12)
    assert fused.depth == 10


def test_the_constant_decides_between_one_top_rank_and_two_middle_ones() -> None:
    one, other = make(("top", 9), ("mid", 8)), make(("mid2", 9), ("x", 8), ("mid", 7))
    # constant 1: top 1/2, mid 1/3 + 1/4; constant 100: mid wins by far
    best = {constant: ReciprocalRankFusion(constant).fuse([one, other], 2)["q"] for constant in (1, 100)}
    assert best[1][0] == Hit("mid", pytest.approx(1 / 3 + 1 / 4)) and best[1][1] == Hit("top", pytest.approx(1 / 2))
    assert best[100][0] == Hit("mid", pytest.approx(1 / 102 + 1 / 103))
    lone = ReciprocalRankFusion(1).fuse([make(("top", 9), ("mid", 8)), make(("x", 3), ("y", 2), ("z", 1))], 1)
    assert lone["q"] == (Hit("x", pytest.approx(1 / 2)),) and lone.depth == 1


def test_a_constant_below_one_is_refused() -> None:
    for constant in (0, -60):
        with pytest.raises(ConfigError, match=f"reciprocal rank fusion must be at least 1, got {constant}"):
            ReciprocalRankFusion(constant)


def test_weighted_sum_by_hand() -> None:
    fused = WeightedSum((0.75, 0.25)).fuse([DENSE, SPARSE], 10)
    wanted = {
        "a": 0.75 * 1.0 + 0.25 * 0.0,
        "b": 0.75 * (0.8 - 0.5) / (0.9 - 0.5),
        "c": 0.75 * 0.0 + 0.25 * 1.0,
        "d": 0.25 * (15.0 - 10.0) / (20.0 - 10.0),
        "e": 0.0,
    }
    assert {hit.doc_id: hit.score for hit in fused["q"]} == pytest.approx(wanted, rel=1e-12)
    assert [hit.doc_id for hit in fused["q"]] == ["a", "b", "c", "d", "e"]


def test_equal_scores_all_count_fully_in_a_weighted_sum() -> None:
    fused = WeightedSum().fuse([make(("a", 3.0), ("b", 3.0)), make(("c", -7.0))], 10)
    assert [tuple(hit) for hit in fused["q"]] == [("c", 0.5), ("b", 0.5), ("a", 0.5)]


def test_negative_scores_are_scaled_like_others() -> None:
    fused = WeightedSum((1.0, 1.0)).fuse([make(("a", -1.0), ("b", -3.0), ("c", -2.0)), make()], 10)
    assert [tuple(hit) for hit in fused["q"]] == [("a", 1.0), ("c", 0.5), ("b", 0.0)]


@pytest.mark.parametrize("fusion", [ReciprocalRankFusion(), WeightedSum()])
def test_an_empty_or_missing_list_leaves_the_other_ones_order(fusion: ReciprocalRankFusion | WeightedSum) -> None:
    order = [hit.doc_id for hit in SPARSE["q"]]
    for empty in (make(), Run({}, 10)):  # Run.read_trec knows no query without hits
        assert [hit.doc_id for hit in fusion.fuse([SPARSE, empty], 10)["q"]] == order
    assert [hit.doc_id for hit in fusion.fuse([make(), SPARSE], 10)["q"]] == order
    assert fusion.fuse([make(), make()], 10)["q"] == ()


@pytest.mark.parametrize("fusion", [ReciprocalRankFusion(), WeightedSum()])
def test_only_the_best_k_stay(fusion: ReciprocalRankFusion | WeightedSum) -> None:
    everything = fusion.fuse([DENSE, SPARSE], 10)["q"]
    for k in (1, 2, 4):
        cut = fusion.fuse([DENSE, SPARSE], k)
        assert cut["q"] == everything[:k] and cut.depth == k


def test_queries_do_not_touch_each_other() -> None:
    two = Run({"q": DENSE["q"], "p": SPARSE["q"]}, 10)
    other = Run({"p": DENSE["q"], "q": SPARSE["q"]}, 10)
    fused = ReciprocalRankFusion().fuse([two, other], 10)
    assert list(fused) == ["q", "p"] and dict(fused)["q"] == ReciprocalRankFusion().fuse([DENSE, SPARSE], 10)["q"]


def test_one_weight_for_each_run() -> None:
    with pytest.raises(ConfigError, match="2 weights for 1 runs"):
        WeightedSum().fuse([DENSE], 10)
    with pytest.raises(ConfigError, match="2 weights for 3 runs"):
        WeightedSum().fuse([DENSE, SPARSE, DENSE], 10)
    assert WeightedSum((1.0,)).fuse([DENSE], 10)["q"][0] == Hit("a", 1.0)
    three = ReciprocalRankFusion().fuse([DENSE, SPARSE, DENSE], 1)
    assert three["q"] == (Hit("a", pytest.approx(2 / 61 + 1 / 64)),)
