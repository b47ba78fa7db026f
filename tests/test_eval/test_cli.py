"""The command line: figures on stdout, everything else on stderr, one clear line for each thing that goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from eval import systems
from eval.cli import main
from tart.collection import TestCollection
from tart.testing import KeywordEncoder, toy_collection


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    monkeypatch.setattr(systems, "load_encoder", lambda name, **_: KeywordEncoder(["sort", "read", "code", "prose"]))
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["tart-eval", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Outcome(ended.value.code if isinstance(ended.value.code, int) else 1, captured.out, captured.err)

    return run


def write_beir(folder: Path, collection: TestCollection) -> None:
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": d.doc_id, "title": d.title, "text": d.text} for d in collection.corpus.values()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    queries = [{"_id": query.query_id, "text": query.text} for query in collection.queries]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    rows = [f"{qid}\t{doc_id}\t{grade}" for qid, judged in collection.qrels.items() for doc_id, grade in judged.items()]
    (folder / "qrels/test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the toy collection as two data sets: queries that want code, and queries that want prose."""
    toy = toy_collection()
    for kind in ("code", "prose"):
        queries = tuple(query for query in toy.queries if query.query_id.endswith(kind))
        qrels = {query.query_id: toy.qrels[query.query_id] for query in queries}
        write_beir(tmp_path / "data" / kind, TestCollection(kind, toy.corpus, queries, qrels))
    (tmp_path / "data/pool.toml").write_text(
        'name = "toy"\n'
        '[[tasks]]\nname = "one"\npath = "code"\nunit = "code"\ninstruction = "Find code"\n'
        '[[tasks]]\nname = "two"\npath = "prose"\nunit = "prose"\ninstruction = "Find prose"\n'
    )
    return tmp_path / "data"


def test_beir_prints_figures_and_writes_a_report(cli: Cli, data: Path, tmp_path: Path) -> None:
    done = cli(
        "beir", "--data", data, "--tasks", "code", "--model", "minilm", "--model", "bm25", "--out", tmp_path / "o"
    )
    assert done.code == 0, done.err
    facts = json.loads((tmp_path / "o/report.json").read_text())
    assert {row["task"] for row in facts["results"]} == {"code"}
    assert {(row["model"], row["retrieval"]) for row in facts["results"]} == {("minilm", "dense"), ("bm25", "sparse")}
    assert facts["provenance"]["command"].startswith(f"tart-eval beir --data {data} --tasks code")
    lines = done.out.splitlines()
    assert lines[0] == "beir: nDCG@10" and "report.html" in done.err and "Encoding code: 8 documents" in done.err
    value = next(row["value"] for row in facts["results"] if row["measure"] == "nDCG@10")
    assert f"{100 * value:.2f}" in lines[2]


def test_json_is_the_report(cli: Cli, data: Path) -> None:
    done = cli("beir", "--data", data, "--measures", "nDCG@10", "--json", "--max-queries", 2)
    rows = json.loads(done.out)["results"]
    assert {(row["task"], row["queries"]) for row in rows} == {("code", 2), ("prose", 2), ("all", 4)}


