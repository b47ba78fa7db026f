"""benchmarks/results.py: report folders that are made once, and a page whose figures are those of the reports."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from eval.report import read_report
from tart.collection import Query
from tart.testing import KeywordEncoder, KeywordReranker, toy_collection

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Run = Callable[..., str]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "results", raising=False)
    return importlib.import_module("results")


def write_folder(folder: Path, queries: list[Query], documents: str = "code prose") -> None:
    toy = toy_collection()
    (folder / "qrels").mkdir(parents=True)
    kept = [one for one in toy.corpus.values() if one.doc_id.split("-")[0] in documents]
    rows = [{"_id": one.doc_id, "title": one.title, "text": one.text} for one in kept]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [
        {"_id": one.query_id, "text": one.text, "metadata": {"instruction": one.instruction and one.instruction.text}}
        for one in queries
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    judged = [f"{one.query_id}\t{doc_id}\t1" for one in queries for doc_id in toy.qrels[one.query_id]]
    (folder / "qrels/test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """SciFact's folder, a pool of code and prose that lies under the name of the unit-switch pool, and opposites."""
    toy, folder = toy_collection(), tmp_path / "data"
    for kind in ("code", "prose"):
        queries = [query.plain() for query in toy.queries if query.query_id.endswith(kind)]
        write_folder(folder / kind, queries, kind)
    write_folder(folder / "scifact", [query.plain() for query in toy.queries])
    write_folder(folder / "perspectrum_stance", list(toy.queries))
    (folder / "switch.toml").write_text(
        'name = "toy"\n'
        '[[tasks]]\nname = "one"\npath = "code"\nunit = "code"\n'
        'instruction = "Find Python source code that does this."\n'
        '[[tasks]]\nname = "two"\npath = "prose"\nunit = "prose"\ninstruction = "Find prose."\n'
    )
    return folder


