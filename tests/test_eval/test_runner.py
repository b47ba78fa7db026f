"""evaluate: figures that were worked out by hand, on a pool in which an encoder prefers the wrong kind."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from eval.embedding_cache import EmbeddingCache
from eval.report import read_report
from eval.run_files import read_run
from eval.runner import evaluate
from eval.summary import judge
from eval.system import Corpora
from eval.systems import DenseSystem, SparseSystem
from eval.task import Pool, Task
from tart import Corpus, Document, Instruction, Query
from tart.collection import TestCollection
from tart.errors import ConfigError, DataError, StorageError
from tart.run import Hit, Run
from tart.testing import KeywordEncoder, toy_collection


def task(name: str, unit: str, documents: dict[str, str], relevant: str | None, wish: str = "", n: int = 8) -> Task:
    queries = tuple(Query(f"q{row}", "sort") for row in range(n)) if relevant else ()
    qrels = {query.query_id: {relevant: 1} for query in queries if relevant}
    corpus = Corpus([Document(doc_id, text) for doc_id, text in documents.items()])
    wordings = (Instruction(wish), Instruction(f"Please: {wish}")) if wish else ()
    return Task(name, "x2", TestCollection(name, corpus, queries, qrels), wordings, unit)


# Without an instruction a document counts by how often it says "sort". The code says it once, the prose twice, and the
# distractor three times. The word "code", which only the code's own instruction holds, is worth three more to the code.
CODE = task("code", "code", {**{f"a{row}": "sort code code code" for row in range(6)}, "a6": "read"}, "a5", "Find code")
PROSE = task("prose", "prose", {f"b{row}": "sort sort" for row in range(7)}, "b6", "Find prose")
MORE = task("more", "prose", {"c0": "sort sort sort"}, None)
POOL = Pool("hand-made", (CODE, PROSE, MORE))

ALONE = [  # of a code query's first ten: the distractor, seven prose, two code, ids falling
    *("more/c0", "prose/b6", "prose/b5", "prose/b4", "prose/b3", "prose/b2", "prose/b1", "prose/b0"),
    *("code/a5", "code/a4"),
]
NINTH = 1 / math.log2(10)  # nDCG of one relevant document at rank 9
SECOND = 1 / math.log2(3)


def systems(folder: Path) -> list[DenseSystem]:
    return [DenseSystem(KeywordEncoder(["sort", "read", "code"]), EmbeddingCache(folder / "cache"))]


def value(report, **where: str) -> float:
    (row,) = report.where(**where)
    return row.value


def test_the_hand_made_pool_gives_the_figures_worked_out_by_hand(tmp_path: Path) -> None:
    report = evaluate(POOL, systems(tmp_path), instructions=["none", "own"], out=tmp_path / "out")
    ndcg = {"measure": "nDCG@10", "instruction": "none"}
    assert value(report, task="code", pool="closed", **ndcg) == 1
    assert value(report, task="prose", pool="closed", **ndcg) == 1
    assert value(report, task="code", pool="pooled", **ndcg) == pytest.approx(NINTH)
    assert value(report, task="prose", pool="pooled", **ndcg) == pytest.approx(SECOND)
    assert value(report, task="all", pool="pooled", **ndcg) == pytest.approx((NINTH + SECOND) / 2)
    gap = {"measure": "nDCG@10 gap", "instruction": "none", "pool": "pooled"}
    assert value(report, task="code", **gap) == pytest.approx(1 - NINTH)
    assert value(report, task="all", **gap) == pytest.approx(1 - (NINTH + SECOND) / 2)
    assert value(report, task="code", measure="wrong task@10", instruction="none") == pytest.approx(0.8)
    assert value(report, task="code", measure="wrong unit@10", instruction="none") == pytest.approx(0.8)
    assert value(report, task="prose", measure="wrong task@10", instruction="none") == pytest.approx(0.3)
    assert value(report, task="prose", measure="wrong unit@10", instruction="none") == pytest.approx(0.2)  # c0 is prose
    (without, own) = report.confusion
    assert (without.instruction, own.instruction) == ("none", "own")
    assert without.tasks == ["code", "prose"] and without.sources == ["code", "prose", "more"]
    assert without.shares[0] == pytest.approx([0.2, 0.7, 0.1]) and without.shares[1] == pytest.approx([0.2, 0.7, 0.1])
    assert own.shares[0] == pytest.approx([0.6, 0.3, 0.1])  # its own instruction puts the six "code" first
    assert value(report, task="code", pool="pooled", measure="nDCG@10", instruction="own") == 1
    run = read_run(tmp_path / "out/runs/x2,code,keywords,dense,none,pooled.trec")
    assert [hit.doc_id for hit in run["q0"]] == ALONE


def test_the_paired_differences_are_condition_minus_own(tmp_path: Path) -> None:
    report = evaluate(POOL, systems(tmp_path), instructions=["none", "own"])
    rows = {(row.task, row.pool): row for row in report.differences if row.measure == "nDCG@10"}
    row = rows["code", "pooled"]
    assert (row.instruction, row.against, row.wins, row.ties, row.losses, row.queries) == ("none", "own", 0, 0, 8, 8)
    assert row.mean == row.low == row.high == pytest.approx(NINTH - 1)
    assert row.p == 2 / 2**8  # all eight fell: only the pattern itself and its mirror image reach as far
    assert row.p_holm == 2 * row.p  # of two tasks
    assert rows["prose", "pooled"].p == 1 and rows["prose", "pooled"].ties == 8
    assert rows["all", "pooled"].mean == pytest.approx((NINTH - 1) / 2)
    assert rows["all", "pooled"].p == row.p and rows["all", "pooled"].p_holm is None
    assert rows["all", "closed"].mean == 0


def test_all_counts_each_task_the_same_however_many_queries_it_has(tmp_path: Path) -> None:
    short = dataclasses.replace(CODE, collection=task("code", "", {}, "a5", n=2).collection)
    short = dataclasses.replace(short, collection=dataclasses.replace(short.collection, corpus=CODE.collection.corpus))
    report = evaluate(Pool("uneven", (short, PROSE, MORE)), systems(tmp_path), instructions=["none", "own"])
    assert value(report, task="all", pool="pooled", measure="nDCG@10", instruction="none") == pytest.approx(
        (NINTH + SECOND) / 2
    )
    (row,) = [row for row in report.differences if (row.task, row.pool, row.measure) == ("all", "pooled", "nDCG@10")]
    assert row.mean == pytest.approx((NINTH - 1) / 2) and (row.queries, row.losses, row.ties) == (10, 2, 8)


def test_the_parts_of_a_set_count_as_one_task_and_have_a_mean_of_their_own(tmp_path: Path) -> None:
    """Values 1 (alone), 1 and 0 (parts): the set has 0.5, all have 0.75."""
    right = {"documents": {"x": "sort", "y": "read"}, "relevant": "x", "n": 4}
    wrong = {"documents": {"x": "sort", "y": "read"}, "relevant": "y", "n": 2}
    alone = task("alone", "", **right)
    parts = [dataclasses.replace(task(f"set-{n}", "", **one), group="set") for n, one in enumerate((right, wrong))]
    report = evaluate([alone, *parts], systems(tmp_path), instructions=["none"], measures=["Success@1"])
    values = {row.task: (row.value, row.queries) for row in report.results}
    assert values == {
        "all": (0.75, 10),
        "set": (0.5, 6),
        "alone": (1.0, 4),
        "set-0": (1.0, 4),
        "set-1": (0.0, 2),
    }


def test_a_pool_of_one_task_is_the_closed_search(tmp_path: Path) -> None:
    report = evaluate(Pool("one", (CODE,)), systems(tmp_path), measures=["nDCG@10", "R@5", "AP"])
    by_pool = {
        pool: {
            (row.instruction, row.measure): row[7:] for row in report.where(pool=pool) if "@10 gap" not in row.measure
        }
        for pool in ("closed", "pooled")
    }
    assert len(by_pool["closed"]) == 6
    for key, row in by_pool["closed"].items():
        assert by_pool["pooled"][key] == row
    assert value(report, measure="AP gap", instruction="own") == 0
    assert value(report, measure="wrong task@10", instruction="own") == 0


def test_a_model_that_reads_its_own_instruction_listens(tmp_path: Path) -> None:
    """With the prose's instruction understood as well, both tasks gain, and neither gains from the other's."""
    both = task("prose", "prose", {f"b{row}": "sort sort prose prose" for row in range(7)}, "b6", "Find prose")
    system = DenseSystem(KeywordEncoder(["sort", "read", "code", "prose"]), EmbeddingCache(tmp_path))
    conditions = ["none", "own", "wordings", "other", "generic", "repeat"]
    report = evaluate(Pool("both", (CODE, both, MORE)), [system], instructions=conditions)
    (verdict,) = report.verdicts
    assert (verdict.verdict, verdict.pool, verdict.measure) == ("listens", "pooled", "nDCG@10")
    assert verdict.values["own"] == 1 and verdict.values["none"] < 1 and verdict.values["other"] < 1
    assert set(verdict.values) == set(conditions)
    assert "own against none" in verdict.reason and "own against other" in verdict.reason


def test_bm25_is_indifferent_and_says_why(tmp_path: Path) -> None:
    report = evaluate(POOL, [SparseSystem()], instructions=["none", "own", "other"])
    assert report.verdicts[0].verdict == "indifferent"
    assert any("no instruction changes its ranking" in note for note in report.notes)


def difference(mean: float, p: float, low: float | None = None, high: float | None = None):
    from eval.report import Difference

    ends = (mean if low is None else low, mean if high is None else high)
    return Difference("x2", "all", "m", "dense", "", "own", "pooled", "nDCG@10", mean, *ends, p, None, 0, 0, 0, 9)


@pytest.mark.parametrize(
    ("none", "other", "generic", "verdict"),
    [
        ((-0.05, 0.01), (-0.05, 0.01), (-0.05, 0.01), "listens"),
        ((-0.05, 0.01), (-0.05, 0.01), (-0.05, 0.06), "mixed"),
        ((-0.05, 0.01), (0.0, 1.0), (-0.05, 0.01), "mixed"),
        ((0.005, 0.01), (-0.005, 0.5), (0.3, 0.01), "indifferent"),
        ((0.05, 0.01), (-0.05, 0.01), (-0.05, 0.01), "disturbed"),
        ((0.05, 0.06), (-0.05, 0.01), (-0.05, 0.01), "mixed"),
    ],
)
def test_the_verdict_follows_its_rule(none, other, generic, verdict: str) -> None:
    rows = {"none": difference(*none), "other": difference(*other), "generic": difference(*generic)}
    assert judge(rows) == verdict


def test_a_wide_interval_is_not_indifference_and_a_missing_condition_is_no_verdict() -> None:
    wide = {"none": difference(0.0, 1.0, -0.02, 0.02), "other": difference(0.0, 1.0)}
    assert judge({**wide, "generic": difference(0.0, 1.0)}) == "mixed"
    assert judge(wide) == "not asked"
    assert judge({"none": difference(-0.05, 0.01)}) == "not asked"
    assert judge({"none": difference(0.05, 0.01)}) == "disturbed"


def test_wordings_give_mean_deviation_and_worst(tmp_path: Path) -> None:
    """The first wording names the code, the second doesn't: 1 and 1/log2(10)."""
    worded = dataclasses.replace(CODE, wordings=(Instruction("Find code"), Instruction("Find a function")))
    report = evaluate(Pool("w", (worded, PROSE, MORE)), systems(tmp_path), instructions=["own", "wordings"])
    where = {"task": "code", "pool": "pooled"}
    found = [value(report, **where, instruction=f"wording-{n}", measure="nDCG@10") for n in (1, 2)]
    assert found == pytest.approx([1, NINTH])
    where["instruction"] = "wordings"
    assert value(report, measure="nDCG@10", **where) == pytest.approx((1 + NINTH) / 2)
    assert value(report, measure="nDCG@10 deviation", **where) == pytest.approx((1 - NINTH) / 2)
    assert value(report, measure="nDCG@10 worst", **where) == pytest.approx(NINTH)
    assert {row.instruction for row in report.differences} == {"wordings"}