def test_x2_runs_a_pool_closed_and_pooled_with_the_whole_instruction_report(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    conditions = "none,own,other,generic,repeat"
    done = cli(
        "x2", data / "pool.toml", "-m", "bm25", "-m", "minilm", "--instructions", conditions, "-o", tmp_path / "o"
    )
    assert done.code == 0, done.err
    assert "minilm dense: listens (own against none" in done.out or "minilm dense: mixed" in done.out
    assert "bm25 sparse: indifferent" in done.out
    facts = json.loads((tmp_path / "o/report.json").read_text())
    assert {row["pool"] for row in facts["results"]} == {"closed", "pooled"}
    assert {row["instruction"] for row in facts["results"]} == set(conditions.split(","))


def test_another_split_is_measured(cli: Cli, data: Path) -> None:
    judged = (data / "code/qrels/test.tsv").read_text().splitlines()
    (data / "code/qrels/dev.tsv").write_text("\n".join(judged[:2]) + "\n")
    done = cli("beir", "--data", data / "code", "--split", "dev", "--json")
    assert {row["queries"] for row in json.loads(done.out)["results"]} == {1}
    done = cli("beir", "--data", data / "code", "--split", "train")
    assert done.code == 1 and "no such file; the splits that are there: dev, test" in done.err


def test_the_paper_s_pool_is_built_and_measured(cli: Cli, data: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    write_beir(sources / "scifact", toy_collection())
    done = cli("x2-paper", sources, "--tasks", "scifact", "--out", tmp_path / "pool")
    assert done.code == 0 and done.out.strip() == str(tmp_path / "pool/x2.toml"), done.err
    done = cli("x2", tmp_path / "pool/x2.toml", "-m", "bm25", "--instructions", "none", "--json")
    assert {row["task"] for row in json.loads(done.out)["results"]} == {"scifact"}
    done = cli("x2-paper", sources, "--out", tmp_path / "all")
    assert done.code == 1 and "no such file, which ambigqa needs; from https://" in done.err


def test_tasks_of_a_pool_that_are_not_chosen_stay_in_it(cli: Cli, data: Path) -> None:
    done = cli("x2", data / "pool.toml", "--tasks", "one", "--instructions", "none,other", "--json")
    facts = json.loads(done.out)
    assert {row["task"] for row in facts["results"]} == {"one"}
    assert facts["confusion"][0]["sources"] == ["one", "two"]
    assert {row["instruction"] for row in facts["results"]} == {"none", "other"}


def test_lotte_measures_success_at_5_by_topic_and_kind(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "lotte/science/test"
    folder.mkdir(parents=True)
    (folder / "collection.tsv").write_text("0\tsort a list\n1\tread a file\n")
    for kind in ("search", "forum"):
        (folder / f"questions.{kind}.tsv").write_text("0\thow to sort\n1\thow to read\n")
        rows = [{"qid": row, "answer_pids": [row]} for row in range(2)]
        (folder / f"qas.{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = cli("lotte", "--data", tmp_path / "lotte", "--json")
    assert done.code == 0, done.err
    rows = {row["task"]: row for row in json.loads(done.out)["results"]}
    assert set(rows) == {"all", "science-search", "science-forum"}
    assert rows["science-forum"]["measure"] == "Success@5" and rows["science-forum"]["value"] == 1
    chosen = cli("lotte", "--data", tmp_path / "lotte", "--tasks", "science-forum", "--json")
    assert {row["task"] for row in json.loads(chosen.out)["results"]} == {"science-forum"}
    assert cli("lotte", "--data", tmp_path / "lotte", "--tasks", "science-forums").code == 2


def test_follow_measures_p_mrr_of_opposite_wishes(cli: Cli, data: Path) -> None:
    toy = toy_collection()
    folder = data / "wishes"
    write_beir(folder, toy)
    queries = [
        {"_id": query.query_id, "text": query.text, "metadata": {"instruction": query.instruction.text}}
        for query in toy.queries
        if query.instruction
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    done = cli("follow", "--data", data, "--tasks", "wishes", "--instructions", "none,own,other")
    assert done.code == 0, done.err
    assert "follow: p-MRR" in done.out and "follow: Robustness@10" in done.out
    lines = done.out.splitlines()
    none, own, other, pairs = lines[lines.index("follow: p-MRR") + 2].split()[-4:]
    assert none == "0.00" and float(own) > 0 > float(other) and pairs == "4"


def test_compare_two_reports_and_two_runs(cli: Cli, data: Path, tmp_path: Path) -> None:
    for model in ("minilm", "bm25"):
        settings = ("--model", model, "--out", tmp_path / model, "--measures", "nDCG@10")
        assert cli("beir", "--data", data, "--tasks", "code", *settings).code == 0
    done = cli("compare", tmp_path / "minilm", tmp_path / "bm25", "--out", tmp_path / "compared")
    assert done.code == 0 and "| bm25 sparse | minilm dense | beir | code | none, closed | nDCG@10 |" in done.out
    assert (tmp_path / "compared/compare.json").is_file()
    runs = [next((tmp_path / model / "runs").iterdir()) for model in ("minilm", "bm25")]
    measured = cli("compare", *runs, "--data", data / "code", "--json", "--measures", "nDCG@2")
    assert measured.code == 0, measured.err
    (row,) = json.loads(measured.out)["rows"]
    assert row["measure"] == "nDCG@2" and row["queries"] == 4


def test_compare_takes_the_run_files_of_a_pool(cli: Cli, data: Path, tmp_path: Path) -> None:
    assert cli("x2", data / "pool.toml", "--instructions", "own,other", "--out", tmp_path / "o").code == 0
    runs = [tmp_path / f"o/runs/x2,two,minilm,dense,{wish},pooled.trec" for wish in ("own", "other")]
    done = cli("compare", *runs, "--data", data / "pool.toml", "--json")
    assert done.code == 0, done.err
    row = json.loads(done.out)["rows"][0]
    results = json.loads((tmp_path / "o/report.json").read_text())["results"]
    place = ("two", "pooled", "nDCG@10")
    values = {r["instruction"]: r["value"] for r in results if (r["task"], r["pool"], r["measure"]) == place}
    assert (row["task"], row["pool"], row["measure"]) == place
    assert (row["before"], row["after"]) == pytest.approx((values["own"], values["other"]))
    assert values["own"] > values["other"]


def test_check_judges_a_report(cli: Cli, tmp_path: Path) -> None:
    row = {"suite": "beir", "task": "scifact", "model": "minilm", "retrieval": "dense", "instruction": "none"}
    row |= {"pool": "closed", "measure": "nDCG@10", "value": 0.64508, "low": 0.6, "high": 0.7, "queries": 300}
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"results": [row]}))
    done = cli("check", path)
    assert done.code == 0 and "OK" in done.out
    path.write_text(json.dumps({"results": [{**row, "value": 0.5}]}))
    assert cli("check", path).code == 1
    assert {entry["status"] for entry in json.loads(cli("check", "--json").out)} == {"not run"}


def test_cache_lists_and_clears(cli: Cli, data: Path, tmp_path: Path) -> None:
    assert cli("beir", "--data", data, "--tasks", "code").code == 0
    listed = cli("cache")
    assert listed.code == 0 and "documents" in listed.out and "code" in listed.out and "queries" in listed.out
    assert str(tmp_path / "cache/embeddings") in listed.err
    assert {row["part"] for row in json.loads(cli("cache", "--json").out)} == {"documents", "queries"}
    assert "MB freed" in cli("cache", "--clear").err
    assert json.loads(cli("cache", "--json").out) == []


def test_another_cache_folder(cli: Cli, data: Path, tmp_path: Path) -> None:
    assert cli("beir", "--data", data, "--tasks", "code", "--cache", tmp_path / "mine").code == 0
    assert len(json.loads(cli("cache", "--cache", tmp_path / "mine", "--json").out)) == 2
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["beir", "--data", "DATA", "--tasks", "cod"], 2, "holds no collection 'cod'; did you mean code?"),
        (["beir", "--data", "DATA/missing"], 1, "missing: no such folder"),
        (["beir", "--data", "DATA/code/qrels"], 2, "there is no task with queries"),
        (["beir"], 2, "give --data, a folder with data, or --tasks"),
        (["beir", "--data", "DATA", "--instructions", "nun"], 2, "unknown instruction condition 'nun'"),
        (["beir", "--data", "DATA", "--measures", "nDGC@10"], 2, "unknown measure 'nDGC@10'; did you mean nDCG@10"),
        (["beir", "--data", "DATA", "--model", "bm52"], 2, "unknown system 'bm52'; did you mean bm25?"),
        (["beir", "--data", "DATA", "--max-queries", "0"], 2, "max_queries must be at least 1"),
        (["x2", "DATA/none.toml"], 1, "none.toml: no such file"),
        (["x2", "DATA/pool.toml", "--tasks", "three"], 2, "no task 'three'; did you mean one, two?"),
        (["compare", "DATA"], 1, "no finished report"),
        (["check", "DATA/none"], 1, "none: no such file"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(
    cli: Cli, data: Path, arguments: list[str], code: int, message: str
) -> None:
    done = cli(*(argument.replace("DATA", str(data)) for argument in arguments))
    assert (done.code, done.out) == (code, "")
    (line,) = [line for line in done.err.splitlines() if not line.startswith("Encoding")]
    assert line.startswith("error: ") and message in line


def test_a_finished_report_is_not_replaced_by_accident(cli: Cli, data: Path, tmp_path: Path) -> None:
    settings = ("beir", "--data", data, "--tasks", "code", "--out", tmp_path / "o")
    assert cli(*settings).code == 0
    refused = cli(*settings)
    assert refused.code == 1 and "holds a report already" in refused.err and "--overwrite" in refused.err
    assert cli(*settings, "--overwrite").code == 0


def test_wrong_usage_is_exit_code_2(cli: Cli) -> None:
    assert cli("beir", "--no-such-option").code == 2
    assert cli("nonsense").code == 2


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; from eval.cli import app\n"
        "try: app(['beir', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'faiss', 'numpy', 'ir_measures', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--max-queries" in done.stdout
