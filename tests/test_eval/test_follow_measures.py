"""p-MRR and Robustness@k: every expected value is the formula worked by hand."""

from __future__ import annotations

import pytest

from eval.follow_measures import opposite_p_mrr, p_mrr, removed_by_change, robustness_at_k
from eval.measures import mean
from tart.errors import ConfigError
from tart.run import Hit, Run


def ranking(**lists: str) -> Run:
    """One letter per document, best first."""
    hits = {pair: [Hit(doc_id, -rank) for rank, doc_id in enumerate(order)] for pair, order in lists.items()}
    return Run(hits, depth=10)


def test_a_document_that_moves_down_counts_up_and_one_that_moves_up_counts_down() -> None:
    before, after = ranking(q="abcde"), ranking(q="bceda")
    by_hand = {
        "a": 1 - 1 / 5,  # from rank 1 to 5: down, right
        "b": 1 / 2 - 1,  # from 2 to 1: up, wrong
        "d": 4 / 4 - 1,  # stays at 4
        "e": 3 / 5 - 1,  # from 5 to 3: up
    }
    for doc_id, value in by_hand.items():
        assert p_mrr(before, after, {"q": [doc_id]}) == {"q": pytest.approx(value, abs=1e-12)}
    assert p_mrr(before, after, {"q": list(by_hand)})["q"] == pytest.approx((0.8 - 0.5 + 0 - 0.4) / 4, abs=1e-12)


def test_the_figure_is_the_mean_over_pairs_of_the_mean_over_documents() -> None:
    before, after = ranking(q1="ab", q2="abc"), ranking(q1="ba", q2="abc")
    found = p_mrr(before, after, {"q1": ["a"], "q2": ["a", "b", "c"]})
    assert found == {"q1": 1 - 1 / 2, "q2": 0.0}
    assert mean(found) == (0.5 + 0) / 2  # over documents it would be 0.5 / 4


def test_swapping_the_two_runs_changes_the_sign() -> None:
    before, after = ranking(q="abcdef"), ranking(q="fbdcae")
    for doc_id in "abcdef":
        there = p_mrr(before, after, {"q": [doc_id]})["q"]
        back = p_mrr(after, before, {"q": [doc_id]})["q"]
        assert there == pytest.approx(-back, abs=1e-12)
        assert -1 < there < 1


def test_a_missing_document_has_the_rank_after_the_last_of_its_list() -> None:
    before, after = ranking(q="abc"), ranking(q="bc")
    assert p_mrr(before, after, {"q": ["a"]}) == {"q": pytest.approx(1 - 1 / 3)}  # from 1 to 2 + 1
    assert p_mrr(after, before, {"q": ["a"]}) == {"q": pytest.approx(1 / 3 - 1)}
    assert p_mrr(before, after, {"q": ["z"]}) == {"q": pytest.approx(3 / 4 - 1)}  # in neither: from 3 + 1 to 2 + 1


def test_ties_are_broken_by_id_falling() -> None:
    tied = Run({"q": [Hit("a", 1.0), Hit("b", 1.0), Hit("c", 1.0)]}, depth=3)  # c, b, a
    assert p_mrr(tied, ranking(q="abc"), {"q": ["a"]}) == {"q": pytest.approx(1 / 3 - 1)}


def test_a_pair_without_hits_counts_0_and_one_without_removed_documents_is_left_out() -> None:
    before, after = ranking(q1="ab", q2="", q3="ab", q4="ab"), ranking(q1="ba", q2="ab", q3="")
    removed = {"q1": ["a"], "q2": ["a"], "q3": ["a"], "q4": ["a"], "q5": []}
    assert p_mrr(before, after, removed) == {"q1": 0.5, "q2": 0.0, "q3": 0.0, "q4": 0.0}
    assert p_mrr(before, after, {}) == {}


def test_runs_that_name_the_pairs_in_another_way_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"none of the 1 pairs \(the first is '7'\) is in both runs.*-og or -changed"):
        p_mrr(Run({"7-og": []}, depth=1), Run({"7-changed": []}, depth=1), {"7": ["a"]})


def test_removed_are_the_documents_that_were_relevant_and_are_no_longer() -> None:
    original = {"q": {"a": 1, "b": 2, "c": 0, "d": 1, "e": 1}, "gone": {"a": 1}}
    changed = {"q": {"a": 1, "b": 0, "c": 1, "e": -1}, "new": {"a": 1}}
    assert removed_by_change(original, changed) == {"q": ["b", "d", "e"]}


def test_opposite_pairs_are_read_in_both_directions() -> None:
    support, oppose = ranking(q="pcx", r="pc"), ranking(q="cxp", r="pc")
    qrels_support = {"q": {"p": 1, "both": 1}, "r": {"p": 1}}
    qrels_oppose = {"q": {"c": 1, "both": 1}, "r": {"p": 1}}
    # q: p from 1 to 3 when "oppose" rules it out; c from 1 to 2 when "support" does. r: nothing is ruled out.
    by_hand = {"q": ((1 - 1 / 3) + (1 - 1 / 2)) / 2}
    assert opposite_p_mrr(support, oppose, qrels_support, qrels_oppose) == pytest.approx(by_hand, abs=1e-12)
    assert opposite_p_mrr(oppose, support, qrels_oppose, qrels_support) == pytest.approx(by_hand, abs=1e-12)
    also = {"q": {"c": 1, "p": 1, "both": 1}}  # rules out nothing of the first: one direction is left
    assert opposite_p_mrr(support, oppose, qrels_support, also) == {"q": 1 - 1 / 2}


def test_a_system_that_ignores_the_instruction_gets_0() -> None:
    same = ranking(q="pcx")
    assert opposite_p_mrr(same, same, {"q": {"p": 1}}, {"q": {"c": 1}}) == {"q": 0.0}


def test_robustness_is_the_worst_instance_of_each_group() -> None:
    values = {"1-a": 1.0, "1-b": 0.25, "1-c": 0.5, "2-a": 0.75}
    found = robustness_at_k(values, {"1": ["1-a", "1-b", "1-c"], "2": ["2-a"], "none": []})
    assert found == {"1": 0.25, "2": 0.75}
    assert mean(found) == (0.25 + 0.75) / 2


def test_robustness_over_part_of_a_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 instances have no value, the first is '1-b'"):
        robustness_at_k({"1-a": 1.0}, {"1": ["1-a", "1-b"], "2": ["2-a"]})