def test_sensitivity_is_deviation_over_mean_of_each_task_and_their_mean_over_tasks(tmp_path: Path) -> None:
    """Code: 1 and 1/log2(10). Prose, whose second wording asks for code: 1/log2(3), and rank 8 (1/log2(9))."""
    first, second = Instruction("Find prose"), Instruction("Find code")
    code = dataclasses.replace(CODE, wordings=(second, Instruction("Find a function")))
    prose = dataclasses.replace(PROSE, wordings=(first, second))
    pool = Pool("w", (code, prose, MORE))
    report = evaluate(pool, systems(tmp_path), instructions=["wordings"], out=tmp_path / "out")
    eighth = 1 / math.log2(9)
    wanted = {  # of two values a and b: half of their difference over half of their sum
        "code": (1 - NINTH) / (1 + NINTH),
        "prose": (SECOND - eighth) / (SECOND + eighth),
    }
    where = {"measure": "nDCG@10 sensitivity", "pool": "pooled", "instruction": "wordings"}
    for name, expected in wanted.items():
        assert value(report, task=name, **where) == pytest.approx(expected)
    assert value(report, task="all", **where) == pytest.approx(sum(wanted.values()) / 2)
    assert [row for row in report.results if row.measure.endswith("sensitivity") and row.low is not None] == []
    rows = json.loads((tmp_path / "out/report.json").read_text())["results"]
    assert [row["value"] for row in rows if {**row, **where} == row] == [row.value for row in report.where(**where)]
    shown = f"{100 * wanted['code']:.2f}"
    table = (tmp_path / "out/report.md").read_text().partition("## x2: nDCG@10 sensitivity")[2].partition("##")[0]
    assert f"| code | 0.00 | {shown} |" in table  # closed, each wording finds all
    page = (tmp_path / "out/report.html").read_text()
    assert ">nDCG@10 sensitivity</td>" in page and f">{shown}</td>" in page


