"""Our values are trec_eval's, and what we make of them is the formula."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import numpy as np
import pytest
import pytrec_eval

from eval.measure_names import measure_name
from eval.measures import mean, per_query, sensitivity, without_relevant, wrong_share, x2_gap
from tart.errors import ConfigError, DataError
from tart.run import Hit, Run

TREC_NAMES = {
    "nDCG@1": "ndcg_cut_1",
    "nDCG@10": "ndcg_cut_10",
    "nDCG@100": "ndcg_cut_100",
    "nDCG": "ndcg",
    "AP": "map",
    "AP@10": "map_cut_10",
    "RR": "recip_rank",
    "P@1": "P_1",
    "P@5": "P_5",
    "P@30": "P_30",
    "R@5": "recall_5",
    "R@100": "recall_100",
    "Success@1": "success_1",
    "Success@5": "success_5",
    "Rprec": "Rprec",
    "Bpref": "bpref",
    "infAP": "infAP",
    "IPrec@0.1": "iprec_at_recall_0.10",
    "SetP": "set_P",
    "SetR": "set_recall",
    "SetF": "set_F",
}
IDS = (
    [f"d{n}" for n in range(40)]
    + [f"D{n}" for n in range(20)]
    + ["é", "ß9", "日本", "\ue000", "\U0001f600", "~", "a b"]
)
SCORES = [
    0.0,
    -0.0,
    1.0,
    1.0 + 1e-9,
    1.0 - 1e-9,
    1.0 + 1e-7,
    0.3,
    0.1 + 0.2,
    -2.5,
    1e-42,
    1e30,
    3.4e38,
    16777216.0,
    16777217.0,
]


def random_case(rng: random.Random) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """50 queries with tied and nearly tied scores, unjudged and missing documents, grades from -2 to 4; some queries
    are judged and not in the run, some in the run and not judged, some empty, some without a relevant document."""
    run: dict[str, dict[str, float]] = {}
    qrels: dict[str, dict[str, int]] = {}
    for number in range(50):
        query_id = f"q{number}"
        pool = rng.sample(IDS, rng.randint(1, len(IDS)))
        ties = rng.random() < 0.7
        if rng.random() < 0.95:
            retrieved = rng.sample(pool, rng.randint(0, len(pool)))
            run[query_id] = {d: rng.choice(SCORES) if ties else rng.gauss(0, 1) for d in retrieved}
        if rng.random() < 0.95:
            judged = rng.sample(IDS, rng.randint(1, 30))
            grades = [-2, -1, 0, 0, 1, 1, 2, 4] if rng.random() < 0.9 else [-1, 0]
            qrels[query_id] = {d: rng.choice(grades) for d in judged}
    return run, qrels


def as_run(run: dict[str, dict[str, float]]) -> Run:
    return Run({q: [Hit(*item) for item in found.items()] for q, found in run.items()}, depth=100)


def shuffled(rng: random.Random, table: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    outer = rng.sample(list(table), len(table))
    return {key: {k: table[key][k] for k in rng.sample(list(table[key]), len(table[key]))} for key in outer}


def test_every_measure_is_trec_evals_on_10000_random_queries_whatever_the_order() -> None:
    # A case is one query of one run under all measures: 200 runs of 50 queries. trec_eval gets the ids and scores as
    # they are and breaks ties itself.
    rng = random.Random(7)
    cases = compared = 0
    for _ in range(200):
        run, qrels = random_case(rng)
        ours = per_query(as_run(run), qrels, [*TREC_NAMES, "RR@10"])
        measured = [q for q, judged in qrels.items() if max(judged.values()) > 0]
        judgements = {
            q: qrels[q] for q in measured
        }  # pytrec_eval ends the process on a query with grades below -1 only
        theirs = pytrec_eval.RelevanceEvaluator(judgements, set(TREC_NAMES.values())).evaluate(run)
        cases += 50
        for query_id in measured:
            reference = theirs.get(query_id, dict.fromkeys(TREC_NAMES.values(), 0.0))
            for name, trec_name in TREC_NAMES.items():
                assert abs(ours[name][query_id] - reference[trec_name]) <= 1e-9, (name, query_id)
                compared += 1
            first_relevant = reference["recip_rank"]  # trec_eval has no cutoff for it
            assert ours["RR@10"][query_id] == pytest.approx(
                first_relevant if first_relevant > 1 / 10.5 else 0, abs=1e-9
            )
        assert all(list(values) == measured for values in ours.values())
        again = per_query(as_run(shuffled(rng, run)), shuffled(rng, qrels), [*TREC_NAMES, "RR@10"])  # type: ignore[arg-type]
        assert again == ours
    assert cases == 10_000
    assert compared > 150_000


def test_a_single_call_per_measure_gives_the_same_as_one_call_for_all() -> None:
    rng = random.Random(3)
    names = [*TREC_NAMES, "RR@10", "Judged@10", "AP(rel=2)", "P(judged_only=True)@5", "nDCG(judged_only=True)@10"]
    for _ in range(5):
        run, qrels = random_case(rng)
        together = per_query(as_run(run), qrels, names)
        assert {
            measure_name(name): per_query(as_run(run), qrels, [name])[measure_name(name)] for name in names
        } == together


@pytest.mark.parametrize("score", [1.0, 0.3, -2.5, 16777216.0])
def test_scores_that_differ_in_float64_only_are_tied_and_the_larger_id_comes_first(score: float) -> None:
    near = math.nextafter(score, math.inf)
    assert np.float32(near) == np.float32(score) and near > score
    qrels = {"q": {"a": 1, "b": 0}}
    run = Run({"q": [Hit("a", near), Hit("b", score)]}, depth=2)
    values = per_query(run, qrels, ["RR", "RR@2", "Success@1"])
    assert values == {"RR": {"q": 0.5}, "RR@2": {"q": 0.5}, "Success@1": {"q": 0.0}}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate({"q": {"a": near, "b": score}})
    assert theirs["q"]["recip_rank"] == 0.5


def test_scores_beyond_float32_are_tied_as_in_trec_eval() -> None:
    qrels = {"q": {"a": 1}}
    with np.errstate(over="ignore"):
        run = Run({"q": [Hit("a", math.inf), Hit("b", 1e39), Hit("c", -math.inf)]}, depth=3)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(
        {"q": {"a": math.inf, "b": 1e39, "c": -math.inf}}
    )
    assert per_query(run, qrels, ["RR"])["RR"]["q"] == theirs["q"]["recip_rank"] == 0.5


def test_values_by_hand() -> None:
    # ranks: c (not judged), b (grade 2), a (grade 1); d (grade 3) is not retrieved, e has a negative grade
    run = Run({"q": [Hit("c", 5), Hit("b", 4), Hit("a", 3), Hit("e", 2)]}, depth=10)
    qrels = {"q": {"a": 1, "b": 2, "d": 3, "e": -1}}
    values = per_query(run, qrels, ["nDCG@3", "AP", "RR", "P@2", "R@2", "Success@1", "Success@2"])
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    by_hand = {
        "nDCG@3": (2 / math.log2(3) + 1 / math.log2(4)) / ideal,  # the gain is the grade, not 2^grade - 1
        "AP": (1 / 2 + 2 / 3) / 3,
        "RR": 1 / 2,
        "P@2": 1 / 2,
        "R@2": 1 / 3,
        "Success@1": 0,
        "Success@2": 1,
    }
    assert {name: found["q"] for name, found in values.items()} == pytest.approx(by_hand, abs=1e-12)


def test_judged_queries_that_the_run_lacks_count_0_and_queries_without_a_relevant_document_are_left_out() -> None:
    qrels = {
        "found": {"a": 1},
        "missing": {"a": 1},
        "empty": {"a": 1},
        "zero": {"a": 0},
        "negative": {"a": -2},
        "none": {},
    }
    run = Run({"found": [Hit("a", 1)], "empty": [], "zero": [Hit("a", 1)], "not judged": [Hit("a", 1)]}, depth=10)
    for name in ("RR", "RR@10", "nDCG@10", "Judged@10"):
        assert per_query(run, qrels, [name]) == {name: {"found": 1.0, "missing": 0.0, "empty": 0.0}}
    assert without_relevant(qrels) == ["zero", "negative", "none"]


def test_nothing_to_measure_gives_nothing() -> None:
    run = Run({"q": [Hit("a", 1)]}, depth=10)
    assert per_query(run, {}, ["AP"]) == {"AP": {}}
    assert per_query(run, {"q": {"a": 0}}, ["AP"]) == {"AP": {}}
    assert per_query(run, {"q": {"a": 1}}, []) == {}
    assert per_query(Run({}, depth=10), {"q": {"a": 1}}, ["AP"]) == {"AP": {"q": 0.0}}


def test_ids_that_pytrec_eval_can_not_take_are_measured_like_any_other() -> None:
    strange = ["a\ud800", "a\0b", "a\0c", "", " "]
    for doc_id in strange:
        others = [name for name in strange if name != doc_id]
        run = Run({"q\udfff": [Hit(doc_id, 2.0)] + [Hit(name, 1.0) for name in others]}, depth=10)
        assert per_query(run, {"q\udfff": {doc_id: 1}}, ["RR", "RR@10"]) == {
            "RR": {"q\udfff": 1},
            "RR@10": {"q\udfff": 1},
        }


def test_numpy_grades_are_taken() -> None:
    run = Run({"q": [Hit("a", 1)]}, depth=1)
    assert per_query(run, {"q": {"a": np.int64(1)}}, ["P@1"]) == {"P@1": {"q": 1.0}}  # type: ignore[dict-item]


@pytest.mark.parametrize("grade", [10_001, 2**40, 0.5])
def test_a_grade_that_would_end_the_process_is_refused_with_its_place(grade: int) -> None:
    with pytest.raises(DataError, match=r"query 'q', document 'a': a grade must be a whole number of at most 10,000"):
        per_query(Run({"q": []}, depth=1), {"q": {"a": grade}}, ["P@1"])


def test_a_cutoff_deeper_than_the_run_is_an_error_that_names_both_numbers() -> None:
    run = Run({"q": [Hit("a", 1)]}, depth=10)
    with pytest.raises(ConfigError, match=r"nDCG@100 looks at the first 100 hits, and the run holds 10 per query"):
        per_query(run, {"q": {"a": 1}}, ["AP", "nDCG@100"])
    assert per_query(run, {"q": {"a": 1}}, ["AP", "RR", "nDCG@10"])["nDCG@10"]["q"] == 1  # no cutoff: any depth


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndcg@10", "unknown measure 'ndcg@10'; did you mean nDCG@10"),
        ("hits@5", "unknown measure 'hits@5'; did you mean nDCG@10, R@100, RR@10, AP, Success@5"),
        ("recall_100", "unknown measure 'recall_100'; did you mean Recall"),
        ("nDCG@-1", "unknown measure 'nDCG@-1'; did you mean nDCG"),
        ("__import__('os').abort()", "unknown measure"),
        ("", "unknown measure ''"),
        ("R", "measure 'R' needs a cutoff; write it as R@10"),
        ("nDCG@0", "cutoff must be a whole number from 1 to 2,147,483,647, got 0"),
        ("nDCG@10.5", "cutoff=10.5"),
        ("nDCG@True", "cutoff must be a whole number"),
        ("P@9999999999", "cutoff must be a whole number"),
        ("AP(rel=0)", "rel must be a whole number from 1 to 10,000, got 0"),
        ("AP(x=1)", "unsupported params found"),
        ("nDCG(gains={1:3})@2", "change the grades in the judgements"),
        ("nDCG(dcg='exp-log2')@10", "can't be computed exactly with these parameters"),
        ("ERR@10", "measure 'ERR@10' can't be computed exactly in this process; these can: AP, Bpref"),
        ("NumRet", "measure 'NumRet' can't be computed"),
    ],
)
def test_a_measure_that_is_unknown_or_wrong_is_refused_with_what_to_write(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        per_query(Run({"q": [Hit("a", 1)]}, depth=10), {"q": {"a": 1}}, [name])
    assert message in str(error.value)


def test_other_spellings_come_back_under_one_name() -> None:
    run = Run({"q": [Hit("a", 1)]}, depth=10)
    spellings = {"MRR@10": "RR@10", "MAP": "AP", "Recall@5": "R@5", "NDCG@3": "nDCG@3", " Precision@1 ": "P@1"}
    assert list(per_query(run, {"q": {"a": 1}}, list(spellings))) == list(spellings.values())


def test_importing_the_measures_loads_no_library() -> None:
    code = "import sys; from eval import check, measures, statistics; print({'ir_measures', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_mean_is_the_same_in_any_order() -> None:
    assert (0.1 + 0.2) + 0.3 != (0.3 + 0.2) + 0.1  # the case is one where order matters
    assert mean({"a": 0.1, "b": 0.2, "c": 0.3}) == mean({"c": 0.3, "b": 0.2, "a": 0.1})
    with pytest.raises(ConfigError, match="a mean over nothing"):
        mean({})


def test_wrong_share_counts_the_first_k_and_divides_by_the_hits_that_are_there() -> None:
    hits = {"q1": [Hit("x/1", 4), Hit("own/1", 3), Hit("x/2", 2), Hit("x/3", 1)], "q2": [Hit("x/1", 1)], "q3": []}
    shares = wrong_share(Run(hits, depth=5), 3, lambda query_id, doc_id: doc_id.startswith("x/"))
    assert shares == {"q1": 2 / 3, "q2": 1.0, "q3": 0.0}
    assert wrong_share(Run(hits, depth=5), 5, lambda query_id, doc_id: query_id == "q1") == {"q1": 1, "q2": 0, "q3": 0}
    with pytest.raises(ConfigError, match="first 6: the run holds 5 per query"):
        wrong_share(Run(hits, depth=5), 6, lambda query_id, doc_id: True)
    with pytest.raises(ConfigError, match="first 0"):
        wrong_share(Run(hits, depth=5), 0, lambda query_id, doc_id: True)


def test_the_gap_is_mean_closed_minus_mean_pooled() -> None:
    closed, pooled = {"a": 0.9, "b": 0.6, "c": 0.3}, {"c": 0.3, "b": 0.5, "a": 0.4}
    assert x2_gap(closed, pooled) == pytest.approx((0.9 + 0.6 + 0.3) / 3 - (0.4 + 0.5 + 0.3) / 3, abs=1e-15)
    with pytest.raises(ConfigError, match="in one of the two only: 'b', 'd'"):
        x2_gap({"a": 1, "b": 1}, {"a": 1, "d": 1})
    with pytest.raises(ConfigError, match="a mean over nothing"):
        x2_gap({}, {})


def test_sensitivity_is_mean_deviation_their_ratio_and_worst_over_wordings() -> None:
    found = sensitivity([0.5, 0.4, 0.6])  # deviations 0, -0.1, 0.1
    deviation = math.sqrt((0 + 0.01 + 0.01) / 3)
    assert found == pytest.approx((0.5, deviation, deviation / 0.5, 0.4), abs=1e-12)
    assert sensitivity(iter([0.7])) == (0.7, 0.0, 0.0, 0.7)
    assert sensitivity([0, 0, 1]).sensitivity == pytest.approx(math.sqrt(2), abs=1e-12)  # the most for three wordings
    for nothing in ([0.0, 0.0], [-0.5, 0.5], [-0.3, -0.1]):  # a mean of 0, or below it, as p-MRR can have
        assert sensitivity(nothing).sensitivity is None
    with pytest.raises(ConfigError, match="at least one wording"):
        sensitivity([])
