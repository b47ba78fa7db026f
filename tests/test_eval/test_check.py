"""Published figures are read with every mistake named, and compared as they should be."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eval.check import PUBLISHED, Verdict, as_text, check, load_published
from eval.measure_names import measure_name
from tart.errors import DataError

SMALL = """
[queries.beir]
a = 10
b = 20

[means]
both = ["a", "b"]

[[tables]]
source = "a paper"
table = "table 1"
dataset = "some data"
suite = "beir"
retrieval = "dense"
instruction = "none"
pool = "closed"
measure = "nDCG@10"
tolerance = 0.5
note = "mind the wording"
[tables.values]
"m" = { a = 60.0, both = 50 }
"other" = { c = 1.5 }
"""


def row(task: str, value: object, queries: int, **changes: Any) -> dict[str, Any]:
    return {
        "suite": "beir", "task": task, "model": "m", "retrieval": "dense", "instruction": "none", "pool": "closed",
        "measure": "nDCG@10", "value": value, "low": None, "high": 0.9, "queries": queries, **changes,
    }  # fmt: skip


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def report(path: Path, *rows: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "report.json").write_text(json.dumps({"results": rows, "provenance": {}}), encoding="utf-8")
    return path


def verdict_of(verdicts: list[Verdict], task: str) -> Verdict:
    (found,) = [verdict for verdict in verdicts if verdict.figure.task == task]
    return found


@pytest.mark.parametrize(
    ("value", "status", "difference"),
    [(0.60, "OK", 0.0), (0.605, "OK", 0.5), (0.595, "OK", -0.5), (0.6051, "OFF", 0.51), (0.59, "OFF", -1.0)],
)
def test_a_figure_is_ok_within_its_tolerance(
    tmp_path: Path, published: Path, value: float, status: str, difference: float
) -> None:
    found = verdict_of(check([report(tmp_path / "r", row("a", value, 10))], published), "a")
    assert found.status == status
    assert (found.found, found.difference) == pytest.approx((100 * value, difference), abs=1e-9)


def test_without_reports_nothing_was_run(published: Path) -> None:
    verdicts = check([], published)
    assert [(v.figure.model, v.figure.task, v.status, v.found) for v in verdicts] == [
        ("m", "a", "not run", None),
        ("m", "both", "not run", None),
        ("other", "c", "not run", None),
    ]


@pytest.mark.parametrize("field", ["suite", "model", "retrieval", "instruction", "pool", "measure"])
def test_a_row_that_differs_in_one_field_is_another_figure(tmp_path: Path, published: Path, field: str) -> None:
    one = report(tmp_path / "r", row("a", 0.6, 10, **{field: "another"}))
    assert {verdict.status for verdict in check([one], published)} == {"not run"}


def test_a_run_over_part_of_the_queries_is_not_compared(tmp_path: Path, published: Path) -> None:
    found = verdict_of(check([report(tmp_path / "r", row("a", 0.6, 7))], published), "a")
    assert (found.status, found.found, found.why) == ("not run", None, "7 of 10 queries")


def test_a_mean_of_tasks_needs_them_all(tmp_path: Path, published: Path) -> None:
    whole = report(tmp_path / "whole", row("a", 0.6, 10), row("b", 0.41, 20))
    found = verdict_of(check([whole], published), "both")
    assert (found.status, found.found) == ("OK", pytest.approx((60 + 41) / 2))  # 50.5 against 50, 0.5 is allowed
    part = report(tmp_path / "part", row("a", 0.6, 10))
    found = verdict_of(check([part], published), "both")
    assert (found.status, found.why) == ("not run", "b is missing")


def test_each_report_that_has_a_figure_is_judged(tmp_path: Path, published: Path) -> None:
    reports = [report(tmp_path / "one", row("a", 0.6, 10)), report(tmp_path / "two", row("a", 0.7, 10))]
    found = [(v.status, v.report) for v in check(reports, published) if v.figure.task == "a"]
    assert found == [("OK", reports[0]), ("OFF", reports[1])]
    assert check([reports[0] / "report.json"], published)[0].status == "OK"  # the file itself works as well


def test_the_text_shows_both_figures_their_difference_and_the_source(tmp_path: Path, published: Path) -> None:
    verdicts = check([report(tmp_path / "r", row("a", 0.6, 10), row("b", 0.2, 19))], published)
    text = as_text(verdicts)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "OK a m dense none nDCG@10 60 60.000 +0.000 0.5 1" in lines
    assert "not run both m dense none nDCG@10 50 19 of 20 queries 0.5 1" in lines
    assert "1 a paper: table 1; mind the wording" in lines
    assert "beir nDCG@10 other dense c" in lines
    assert lines[-1] == "1 OK, 0 OFF, 2 not run"


def test_the_text_of_the_published_file_fits_its_width() -> None:
    text = as_text(check([]), width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert text.endswith(f"0 OK, 0 OFF, {len(load_published())} not run\n")


def test_the_published_file_holds_what_it_should() -> None:
    figures = load_published()
    of = {(f.source.split()[0], f.model, f.task, f.measure): f for f in figures}
    minilm = of["embeddings-benchmark/results", "minilm", "scifact", "nDCG@10"]
    assert (minilm.value, minilm.tolerance, minilm.parts) == (64.508, 0.1, (("scifact", 300),))
    ours = of["pyserini", "bm25", "scifact", "nDCG@10"]
    assert (ours.value, ours.tolerance, ours.retrieval) == (67.9, 1.0, "sparse")
    assert "Anserini, flat index" in ours.note
    assert of["pyserini", "anserini-bm25-multifield", "scifact", "nDCG@10"].value == 66.5
    assert of["pyserini", "facebook/contriever-msmarco", "fiqa", "nDCG@10"].value == 32.9
    assert len(of["arXiv", "orionweller/tart-dual-contriever-msmarco", "mean of TART's nine", "nDCG@10"].parts) == 9
    assert not [figure for figure in figures if figure.suite == "x2"]  # none was verified
    followir = of["embeddings-benchmark/results", "minilm", "mean of FollowIR's three", "p-MRR"]
    assert (followir.value, followir.parts) == (-2.84, (("robust04", 52), ("news21", 32), ("core17", 20)))
    assert of["arXiv", "followir-7b", "instructir", "Robustness@10"].value == 71.5
    assert of["arXiv", "hkunlp/instructor-xl", "instructir", "nDCG@10"].value == 48.6
    assert of["arXiv", "bm25-monot5-3b", "mean of TART's nine", "nDCG@10"].value == 43.4
    assert of["PyLate,", "colbertv2", "quora", "nDCG@10"].value == 85.2
    for figure in figures:  # what no name loads has to come as a run file
        has_name = "/" in figure.model or figure.model in ("minilm", "bm25")
        assert has_name == (figure.retrieval != "run"), figure.model


def test_published_figures_are_plausible_and_each_stands_once() -> None:
    figures = load_published()
    assert len(figures) > 300
    for figure in figures:
        assert (-100 if figure.measure == "p-MRR" else 0) <= figure.value <= 100
        assert figure.suite in ("beir", "lotte", "follow")
        if figure.measure not in ("p-MRR", "Robustness@10"):
            assert measure_name(figure.measure) == figure.measure
        if figure.suite == "beir":
            assert all(queries for _, queries in figure.parts), figure.task
    counts = Counter((f.source, f.table, f.model, f.task, f.measure) for f in figures)
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "a paper"\n', "", r"field 'tables\[1\].source': is missing"),
        ("tolerance", "tolerence", r"field 'tables\[1\].tolerance': is missing"),
        ("note", "notes", r"field 'tables\[1\].notes': unknown key; wanted one of source, table, dataset"),
        ("0.5", '"0.5"', r"field 'tables\[1\].tolerance': wanted a number, found '0.5'"),
        ("0.5", "-1", r"field 'tables\[1\].tolerance': must be above 0, got -1"),
        ("60.0", "true", r"field 'tables\[1\].values.m.a': wanted a number, found True"),
        ("60.0", "nan", r"field 'tables\[1\].values.m.a': wanted a number, found nan"),
        ("{ c = 1.5 }", "3", r"field 'tables\[1\].values.other': wanted a table of keys and values, found int"),
        ("a = 10", "a = 1.5", r"field 'queries.beir.a': wanted a whole number, found 1.5"),
        ("[means]", "[average]", "field 'average': unknown key; wanted one of tables, queries, means"),
        ('["a", "b"]', '"a"', "field 'means.both': wanted a list of task names"),
        ("[[tables]]", "[[table]]", "field 'table': unknown key; wanted one of tables, queries, means"),
        ("[[tables]]", "[tables]", "field 'tables': wanted a list"),
        ("[[tables]]", "[[tables", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_published_file_is_named_by_file_and_key(
    published: Path, old: str, new: str, message: str
) -> None:
    assert old in SMALL
    published.write_text(SMALL.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        load_published(published)
    assert str(error.value).startswith(str(published))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "field 'results': no report: wanted an object with a list of rows"),
        ('{"results": {}}', "field 'results': no report"),
        ('{"results": [3]}', r"field 'results\[1\]': wanted a table of keys and values, found int"),
        (json.dumps({"results": [row("a", 1, 1), {"suite": "beir"}]}), r"field 'results\[2\].task': is missing"),
        (
            json.dumps({"results": [row("a", "x", 1)]}),
            r"field 'results\[1\].value': wanted a number, found 'x'",
        ),
        (json.dumps({"results": [row("a", 1, 1, extra=1)]}), r"field 'results\[1\].extra': unknown key"),
        (json.dumps({"results": [row("a", 1, 1), row("a", 0, 1)]}), r"field 'results\[2\]': two rows of beir, a, m"),
    ],
)
def test_a_mistake_in_a_report_is_named_by_file_and_key(
    tmp_path: Path, published: Path, content: str, message: str
) -> None:
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        check([path], published)
    assert str(error.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'report.json'}: no such file")):
        check([tmp_path])
    with pytest.raises(DataError, match="no such file"):
        load_published(tmp_path / "none.toml")


def test_the_published_file_lies_beside_the_code() -> None:
    assert PUBLISHED.is_file()
