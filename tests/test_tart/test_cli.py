"""The command line: results on stdout, everything else on stderr, one clear line for each thing that goes wrong."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import tart
from tart.cli import main
from tart.text_format import PRESETS

GOOD = [
    '{"_id": "a", "title": "Reading", "text": "read a file line by line"}',
    '{"_id": "b", "text": "sort a list", "metadata": {}}',
    '{"_id": "c", "title": null, "text": "open a socket"}',
]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["tart", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Outcome(ended.value.code if isinstance(ended.value.code, int) else 1, captured.out, captured.err)

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(GOOD) + "\n")
    return path


@pytest.fixture
def index(cli: Cli, corpus: Path, tiny_model_folder: Path, tmp_path: Path) -> Path:
    assert cli("index", corpus, "--model", tiny_model_folder, "--output", tmp_path / "index").code == 0
    return tmp_path / "index"


def test_index_then_search(cli: Cli, index: Path) -> None:
    shown = cli("search", index, "read a file", "-i", "Find code", "-k", 2)
    assert shown.code == 0 and "Reading" in shown.out and "Find code [SEP] read a file" in " ".join(shown.out.split())
    as_json = cli("search", index, "read a file", "-k", 99, "--mode", "hybrid", "--json")
    facts = json.loads(as_json.out)
    assert {hit["doc_id"] for hit in facts["hits"]} == {"a", "b", "c"}
    assert as_json.err == ""


def test_index_says_how_many_on_stdout_and_progress_on_stderr(
    cli: Cli, corpus: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    done = cli("index", corpus, "--model", tiny_model_folder, "-o", tmp_path / "x")
    assert done.out == f"{tmp_path / 'x'}: 3 documents\n"
    assert "Encoding: 3 documents in" in done.err and "/s)" in done.err


def test_index_tells_what_the_model_does_not_read(cli: Cli, tiny_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text('{"_id": "a", "text": "%s"}\n{"_id": "b", "text": "short"}\n' % ("ab " * 100))
    done = cli("index", path, "--model", tiny_model_folder, "-o", tmp_path / "x")
    # 200 characters are 200 tokens, with [CLS] and [SEP] 202; the model reads 64
    assert "1 of 2 documents are longer than" in done.err and "138 tokens at their ends" in done.err


def test_many_queries_to_a_trec_run(cli: Cli, index: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(
        '{"_id": "q1", "text": "read", "instruction": "Find code"}\n'
        '{"_id": "q2", "text": "read", "metadata": {"instruction": "Find prose"}}\n'
        '{"_id": "q3", "text": "read"}\n'
    )
    done = cli("search", index, "--queries", queries, "-i", "Find a list", "-k", 2, "--run", tmp_path / "run.trec")
    assert done.code == 0 and done.out == ""
    run = tart.Run.read_trec(tmp_path / "run.trec")
    assert {query_id: len(hits) for query_id, hits in run.items()} == {"q1": 2, "q2": 2, "q3": 2}
    searcher = tart.Searcher.open(index)
    for query_id, wish in (("q1", "Find code"), ("q2", "Find prose"), ("q3", "Find a list")):
        expected = [(hit.doc_id, pytest.approx(hit.score, abs=1e-6)) for hit in searcher.search("read", wish, k=2)]
        assert [tuple(hit) for hit in run[query_id]] == expected


def test_info_of_an_index_and_of_a_model(cli: Cli, index: Path, tiny_model_folder: Path) -> None:
    facts = json.loads(cli("info", index).out)
    assert facts["documents"] == 3 and facts["text_format"]["name"] == "tart-dual" and facts["model"]["dim"] == 32
    assert facts["search"] == {"backend": "torch", "why": "there is a GPU", "lean_form": None}
    verified = cli("info", index, "--verify")
    assert verified.code == 0 and "parts are whole" in verified.err
    assert json.loads(cli("info", tiny_model_folder).out)["text_format"] == PRESETS["tart-dual"].to_dict()
    assert json.loads(cli("info", "minilm").out)["family"] == "bi-encoder"


def test_export_writes_a_plain_folder(cli: Cli, tiny_model_folder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    assert cli("export", tiny_model_folder, "--output", tmp_path / "plain").code == 0
    texts = ["one text", "another"]
    ours = tart.load_encoder(tiny_model_folder).encode_documents(texts)
    assert (SentenceTransformer(str(tmp_path / "plain")).encode(texts) == ours).all()


@pytest.mark.parametrize("there", [True, False])
def test_the_card_of_an_exported_model_shows_its_picture_or_none(
    cli: Cli, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr("tart.models.export._write_lean", lambda model, folder: None)
    trained = shutil.copytree(tiny_model_folder, tmp_path / "trained")
    (trained / "README.md").write_text("# A model\n\n![loss over the steps](curves.png)\n\n## Data\n")
    if there:
        (trained / "curves.png").write_bytes(b"a picture")
    assert cli("export", trained, "--output", tmp_path / "plain").code == 0
    card = (tmp_path / "plain" / "README.md").read_text()
    assert "# A model" in card and "## Data" in card
    assert ("(curves.png)" in card) == (tmp_path / "plain" / "curves.png").is_file() == there


BAD_CORPORA = {
    "bad JSON": ([GOOD[0], '{"_id": "b", "text": '], ":2: not valid JSON"),
    "no object": ([GOOD[0], "[1, 2]"], ":2: wanted a JSON object, found list"),
    "missing id": ([GOOD[0], '{"text": "x"}'], ":2: field '_id': is missing"),
    "blank id": ([GOOD[0], '{"_id": " ", "text": "x"}'], ":2: field '_id': must not be empty"),
    "id that is no string": (['{"_id": 7, "text": "x"}'], ":1: field '_id': must be a string, found int"),
    "repeated id": ([*GOOD, GOOD[1]], ":4: field '_id': 'b' stands in line 2 too"),
    "missing text": (['{"_id": "a"}'], ":1: field 'text': is missing"),
    "text that is no string": (
        [GOOD[0], '{"_id": "b", "text": 3.5}'],
        ":2: field 'text': must be a string, found float",
    ),
    "title that is no string": (['{"_id": "a", "text": "", "title": []}'], ":1: field 'title': must be a string"),
    "no document": (["", "  "], ": holds no document"),
}


@pytest.mark.parametrize("name", BAD_CORPORA)
def test_a_bad_corpus_is_refused_by_file_line_and_field(
    cli: Cli, tiny_model_folder: Path, tmp_path: Path, name: str
) -> None:
    lines, message = BAD_CORPORA[name]
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(lines) + "\n")
    outcome = cli("index", path, "--model", tiny_model_folder, "-o", tmp_path / "index")
    assert outcome.code == 1 and outcome.out == ""
    assert outcome.err.startswith(f"error: {path}{message}") and outcome.err.count("\n") == 1
    assert not (tmp_path / "index").exists() and not list(tmp_path.glob("*.new"))


def test_crlf_and_bom_work(cli: Cli, tiny_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(GOOD).encode() + b"\r\n")
    assert cli("index", path, "--model", tiny_model_folder, "-o", tmp_path / "index").code == 0
    searcher = tart.Searcher.open(tmp_path / "index")
    assert [searcher.documents.at(row).doc_id for row in range(3)] == ["a", "b", "c"]


def test_bytes_that_are_no_utf8_are_named(cli: Cli, tiny_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(GOOD[0].encode() + b'\n{"_id": "b", "text": "caf\xe9"}\n')
    outcome = cli("index", path, "--model", tiny_model_folder, "-o", tmp_path / "index")
    assert outcome.code == 1 and f"{path}:2: not UTF-8 (byte 26 of the line)" in outcome.err


def test_standard_input(cli: Cli, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(GOOD).encode())))
    assert cli("index", "-", "--model", tiny_model_folder, "-o", tmp_path / "index").out.endswith("3 documents\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    outcome = cli("index", "-", "--model", tiny_model_folder, "-o", tmp_path / "other")
    assert outcome.err == "error: standard input:1: field 'text': is missing\n"


def test_missing_and_unreadable_files(cli: Cli, index: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.jsonl"
    for arguments in (
        ["index", gone, "-m", tiny_model_folder, "-o", tmp_path / "x"],
        ["search", index, "--queries", gone],
    ):
        outcome = cli(*arguments)
        assert outcome.code == 1 and outcome.err == f"error: {gone}: no such file\n"
    (tmp_path / "image.png").write_bytes(b"")
    outcome = cli("index", tmp_path / "image.png", "-m", tiny_model_folder, "-o", tmp_path / "x")
    assert outcome.code == 2 and "don't know how to read .png; wanted .jsonl or .tsv" in outcome.err


def test_no_index_there(cli: Cli, tmp_path: Path) -> None:
    assert cli("search", tmp_path / "none", "x").err == f"error: {tmp_path / 'none'}: no such folder\n"
    outcome = cli("search", tmp_path, "x")
    assert outcome.code == 1 and "no finished tart-index folder: manifest.json is missing" in outcome.err


def test_unknown_models_suggest_near_names(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    outcome = cli("index", corpus, "--model", "minilmm", "-o", tmp_path / "x")
    assert outcome.code == 2 and outcome.err.startswith("error: unknown model 'minilmm'; did you mean minilm")
    outcome = cli("index", corpus, "--model", "./gone", "-o", tmp_path / "x")
    assert outcome.code == 2 and outcome.err == "error: no model folder './gone'\n"
    outcome = cli("index", corpus, "--model", "minilm", "--text-format", "e6", "-o", tmp_path / "x")
    assert outcome.code == 2 and "unknown text format 'e6'; did you mean e5" in outcome.err


def test_a_hub_name_without_network_says_what_to_do(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    outcome = cli("index", corpus, "--model", "facebook/contriever", "-o", tmp_path / "x")
    assert outcome.code == 1 and outcome.err.count("\n") == 1
    assert "can't load 'facebook/contriever' from the Hugging Face hub" in outcome.err
    assert "(hf download facebook/contriever) and copy its folder from the cache there into" in outcome.err


def test_wrong_usage_is_exit_code_2(cli: Cli, index: Path, tmp_path: Path) -> None:
    assert cli("search", index).err == "error: give a query, or --queries with a file of them\n"
    for arguments in (
        ["search", index],
        ["search", index, "x", "-k", 0],
        ["search", index, "x", "-k", -3],
        ["search", index, "x", "-k", "many"],
        ["search", index, "x", "--mode", "bm25"],
        ["search", index, "x", "-i", " "],
        ["search", index, "x", "--json", "--run", tmp_path / "r"],
        ["search", index, "x", "--rerank", "no-such-model"],
        ["info", "minilm", "--verify"],
        ["index"],
        ["nonsense"],
    ):
        outcome = cli(*arguments)
        assert (outcome.code, outcome.out) == (2, ""), arguments
        assert outcome.err.strip()


def test_an_empty_query_is_refused(cli: Cli, index: Path, tmp_path: Path) -> None:
    outcome = cli("search", index, "  ")
    assert outcome.code == 1 and outcome.err == "error: field 'text': must not be empty\n"
    (tmp_path / "q.jsonl").write_text('{"_id": "1", "text": "x"}\n{"_id": "2", "text": ""}\n')
    outcome = cli("search", index, "--queries", tmp_path / "q.jsonl")
    assert outcome.err == f"error: {tmp_path / 'q.jsonl'}:2: field 'text': must not be empty\n"


def test_a_long_query_is_cut_and_that_is_told(cli: Cli, index: Path) -> None:
    outcome = cli("search", index, "many words " * 100_000, "-i", "Find code")
    shown = " ".join(outcome.out.split())
    assert outcome.code == 0 and "encoded: Find code [SEP] many words" in shown and "tokens cut off)" in shown


@pytest.mark.parametrize("query", ["\ud800", "a\x00b", "שלום", "🎉🎉", "'; DROP TABLE", "[bold]"])
def test_odd_queries_work(cli: Cli, index: Path, query: str) -> None:
    for mode in ("dense", "sparse", "hybrid"):
        assert cli("search", index, query, "--mode", mode).code == 0


def test_an_existing_index_is_kept_unless_told(cli: Cli, index: Path, corpus: Path, tiny_model_folder: Path) -> None:
    outcome = cli("index", corpus, "--model", tiny_model_folder, "-o", index)
    assert outcome.code == 1 and "exists already; choose another name, or overwrite it (--overwrite)" in outcome.err
    assert cli("index", corpus, "--model", tiny_model_folder, "-o", index, "--overwrite").code == 0


def test_an_index_refuses_a_model_that_changed(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    from tart.testing import tiny_sentence_transformer

    for seed in (0, 1):
        encoder = tart.BiEncoder(tiny_sentence_transformer(seed=seed), PRESETS["tart-dual"], "tiny")
        encoder.save(tmp_path / "model")
        if seed == 0:
            assert cli("index", corpus, "--model", tmp_path / "model", "-o", tmp_path / "index").code == 0
    outcome = cli("search", tmp_path / "index", "x")
    assert outcome.code == 1 and "was made by the model" in outcome.err and "or build it again" in outcome.err


def test_the_installed_command_runs() -> None:
    done = subprocess.run([Path(sys.executable).parent / "tart", "--help"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in ("index", "search", "demo", "info", "export"))


def test_tune_prints_a_table_saves_the_setting_and_draws(
    cli: Cli, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "read a file", "instruction": "Find code"}\n')
    outcome = cli("tune", index, "--queries", tmp_path / "queries.jsonl", "--ann", "HNSW8", "--recall", "0.5")
    assert outcome.code == 0 and "HNSW8" in outcome.out and "recall@10" in outcome.out
    assert f"picture: {tmp_path / 'index.tune.png'}" in outcome.err and (tmp_path / "index.tune.png").stat().st_size
    monkeypatch.chdir(index)
    assert f"picture: {tmp_path / 'index.tune.png'}" in cli("tune", ".", "--ann", "HNSW8", "--recall", "0.5").err
    assert cli("search", index, "read a file", "--exact").code == 0
    assert cli("info", index, "--verify").code == 0


def test_an_index_can_be_tuned_as_it_is_built(cli: Cli, corpus: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    build = ("index", corpus, "--model", tiny_model_folder, "--output", tmp_path / "tuned")
    outcome = cli(*build, "--ann", "nonsense")
    assert outcome.code == 2 and "'nonsense' is no index for 32 dimensions" in outcome.err
    assert not (tmp_path / "tuned").exists()
    outcome = cli(*build, "--ann", "HNSW8")
    assert outcome.code == 0 and "recall 1.000" in outcome.out
