"""compare: differences worked out by hand, and the queries behind them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from eval.compare import compare
from eval.embedding_cache import EmbeddingCache
from eval.report import Cell, Report, read_report
from eval.run_files import run_name
from eval.runner import evaluate
from eval.systems import DenseSystem
from eval.task import Pool, Task
from tart import Corpus, Document, Query
from tart.collection import TestCollection
from tart.errors import ConfigError, DataError
from tart.run import Hit, Run
from tart.testing import KeywordEncoder


def report(values: dict[str, list[float]], model: str = "m", instruction: str = "none") -> Report:
    """Task -> values of q0, q1, ...; what was found is named after the value."""
    cells = []
    for task, found in values.items():
        by_query = {f"q{row}": value for row, value in enumerate(found)}
        run = Run({query_id: [Hit(f"found-{value}", 1)] for query_id, value in by_query.items()}, 1)
        cells.append(Cell("beir", task, model, "dense", instruction, "closed", run, {"nDCG@10": by_query}))
    return Report([], cells=cells)


OLD = {"one": [0.5, 0.5, 0.5, 0.5], "two": [1.0, 0.0]}
NEW = {"one": [0.75, 0.5, 0.25, 1.0], "two": [1.0, 0.5]}


def test_differences_wins_and_means_are_those_worked_out_by_hand() -> None:
    rows = {row.task: row for row in compare([report(OLD), report(NEW)]).rows}
    one, two, both = rows["one"], rows["two"], rows["all"]
    assert (one.before, one.after, one.difference) == (0.5, 0.625, 0.125)
    assert (one.wins, one.ties, one.losses, one.queries) == (2, 1, 1, 4)
    assert (two.before, two.after, two.wins, two.ties, two.losses) == (0.5, 0.75, 1, 1, 0)
    assert (both.before, both.after) == pytest.approx((0.5, 0.6875))  # each task counts the same
    assert (both.wins, both.ties, both.losses, both.p_holm) == (3, 2, 1, None)
    # One: of the signs of .25, -.25 and .5, the sum reaches .5 with ++., +-+, -++ and their mirror images, each as far
    # or farther: all but --+ and ++-, which give 0.
    assert one.p == 6 / 8 and two.p == 1
    assert (one.p_holm, two.p_holm) == (1.0, 1.0)
    assert one.low <= one.difference <= one.high


def test_the_same_report_twice_differs_nowhere() -> None:
    found = compare([report(OLD), report(OLD)])
    assert {(row.difference, row.p, row.wins, row.losses) for row in found.rows} == {(0.0, 1.0, 0, 0)}
    assert found.changed == []


def test_the_queries_that_changed_most_come_first_with_what_was_found() -> None:
    first, second = report(OLD), report(NEW)
    details = {"queries": [["one", "q3", "the text", ""]], "documents": [["one/found-1.0", "A title", "..."]]}
    found = compare([first, dataclasses.replace(second, details=details)], changed=3)
    assert [(row.task, row.query_id, row.before, row.after) for row in found.changed] == [
        ("one", "q3", 0.5, 1.0),
        ("two", "q1", 0.0, 0.5),
        ("one", "q0", 0.5, 0.75),
    ]
    assert (found.changed[0].text, found.changed[0].found_before) == ("the text", ["found-0.5"])
    assert found.changed[0].found_after == ["found-1.0: A title"]


def test_only_common_queries_count_and_the_others_are_told() -> None:
    found = compare([report(OLD), report({"one": [0.75, 0.5], "three": [1.0]})])
    (row,) = found.rows
    assert (row.task, row.queries, row.difference) == ("one", 2, 0.125)
    assert found.notes == ["one: 2 queries are in one of the two only and left out"]


def test_systems_are_paired_by_name_and_else_with_the_first() -> None:
    first = Report([], cells=[*report(OLD, "a").cells, *report(OLD, "b").cells])
    second = Report([], cells=[*report(NEW, "b").cells, *report(NEW, "c").cells])
    found = compare([first, second])
    assert {(row.system, row.baseline) for row in found.rows} == {
        ("b dense (report)", "b dense (report)"),
        ("c dense", "a dense"),
    }
    assert {(row.system, row.baseline) for row in compare([first]).rows} == {("b dense", "a dense")}


def test_other_conditions_and_measures_are_not_mixed() -> None:
    mixed = [report(OLD), report(OLD, instruction="own")]
    with pytest.raises(ConfigError, match=r"nothing in common: .* no task under the same condition"):
        compare(mixed)


def renamed(of: Report, measure: str) -> Report:
    """The same values under another measure's name."""
    cells = [dataclasses.replace(cell, values={measure: cell.values["nDCG@10"]}) for cell in of.cells]
    return Report([], cells=cells)