def test_where_no_wording_finds_anything_there_is_a_deviation_and_no_sensitivity(tmp_path: Path) -> None:
    lost = dataclasses.replace(CODE, collection=dataclasses.replace(CODE.collection, qrels={"q0": {"gone": 1}}))
    report = evaluate(Pool("w", (lost, PROSE, MORE)), systems(tmp_path), instructions=["wordings"])
    measures = {row.measure for row in report.where(task="code", instruction="wordings", pool="closed")}
    assert measures == {"nDCG@10", "nDCG@10 deviation", "nDCG@10 worst"}
    assert value(report, task="prose", pool="closed", measure="nDCG@10 sensitivity") == 0
    assert report.where(task="all", pool="closed", measure="nDCG@10 sensitivity") == []  # one task has none


def test_wordings_that_change_nothing_differ_by_nothing() -> None:
    """Not even by rounding: three times 0.2, divided by three, isn't 0.2."""
    wordings = tuple(Instruction(text) for text in ("Find code", "Find a function", "Find a program"))
    fifth = task("code", "code", {f"a{row}": "sort" for row in range(6)}, "a1", "Find code")
    worded = dataclasses.replace(fifth, wordings=wordings)
    report = evaluate(worded, [SparseSystem()], instructions=["own", "wordings"], measures=["RR@10"])
    assert math.fsum([0.2] * 3) / 3 != 0.2 == value(report, instruction="own")
    assert {(row.mean, row.wins, row.losses, row.p) for row in report.differences} == {(0, 0, 0, 1)}