@pytest.fixture
def run(results: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command; every model counts keywords, and the one called "listener" finds the kind among them."""
    words = ["sort", "read", "open", "parse"]
    encoders = {"minilm": KeywordEncoder(words), "listener": KeywordEncoder([*words, "code", "prose"])}
    monkeypatch.setattr("eval.systems.load_encoder", lambda name, **more: encoders[Path(name).name])
    monkeypatch.setattr(results, "load_reranker", lambda name, **more: KeywordReranker())
    (tmp_path / "listener").mkdir()

    def run(*models: str, **changed: object) -> str:
        settings: dict[str, object] = {
            "data": data,
            "model": list(models),
            "rerank": None,
            "baseline": "minilm",
            "collections": ",".join(results.COLLECTIONS),
            "instructions": "none,own,wordings,other,generic,repeat",
            "max_queries": None,
            "rerank_queries": 4,
            "rerank_instructions": "none,own",
            "training": None,
            "out": tmp_path / "out",
            "page": tmp_path / "page.md",
            "cache": tmp_path / "cache",
            "backend": "auto",
        }
        results.run(Namespace(**settings | changed))
        return (tmp_path / "page.md").read_text()

    return run


def test_the_page_has_the_figures_of_the_reports(run: Run, tmp_path: Path) -> None:
    page = run("bm25", "minilm", str(tmp_path / "listener"))
    report = read_report(tmp_path / "out/switch/listener dense")
    row = next(line for line in page.split("## Unit-switch pool")[1].splitlines() if line.startswith("| listener |"))
    for pool, condition in (("closed", "own"), ("pooled", "none"), ("pooled", "own"), ("pooled", "other")):
        found = report.where(task="all", pool=pool, instruction=condition, measure="nDCG@10")
        assert f"| {100 * found[0].value:.2f} |" in row
    wrong = report.where(task="all", pool="pooled", instruction="own", measure="wrong unit@10")[0].value
    assert f"| {100 * wrong:.2f} |" in row
    held_out = [
        report.where(task="one", pool="pooled", instruction=f"wording-{number}", measure="nDCG@10")[0].value
        for number in (2, 3, 4, 5)
    ]
    assert len(held_out) == 4
    assert "## SciFact" in page and "## Perspectrum" in page and "X² pool" not in page
    assert str(tmp_path) not in page


def test_the_wrong_kind_is_that_of_the_unit_whatever_was_asked(run: Run, tmp_path: Path) -> None:
    """The toy world's units are code and prose, two tasks of which want code: its share isn't that of another task."""
    folder = tmp_path / "data"
    text = (folder / "switch.toml").read_text()
    third = '[[tasks]]\nname = "three"\npath = "code"\nunit = "code"\ninstruction = "Find source code."\n'
    (folder / "switch.toml").write_text(text + third)
    page = run("minilm", str(tmp_path / "listener"), collections="switch", instructions="own")
    report = read_report(tmp_path / "out/switch/listener dense")
    wrong, other = (
        report.where(task="all", pool="pooled", measure=f"wrong {name}@10")[0].value for name in ("unit", "task")
    )
    assert wrong < other
    head, _, *rows = [line for line in page.split("## Unit-switch pool")[1].splitlines() if line.startswith("|")]
    row = next(line for line in rows if line.startswith("| listener |"))
    found = dict(zip(head.strip("| ").split(" | "), row.strip("| ").split(" | "), strict=True))
    assert found["wrong kind, own"] == f"{100 * wrong:.2f}"
    assert "| listener | wrong kind | own | pooled |" in page and "@10 | own | pooled" in page
    assert "wrong unit@10" not in page and "wrong task@10" not in page


def test_held_out_is_the_mean_over_all_wordings_but_the_own(results: ModuleType, run: Run, tmp_path: Path) -> None:
    run("minilm")
    page_of = importlib.import_module("results_page")
    report = read_report(tmp_path / "out/switch/minilm dense")
    system = page_of.System(report, "minilm", "minilm", "dense")
    by_hand = {
        task: [
            report.where(task=task, pool="pooled", instruction=f"wording-{number}", measure="nDCG@10")[0].value
            for number in range(2, 2 + count)
        ]
        for task, count in (("one", 4), ("two", 5))
    }
    wanted = sum(sum(found) / len(found) for found in by_hand.values()) / 2
    assert system.figure("nDCG@10", "held-out", "pooled") == pytest.approx(wanted, abs=1e-12)


def test_what_is_there_is_not_made_again(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run("minilm")
    made = (tmp_path / "out/switch/minilm dense/report.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run("minilm") == first and "measured" not in capsys.readouterr().err
    assert (tmp_path / "out/switch/minilm dense/report.json").stat().st_mtime_ns == made
    run("minilm", max_queries=2)
    assert (tmp_path / "out/switch/minilm dense/report.json").stat().st_mtime_ns != made


def test_a_reranker_is_compared_with_its_first_stage_on_the_same_queries(run: Run, tmp_path: Path) -> None:
    alone = run("minilm", "bm25", rerank="overlap")
    page = (tmp_path / "page-reranked.md").read_text()
    rows = page.split("### With the reranker")[1].split("\n\n")[1].splitlines()
    assert any(line.startswith("| minilm+overlap | nDCG@10 | own | closed | 4 |") for line in rows)
    section = page.split("## Unit-switch pool")[1].split("###")[0]
    report = read_report(tmp_path / "out/switch/minilm+overlap dense+rerank")
    row = next(line for line in section.splitlines() if line.startswith("| minilm+overlap |"))
    for condition in ("none", "own"):
        found = report.where(task="all", pool="pooled", instruction=condition, measure="nDCG@10")
        assert f"| {100 * found[0].value:.2f} |" in row
    assert "4 queries" in section and "| minilm |" not in section  # fewer queries: not beside the figures of all
    assert "| deviation |" not in section  # nothing was asked that it could be told from
    assert "+overlap" not in alone and "| deviation |" in alone
    assert "bm25+overlap reads the words" not in page  # the cross-encoder reads the instruction


def test_what_got_worse_is_named(run: Run, tmp_path: Path) -> None:
    page = run("minilm", str(tmp_path / "listener"), baseline="listener")
    worse = page.split("## What got worse")[1]
    assert "Task by task against listener" in worse and "comparisons" in worse
    assert "There is no system to compare" in run("bm25", baseline="nobody")


def test_wordings_that_training_has_seen_are_left_out(results: ModuleType, data: Path) -> None:
    asked = results.COLLECTIONS["switch"].load(data / "switch.toml")
    wordings = {"Find prose.": ("Which prose?", "some prose, please")}
    kept = results.with_wordings(asked, wordings, {"which prose"})
    assert [one.text for one in results.tasks_of(kept)[1].wordings] == ["Find prose.", "some prose, please"]


def test_each_instruction_has_held_out_wordings_that_are_nobody_elses(results: ModuleType) -> None:
    table = results.read_wordings()
    cards = (BENCHMARKS.parent / "berri/cards").glob("*.toml")
    told = results.plain(" ".join(path.read_text(encoding="utf-8") for path in cards))
    assert len(table) == 11
    for own, wordings in table.items():
        assert len({own, *wordings}) == 5
        assert not [text for text in wordings if results.plain(text) in told]
