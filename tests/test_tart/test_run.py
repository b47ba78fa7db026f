"""Runs: one order, the order of trec_eval; what is written is what is read."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from tart.errors import ConfigError, DataError
from tart.run import Hit, Run, rank_hits

# What str.split doesn't split, UTF-8 can hold, and no reader takes for a byte order mark.
ids = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"], exclude_characters="\ufeff"), min_size=1, max_size=4)
scores = st.floats(width=32, allow_nan=False)


def trec_eval_order(hits: list[Hit]) -> list[str]:
    """The order in which trec_eval sees hits: it tells only at which rank the one relevant document stands."""
    order = {}
    for wanted in hits:
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {wanted.doc_id: 1}}, {"recip_rank"})
        value = evaluator.evaluate({"q": {hit.doc_id: float(hit.score) for hit in hits}})["q"]["recip_rank"]
        order[round(1 / value)] = wanted.doc_id
    return [order[rank] for rank in sorted(order)]


def test_the_order_is_trec_evals_on_ties() -> None:
    generator = random.Random(0)
    doc_ids = ["a", "B", "b", "b1", "10", "9", "é", "z", "ü", "日本", "🎉", "-", "~", "\uffee"]
    for _ in range(20):
        hits = [Hit(doc_id, generator.choice([0.5, 1.0, 1.0 + 1e-9, -2.0])) for doc_id in doc_ids]
        generator.shuffle(hits)
        assert [hit.doc_id for hit in Run({"q": hits}, 100)["q"]] == trec_eval_order(hits)


def test_scores_that_are_equal_as_float32_are_ties() -> None:
    above = 1.0 + 1e-9  # rounds to 1.0 in float32
    assert np.float32(above) == np.float32(1.0) and above > 1.0
    assert [hit.doc_id for hit in rank_hits([Hit("a", above), Hit("b", 1.0)])] == ["b", "a"]
    above = 1.0 + 1e-6
    assert [hit.doc_id for hit in rank_hits([Hit("b", 1.0), Hit("a", above)])] == ["a", "b"]


@settings(deadline=None)
@given(st.dictionaries(ids, scores, max_size=8), st.randoms())
def test_the_order_depends_on_scores_and_ids_alone(found: dict[str, float], generator: random.Random) -> None:
    hits = [Hit(*item) for item in found.items()]
    ranked = rank_hits(hits)
    assert sorted(ranked) == sorted(hits)
    for better, worse in itertools.pairwise(ranked):
        assert (np.float32(better.score), better.doc_id) > (np.float32(worse.score), worse.doc_id)
    generator.shuffle(hits)
    assert rank_hits(hits) == ranked


def test_nan_duplicates_and_depth_below_one_are_refused() -> None:
    for place in range(3):
        hits = [Hit("a", 1.0), Hit("b", 0.5)]
        hits.insert(place, Hit("bad", math.nan))
        with pytest.raises(DataError, match="query 'q': the score of document 'bad' is NaN"):
            Run({"q": hits}, 1)
    with pytest.raises(DataError, match="query 'q' has a document twice"):
        Run({"p": [Hit("a", 1.0)], "q": [Hit("a", 2.0), Hit("b", 1.5), Hit("a", 1.0)]}, 1)
    for depth in (0, -1):
        with pytest.raises(ConfigError, match=f"depth must be at least 1, got {depth}"):
            Run({}, depth)


def test_depth_cuts_after_sorting() -> None:
    run = Run({"q": [Hit("low", 1.0), Hit("high", 3.0), Hit("mid", 2.0)], "none": []}, 2)
    assert run["q"] == (Hit("high", 3.0), Hit("mid", 2.0)) and run["none"] == () and len(run) == 2
    cut = run.cut(1)
    assert cut["q"] == (Hit("high", 3.0),) and (cut.depth, run.depth) == (1, 2)


def as_float32(run: Run) -> dict[str, list[tuple[str, np.float32]]]:
    return {query_id: [(hit.doc_id, np.float32(hit.score)) for hit in hits] for query_id, hits in run.items()}


@settings(deadline=None)
@given(st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=4), max_size=3))
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, found: dict) -> None:  # type: ignore[type-arg]
    path = tmp_path_factory.mktemp("runs") / "run.trec"
    run = Run({query_id: [Hit(*item) for item in hits.items()] for query_id, hits in found.items()}, 4)
    run.write_trec(path)
    read = Run.read_trec(path, depth=4)
    assert as_float32(read) == as_float32(run) and list(read) == list(run) and read.depth == 4


def test_float64_scores_are_written_as_the_float32_they_rank_by(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = [*generator.normal(size=200) * 10.0 ** generator.integers(-30, 30, size=200), 1 / 3, 1e-40, 16777217.0]
    run = Run({"q": [Hit(f"d{n}", float(value)) for n, value in enumerate(values)]}, 300)
    run.write_trec(tmp_path / "run")
    read = Run.read_trec(tmp_path / "run")
    assert as_float32(read) == as_float32(run) and read.depth == len(values)


def test_the_written_lines(tmp_path: Path) -> None:
    Run({"q1": [Hit("a", 0.5), Hit("b", 0.75)], "q2": [Hit("é", -1)], "q3": []}, 10).write_trec(tmp_path / "run", "me")
    assert (tmp_path / "run").read_bytes() == "q1 Q0 b 1 0.75 me\nq1 Q0 a 2 0.5 me\nq2 Q0 é 1 -1 me\n".encode()


@pytest.mark.parametrize("bad", ["a b", "a\tb", "a\n", " a", "a\u2028b", "a\xa0b", "a\x1cb", "\ud800", "a\udfffb"])
def test_ids_that_the_format_can_not_express_are_refused_and_nothing_is_written(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "run"
    path.write_text("old")
    good = Hit("good", 1.0)
    for kind, run, tag in (
        ("query id", Run({"q": [good], bad: [good]}, 2), "tart"),
        ("document id", Run({"q": [good, Hit(bad, 0.5)]}, 2), "tart"),
        ("tag", Run({"q": [good]}, 2), bad),
    ):
        with pytest.raises(DataError) as caught:
            run.write_trec(path, tag)
        assert str(caught.value).startswith(f"the {kind} {bad!r} is empty or holds white space or a lone surrogate")
        assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(DataError, match="the tag '' is empty"):
        Run({"q": [good]}, 2).write_trec(path, "")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("q Q0 d 1 0.5", "wanted 6 columns (query_id Q0 doc_id rank score tag), found 5"),
        ("q Q0 d 1 0.5 my tag", "wanted 6 columns (query_id Q0 doc_id rank score tag), found 7"),
        ("q Q0 d 1 high tag", "field 'score': 'high' is not a number"),
        ("q Q0 d 1 NaN tag", "field 'score': the score is NaN"),
        ("p Q0 a 9 0.1 tag", "document 'a' comes twice for query 'p'"),
        ("q Q0 \xff 1 1 tag", "not UTF-8 (byte 6 of the line)"),
    ],
)
def test_bad_lines_of_a_run_file_are_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "run"
    path.write_bytes(b"p Q0 a 1 0.5 tag\n\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(DataError) as caught:
        Run.read_trec(path)
    assert str(caught.value) == f"{path}:3: {problem}"


def test_stated_ranks_white_space_and_line_ends_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_bytes(b"\xef\xbb\xbfq\tQ0\ta\t1\t0.5\tx\r\nq Q0  b 2 1e0 y\r\np Q0 a 7 -inf z")
    run = Run.read_trec(path)
    assert dict(run) == {"q": (Hit("b", 1.0), Hit("a", 0.5)), "p": (Hit("a", -math.inf),)} and run.depth == 2


def test_the_depth_of_a_read_run(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("q Q0 a 1 3 x\nq Q0 b 2 2 x\n")
    assert Run.read_trec(path).depth == 2 and Run.read_trec(path, depth=100).depth == 100
    assert [hit.doc_id for hit in Run.read_trec(path, depth=1)["q"]] == ["a"]
    with pytest.raises(ConfigError, match="depth must be at least 1, got 0"):
        Run.read_trec(path, depth=0)
    path.write_text("")
    assert len(Run.read_trec(path)) == 0 and Run.read_trec(path).depth == 1