def test_max_queries_takes_the_first_judged_ones(tmp_path: Path) -> None:
    toy = toy_collection()
    qrels = {query_id: grades for query_id, grades in toy.qrels.items() if query_id != "sort-code"}
    collection = dataclasses.replace(toy, qrels=qrels)
    report = evaluate(Task("toy", "beir", collection), systems(tmp_path), instructions=["none"], max_queries=2)
    (cell,) = report.cells
    assert list(cell.values["nDCG@10"]) == ["sort-prose", "read-code"]
    assert value(report, measure="nDCG@10") == pytest.approx(sum(cell.values["nDCG@10"].values()) / 2)


def test_a_document_with_the_query_s_own_id_is_dropped_and_another_takes_its_place(tmp_path: Path) -> None:
    documents = {"q": "sort sort", "d1": "sort", "d2": "sort"}
    corpus = Corpus([Document(doc_id, text) for doc_id, text in documents.items()])
    collection = TestCollection("dup", corpus, (Query("q", "sort"),), {"q": {"d1": 1}})
    dropping = Task("dup", "beir", collection, drop_identical_ids=True)
    for tasks, prefix in ((dropping, ""), (Pool("p", (dropping,)), "dup/")):
        report = evaluate(tasks, systems(tmp_path), instructions=["none"])
        assert [hit.doc_id for hit in report.cells[-1].run["q"]] == [f"{prefix}d2", f"{prefix}d1"]
        assert report.where(measure="nDCG@10")[-1].value == pytest.approx(SECOND)
        assert "dup: for 1 queries the document with the query's own id is dropped" in report.notes


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    toy = toy_collection()
    qrels = {**toy.qrels, "nobody": {"code-sort": 1}, "sort-code": {"code-sort": 0}, "read-code": {"gone": 1}}
    queries = tuple(query.plain() for query in toy.queries)
    task = Task("toy", "beir", dataclasses.replace(toy, queries=queries, qrels=qrels))
    report = evaluate(task, systems(tmp_path), instructions=["none", "own", "generic"])
    assert set(report.notes) == {
        "toy: the judgements name 1 queries that aren't there; they are left out",
        "toy: 1 judged queries have no relevant document; they are left out",
        "toy: the judgements name 1 documents that the corpus lacks",
        "toy: nothing to ask under 'own'; it is left out there",
    }
    assert {row.queries for row in report.results} == {len(toy.queries) - 1}
    assert report.verdicts == [] and report.differences == []