def test_reports_without_a_common_measure_are_told() -> None:
    other = renamed(report(NEW), "R@100")
    with pytest.raises(ConfigError, match=r"m dense \(report\) have no measure in common under none, closed"):
        compare([report(OLD), other])
    both = Report([], cells=[*other.cells, *report(NEW, instruction="own").cells])
    found = compare([Report([], cells=[*report(OLD).cells, *report(OLD, instruction="own").cells]), both])
    assert {row.instruction for row in found.rows} == {row.instruction for row in found.changed} == {"own"}
    assert found.notes == ["m dense (report) and m dense (report) have no measure in common under none, closed"]


def test_one_system_is_not_enough() -> None:
    with pytest.raises(ConfigError, match="there is only one system: give two reports or runs"):
        compare([report(OLD)])


@pytest.fixture
def task() -> Task:
    corpus = Corpus([Document(f"d{row}", f"document number {row}") for row in range(10)])
    queries = (Query("q0", "first"), Query("q1", "second"))
    return Task("t", "beir", TestCollection("t", corpus, queries, {"q0": {"d0": 1}, "q1": {"d1": 1}}))


def write_run(path: Path, first: str, second: str) -> Path:
    lines = []
    for query_id, doc_id in (("q0", first), ("q1", second)):
        others = [f"d{row}" for row in range(10) if f"d{row}" != doc_id]
        lines += [f"{query_id} Q0 {name} 0 {-rank} x" for rank, name in enumerate([doc_id, *others])]
    path.write_text("\n".join(lines))
    return path


def test_run_files_are_measured_on_their_task(tmp_path: Path, task: Task) -> None:
    before, after = write_run(tmp_path / "a.trec", "d0", "d9"), write_run(tmp_path / "b.trec", "d0", "d1")
    found = compare([before, after], task=task, measures=["Success@1"])
    (row,) = found.rows
    assert (row.system, row.baseline, row.before, row.after) == ("b run", "a run", 0.5, 1.0)
    assert [(one.query_id, one.text) for one in found.changed] == [("q1", "second")]
    assert found.changed[0].found_after[0] == "d1: document number 1"
    with pytest.raises(ConfigError, match=r"a\.trec: a run file needs the judgements of its task"):
        compare([before, after])


def test_run_files_of_a_task_without_instruction_have_no_values_under_own(tmp_path: Path, task: Task) -> None:
    before, after = write_run(tmp_path / "a.trec", "d0", "d9"), write_run(tmp_path / "b.trec", "d0", "d1")
    for sources in ([report(OLD), after], [before, after]):
        with pytest.raises(ConfigError, match=r"[ab]\.trec: has no values: no task has an instruction of its own"):
            compare(sources, task=task, instruction="own", measures=["Success@1"])


def test_run_files_that_found_little_give_what_their_report_gives(
    tmp_path: Path, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    """BM25 ranks the documents with a word of the query only, and a file doesn't say how many it was asked for."""
    texts = {"d0": "first", "d1": "first second", "d2": "second"}
    corpus = Corpus([*(Document(*item) for item in texts.items()), *(Document(f"e{row}", "no") for row in range(20))])
    rare = dataclasses.replace(task, collection=dataclasses.replace(task.collection, corpus=corpus))
    (cell,) = evaluate(rare, ["bm25"], instructions=["none"], out=tmp_path / "out").cells
    assert {len(hits) for hits in cell.run.values()} == {2} and 0 < cell.values["nDCG@10"]["q1"] < 1
    file = tmp_path / "out" / cell.file
    with caplog.at_level("WARNING"):
        (row,) = compare([file, file], task=rare).rows
    assert row.before == sum(cell.values["nDCG@10"].values()) / 2
    assert "its longest list has 2 hits; a measure that looks deeper takes the rest as not found" in caplog.text


def test_a_negative_seed_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="the seed must be at least 0, got -1"):
        compare([report(OLD), report(NEW)], seed=-1)