def test_no_mean_is_taken_over_some_of_the_tasks(tmp_path: Path) -> None:
    plain = dataclasses.replace(PROSE, wordings=())
    report = evaluate([CODE, plain], systems(tmp_path), instructions=["none", "own"])
    assert {row.instruction for row in report.where(task="all")} == {"none"}
    assert {row.task for row in report.differences} == {"code"}


class Counting(KeywordEncoder):
    """Counts what is encoded, and can be stopped."""

    documents = queries = 0
    stop = False

    def encode_documents(self, documents: Sequence[Document | str]):
        self.documents += len(documents)
        return super().encode_documents(documents)

    def encode_queries(self, queries: Sequence[Query]):
        if self.stop and queries[0].instruction is not None:
            raise KeyboardInterrupt
        self.queries += len(queries)
        return super().encode_queries(queries)


def test_an_interrupted_evaluation_keeps_its_runs_and_goes_on_from_the_cache(tmp_path: Path) -> None:
    def run(encoder: Counting):
        system = DenseSystem(encoder, EmbeddingCache(tmp_path / "cache"))
        return evaluate(POOL, [system], instructions=["none", "own"], out=tmp_path / "out", seed=3)

    stopped = Counting(["sort", "read", "code"])
    stopped.stop = True
    with pytest.raises(KeyboardInterrupt):
        run(stopped)
    assert [path.name for path in (tmp_path / "out/runs").iterdir()] == ["x2,code,keywords,dense,none,closed.trec"]
    resumed = Counting(["sort", "read", "code"])
    report = run(resumed)
    assert stopped.documents == 2 and resumed.documents == 2  # distinct texts: the code's two; one each of the others
    fresh = evaluate(POOL, systems(tmp_path / "elsewhere"), instructions=["none", "own"], seed=3)
    assert report.results == fresh.results and report.differences == fresh.differences


def test_an_evaluation_from_the_cache_is_equal_to_the_last_bit(tmp_path: Path) -> None:
    first, second = (evaluate(POOL, systems(tmp_path), instructions=["none", "own", "repeat"]) for _ in range(2))
    assert first.results == second.results
    assert [cell.run for cell in first.cells] == [cell.run for cell in second.cells]


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    report = evaluate(POOL, systems(tmp_path), instructions=["none", "own"], out=tmp_path / "out", command="typed")
    again = read_report(tmp_path / "out")
    assert again.results == report.results and again.differences == report.differences
    assert again.confusion == report.confusion and again.verdicts == report.verdicts
    for cell, back in zip(report.cells, again.cells, strict=True):
        assert back == dataclasses.replace(cell, run=back.run) and dict(back.run) == dict(cell.run)
    assert json.loads(json.dumps(report.details)) == again.details


def test_report_json_has_the_flat_form_and_the_provenance(tmp_path: Path) -> None:
    evaluate(POOL, systems(tmp_path), instructions=["none", "own"], out=tmp_path / "out", command="typed", seed=5)
    facts = json.loads((tmp_path / "out/report.json").read_text())
    wanted = "suite task model retrieval instruction pool measure value low high queries".split()
    assert facts["results"] and all(list(row) == wanted for row in facts["results"])
    assert list(facts) == ["results", "differences", "verdicts", "confusion", "notes", "runs", "provenance"]
    keys = [tuple(row[name] for name in wanted[:7]) for row in facts["results"]]
    assert len(set(keys)) == len(keys)
    for row in facts["runs"]:
        assert (tmp_path / "out" / row["file"]).is_file()
    provenance = facts["provenance"]
    assert provenance["command"] == "typed" and provenance["seed"] == 5
    assert provenance["systems"][0]["model_hash"] == KeywordEncoder(["sort", "read", "code"]).model_hash
    assert provenance["data"][0]["corpus_fingerprint"] == CODE.collection.corpus.fingerprint
    changed = dataclasses.replace(CODE.collection, qrels={**CODE.collection.qrels, "q0": {"a5": 2}})
    other = evaluate(dataclasses.replace(CODE, collection=changed), systems(tmp_path), instructions=["none"])
    for name in ("corpus_fingerprint", "queries_fingerprint", "qrels_fingerprint"):
        same = other.provenance["data"][0][name] == provenance["data"][0][name]
        assert same == (name != "qrels_fingerprint")
    assert provenance["machine"]["cores"] and provenance["versions"]["numpy"] and provenance["seconds"]["all"] >= 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("per_query.json", "report.html", "report.json", "report.md", "runs")
    ]


def test_a_finished_report_is_not_replaced_by_accident(tmp_path: Path) -> None:
    evaluate(CODE, systems(tmp_path), instructions=["none"], out=tmp_path / "out")
    with pytest.raises(StorageError, match=r"holds a report already; choose another folder, or overwrite it"):
        evaluate(CODE, systems(tmp_path), instructions=["none"], out=tmp_path / "out")
    evaluate(CODE, systems(tmp_path), instructions=["own"], out=tmp_path / "out", overwrite=True)
    assert {row.instruction for row in read_report(tmp_path / "out").results} == {"own"}