@pytest.fixture
def pool(task: Task) -> Pool:
    """Two tasks with the same ids, one of them of a name that no file has; in the second other documents are right."""
    texts = ["second", "first first", "number", "document", *["nothing"] * 6]
    corpus = Corpus([Document(f"d{row}", text) for row, text in enumerate(texts)])
    name = "a/b, c" + "é" * 60
    other = dataclasses.replace(task.collection, name=name, corpus=corpus, qrels={"q0": {"d1": 1}, "q1": {"d3": 1}})
    return Pool("p", (dataclasses.replace(task, suite="x2"), Task(name, "x2", other)))


def test_run_files_of_a_pool_give_what_its_report_gives(tmp_path: Path, pool: Pool) -> None:
    """Of each task, closed and pooled; the file's name says which."""
    keywords = {"one": ["first", "number"], "two": ["second", "document", "number"]}
    systems = [DenseSystem(KeywordEncoder(words), EmbeddingCache(tmp_path), name) for name, words in keywords.items()]
    whole = evaluate(pool, systems, instructions=["none"], out=tmp_path / "out")
    wanted = [row for row in compare([whole]).rows if row.task != "all"]
    assert len({row[3:10] for row in wanted if row.measure == "nDCG@10"}) == 4  # two tasks, closed and pooled
    assert len({row[7:10] for row in wanted if row.measure == "nDCG@10"}) == 4  # and no two of them give the same
    for row in wanted:
        names = [run_name(["x2", row.task, system, "dense", "none", row.pool]) for system in ("one", "two")]
        files = [tmp_path / "out/runs" / name for name in names]
        rows = {found.measure: found for found in compare(files, task=pool).rows}
        found = rows[row.measure]
        assert found == row._replace(system=found.system, baseline=found.baseline, p_holm=found.p)  # it is one task
        assert len(rows) == len([other for other in wanted if other[3:6] == row[3:6]])


def test_a_run_file_whose_name_says_no_task_of_the_pool_is_refused(tmp_path: Path, pool: Pool) -> None:
    names = ("theirs.trec", "x2,u,m,dense,none,closed.trec", "x2,t,m,dense,none,open.trec", "t,closed.trec")
    for name in names:
        run = write_run(tmp_path / name, "d0", "d1")
        with pytest.raises(ConfigError, match="is a run file whose name says no task of the pool"):
            compare([run, run], task=pool)
    foreign = write_run(tmp_path / "x2,t,m,dense,none,pooled.trec", "d0", "d1")  # it is said to be pooled, and isn't
    with pytest.raises(DataError, match="none of its documents"):
        compare([foreign, foreign], task=pool)


def test_folders_are_read_and_the_comparison_is_written(tmp_path: Path, task: Task) -> None:
    for name, second in (("old", "d9"), ("new", "d1")):
        run = write_run(tmp_path / f"{name}.trec", "d0", second)
        evaluate(task, [run], instructions=["none"], measures=["Success@1", "RR@10"], out=tmp_path / name)
    found = compare([tmp_path / "old", tmp_path / "new"])
    assert [(row.measure, row.before, row.after) for row in found.rows] == [
        ("Success@1", 0.5, 1.0),
        ("RR@10", pytest.approx((1 + 1 / 3) / 2), 1.0),
    ]
    found.write(tmp_path / "out")
    facts = json.loads((tmp_path / "out/compare.json").read_text())
    assert [row["p"] for row in facts["rows"]] == [1.0, 1.0] and facts["changed"][0]["query_id"] == "q1"
    text = (tmp_path / "out/compare.md").read_text()
    assert "| new run | old run | beir | t | none, closed | Success@1 | 50.00 | 100.00 | +50.00 |" in text
    assert "t, q1: 0.0 → 100.0 second" in text
    with pytest.raises(DataError, match="no finished report"):
        compare([tmp_path / "old", tmp_path])
    assert read_report(tmp_path / "old").results[0].value == 0.5