def test_ids_and_names_with_blanks_and_slashes_survive(tmp_path: Path) -> None:
    corpus = Corpus([Document("a b/c", "sort sort"), Document("d", "read")])
    odd = Task("my task/1", "x2", TestCollection("odd", corpus, (Query("q 1", "sort"),), {"q 1": {"a b/c": 2}}))
    report = evaluate(Pool("odd", (odd, MORE)), systems(tmp_path), instructions=["none"], out=tmp_path / "out")
    assert value(report, measure="nDCG@10", pool="pooled") == pytest.approx(SECOND)
    assert report.confusion[0].tasks == ["my task/1"] and sum(report.confusion[0].shares[0]) == pytest.approx(1)
    again = read_report(tmp_path / "out")
    assert [hit.doc_id for hit in again.cells[1].run["q 1"]] == ["more/c0", "my%20task%2F1/a b/c", "my%20task%2F1/d"]
    assert all(path.parent.name == "runs" for path in (tmp_path / "out/runs").rglob("*.trec"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"instructions": ["nun"]}, "unknown instruction condition 'nun'; did you mean"),
        ({"measures": ["nDGC@10"]}, "unknown measure 'nDGC@10'; did you mean nDCG@10"),
        ({"measures": []}, "no measure given"),
        ({"max_queries": 0}, "max_queries must be at least 1, got 0"),
        ({"seed": -1}, "the seed must be at least 0, got -1"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(CODE, systems(tmp_path), **settings)


def test_tasks_that_cannot_be_measured_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no task with queries"):
        evaluate([MORE], systems(tmp_path))
    with pytest.raises(ConfigError, match="two tasks are both called 'code'"):
        evaluate([CODE, CODE], systems(tmp_path))
    unjudged = dataclasses.replace(CODE, collection=dataclasses.replace(CODE.collection, qrels={"q0": {"a5": 0}}))
    with pytest.raises(DataError, match="task 'code': none of its 8 queries has a relevant document"):
        evaluate(unjudged, systems(tmp_path))


def test_a_run_file_is_measured_as_given_and_under_no_other_condition(tmp_path: Path) -> None:
    path = tmp_path / "theirs.trec"
    path.write_text("".join(f"q{row} Q0 a{doc} 1 {doc} x\n" for row in range(8) for doc in range(7)))
    report = evaluate(CODE, [str(path)], instructions=["own"], measures=["nDCG@7"])
    (row,) = report.results
    assert (row.model, row.retrieval, row.instruction, row.value) == ("theirs", "run", "own", pytest.approx(SECOND))
    with pytest.raises(ConfigError, match=r"theirs is a run file, whose answers are given.*none, own can't be asked"):
        evaluate(CODE, [str(path)], instructions=["none", "own"])


def test_a_run_file_says_not_how_deep_it_was_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What it lacks counts as not found, and a warning tells so unless it ranks the whole corpus."""
    for count, warnings in ((7, 0), (3, 1)):
        path = tmp_path / f"{count}.trec"
        path.write_text("".join(f"q{row} Q0 a{6 - doc} 1 {-doc} x\n" for row in range(8) for doc in range(count)))
        caplog.clear()
        with caplog.at_level("WARNING"):
            report = evaluate(CODE, [str(path)], instructions=["own"])
        assert value(report, measure="nDCG@10") == pytest.approx(SECOND)
        assert len(caplog.records) == warnings and caplog.text.count(f"{count}: its longest list has 3") == warnings


def test_documents_that_no_task_has_are_wrong_everywhere_and_in_no_column(tmp_path: Path) -> None:
    class Straying(DenseSystem):
        """Puts two documents that nobody has before what it finds."""

        def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
            run = super().retrieve(corpora, queries, k)
            stray = [Hit("gone/x", 100.0), Hit("gone", 99.0)]
            return Run({query_id: [*stray, *hits] for query_id, hits in run.items()}, k)

    system = Straying(KeywordEncoder(["sort", "read", "code"]), EmbeddingCache(tmp_path / "cache"))
    report = evaluate(POOL, [system], instructions=["own"], out=tmp_path / "out")
    for measure in ("wrong task@10", "wrong unit@10"):  # two stray ones, six of code, two others
        assert value(report, task="code", measure=measure) == pytest.approx(0.4)
    (table,) = report.confusion
    assert table.sources == ["code", "prose", "more"] and sum(table.shares[0]) == pytest.approx(0.8)
    assert table.shares[0][0] == pytest.approx(0.6)
    assert {"gone", "gone/x"} <= {doc_id for doc_id, _, _ in report.details["documents"]}
