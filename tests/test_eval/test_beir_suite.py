"""BEIR's layout: what is read, what is refused, and downloads that can't leave half a folder."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import zipfile
from pathlib import Path

import pytest

from eval import beir_download
from eval.beir_download import download_beir
from eval.beir_suite import CQADUPSTACK, known_sets, load_beir, load_beir_suite, read_instructions, read_qrels
from tart.errors import ConfigError, DataError, DownloadError, StorageError

HEADER = "query-id\tcorpus-id\tscore\n"
FILES = {
    "corpus.jsonl": '{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "text": "two"}\n',
    "queries.jsonl": "".join(f'{{"_id": "q{n}", "text": "query {n}"}}\n' for n in (1, 2, 3)),
    "qrels/test.tsv": f"{HEADER}q1\td1\t2\nq1\td2\t0\nq2\td2\t1\n",
}


def make(folder: Path, **changes: str) -> Path:
    for name, content in {**FILES, **changes}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def test_a_collection_is_read_with_the_queries_that_are_judged(tmp_path: Path) -> None:
    task = load_beir(make(tmp_path / "mine"))
    assert (task.name, task.suite, task.wordings, task.unit) == ("mine", "beir", (), "")
    assert list(task.collection.corpus) == ["d1", "d2"]
    assert [query.text for query in task.collection.queries] == ["query 1", "query 2"]
    assert task.collection.qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}


def test_it_reads_what_beirs_own_loader_reads(tmp_path: Path) -> None:
    from beir.datasets.data_loader import GenericDataLoader
    from beir.util import write_to_tsv

    odd = '<dbpedia:"Weird_Al"_Yankovic>'  # beir quotes such ids when it writes and unquotes them when it reads
    corpus = "".join(json.dumps({"_id": doc_id, "title": "", "text": "é"}) + "\n" for doc_id in (odd, "d 2"))
    folder = make(tmp_path / "mine", **{"corpus.jsonl": corpus})
    write_to_tsv(str(folder / "qrels/test.tsv"), {"q3": {odd: 2}, "q1": {"d 2": 1, odd: 0}})  # type: ignore[dict-item]
    documents, queries, qrels = GenericDataLoader(str(folder)).load("test")
    collection = load_beir(folder).collection
    assert '""' in (folder / "qrels/test.tsv").read_text()
    assert collection.qrels == qrels and odd in collection.qrels["q1"]
    assert {query.query_id: query.text for query in collection.queries} == queries
    assert {d.doc_id: {"title": d.title, "text": d.text} for d in collection.corpus.values()} == documents


def test_beirs_own_sets_have_an_instruction_and_drop_identical_ids(tmp_path: Path) -> None:
    task = load_beir(make(tmp_path / "scifact"))
    assert task.unit == "abstract" and "scientific paper" in task.wordings[0].text
    assert task.own_queries()[0].instruction == task.wordings[0]
    assert task.drop_identical_ids
    assert not load_beir(make(tmp_path / "mine")).drop_identical_ids  # two numberings from 1 would lose documents
    assert load_beir(tmp_path / "mine", drop_identical_ids=True).drop_identical_ids
    assert load_beir(tmp_path / "mine", name="scifact").wordings == task.wordings


def test_every_public_set_has_several_wordings_of_its_wish() -> None:
    assert set(beir_download.MD5) == set(known_sets())
    for name, known in known_sets().items():
        assert len(known.wordings) >= 3, name
        assert all(w.unit == known.unit and w.intent and w.domain and w.text[-1] in ".?" for w in known.wordings), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a", "not valid TOML"),
        ('[a]\nunit = "x"', "field 'a': wanted the keys intent, domain, unit, wordings"),
        ('[a]\nintent = 1\ndomain = "d"\nunit = "u"\nwordings = ["w"]', "field 'a.intent': must be a string"),
        ('[a]\nintent = "i"\ndomain = "d"\nunit = "u"\nwordings = []', "field 'a.wordings': must be a list of strings"),
        ('[a]\nintent = "i"\ndomain = "d"\nunit = "u"\nwordings = [" "]', "field 'a.wordings': must be a list"),
        (
            '[a]\nintent = "i"\ndomain = "d"\nunit = "u"\nwordings = ["w", "w"]',
            "field 'a.wordings': holds a wording twice",
        ),
    ],
)
def test_a_bad_instruction_file_is_refused_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "instructions.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_instructions(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_ms_marco_is_scored_on_dev(tmp_path: Path) -> None:
    folder = make(tmp_path / "msmarco", **{"qrels/dev.tsv": f"{HEADER}q2\td1\t1\n"})
    assert load_beir(folder).collection.qrels == {"q2": {"d1": 1}}
    assert load_beir(folder, split="test").collection.qrels["q1"]["d1"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}q1\td1\n", ":2: wanted 3 columns separated by tabs, found 2"),
        (f"{HEADER}q1\td1\t1.5\n", ":2: field 'score': '1.5' is not a whole number"),
        (f"{HEADER}q1\td1\t{'1' * 5000}\n", f":2: field 'score': '{'1' * 40}' is not a whole number"),
        (f"{HEADER}q1\t \t1\n", ":2: field 'corpus-id': must not be empty"),
        (f"{HEADER}q1\td1\t1\nq1\td1\t0\n", ":3: query 'q1' and document 'd1' are judged twice"),
        (f"{HEADER}\n", ": holds no judgement"),
        ("q1\td1\t1\n", ":1: wanted the header query-id, corpus-id, score, found q1, d1, 1"),
        ("q1 0 d1 1\nq1 0 d2\n", ":2: wanted 4 columns separated by white space, found 3"),
        ("q1 0 d1 1\nq1 0 d2 x\n", ":2: field 'score': 'x' is not a whole number"),
    ],
)
def test_bad_judgements_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_qrels(path)
    assert str(caught.value) == f"{path}{message}"


def test_trec_judgements_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_bytes(b"q1 0 d1 2\r\nq1\tQ0\td2  -1\n\nq2 0 d1 0\n")
    assert read_qrels(path) == {"q1": {"d1": 2, "d2": -1}, "q2": {"d1": 0}}


def test_other_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_beir(tmp_path / "gone")
    with pytest.raises(DataError, match=r"queries.jsonl:1: field 'text': must not be empty"):
        load_beir(make(tmp_path / "a", **{"queries.jsonl": '{"_id": "q1", "text": ""}\n'}))
    with pytest.raises(DataError, match=r":2: field '_id': 'd1' stands in line 1"):
        load_beir(make(tmp_path / "b", **{"corpus.jsonl": '{"_id": "d1", "text": ""}\n' * 2}))
    with pytest.raises(DataError, match=r"dev.tsv: no such file; the splits that are there: test"):
        load_beir(make(tmp_path / "c"), split="dev")
    with pytest.raises(DataError, match=r"queries.jsonl: holds none of the 1 queries that test.tsv judges"):
        load_beir(make(tmp_path / "d", **{"qrels/test.tsv": f"{HEADER}q9\td1\t1\n"}))


def test_judgements_of_what_is_not_there_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unknown = "".join(f"q1\tx{row}\t1\n" for row in range(7))
    folder = make(tmp_path / "m", **{"qrels/test.tsv": f"{HEADER}q1\td1\t1\nq1\td2\t-1\n{unknown}q9\td1\t1\n"})
    with caplog.at_level(logging.WARNING):
        task = load_beir(folder)
    assert [record.getMessage() for record in caplog.records] == [
        "m: the judgements name 1 queries that aren't there (q9); they name 7 documents that aren't there "
        "(x0, x1, x2, x3, x4, ...); they hold 1 negative grades, which count as not relevant"
    ]
    assert len(task.collection.qrels["q1"]) == 9  # what isn't there counts in the ideal, as for trec_eval


def test_a_folder_of_collections(tmp_path: Path) -> None:
    for name in ("one", "two", *(f"cqadupstack/{part}" for part in CQADUPSTACK)):
        make(tmp_path / name)
    assert [task.name for task in load_beir_suite(tmp_path, ["two"])] == ["two"]
    twelve = load_beir_suite(tmp_path, ["cqadupstack"])
    assert [task.name for task in twelve] == [f"cqadupstack-{part}" for part in CQADUPSTACK]
    assert {(task.group, task.unit, task.drop_identical_ids) for task in twelve} == {("cqadupstack", "question", True)}
    assert twelve[0].wordings == known_sets()["cqadupstack"].wordings
    assert len(load_beir_suite(tmp_path)) == 14
    assert [task.name for task in load_beir_suite(tmp_path / "one")] == ["one"]
    with pytest.raises(ConfigError, match="holds no collection 'twoo'; did you mean two"):
        load_beir_suite(tmp_path, ["twoo"])


def test_another_collection_is_not_passed_over_where_the_folder_is_one_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "one")
    monkeypatch.chdir(tmp_path / "one")
    assert [task.name for task in load_beir_suite(".", ["one"])] == ["one"]
    with pytest.raises(ConfigError, match="is the collection 'one' itself and holds no 'two'; leave the names out"):
        load_beir_suite(".", ["two"])


def test_queries_keep_the_instruction_that_the_data_gives(tmp_path: Path) -> None:
    line = json.dumps({"_id": "q1", "text": "x", "metadata": {"instruction": "Find this"}})
    task = load_beir(make(tmp_path / "scifact", **{"queries.jsonl": line}))
    assert task.own_queries()[0].instruction is not None
    assert task.own_queries()[0].instruction.text == "Find this"


def zipped(members: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


GOOD = zipped({f"scifact/{name}": content for name, content in FILES.items()})


def serve(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the host answer with these bytes, whose checksum is right; gives the addresses that are asked."""
    asked: list[str] = []

    def fetch(url: str, path: str) -> None:
        asked.append(url)
        Path(path).write_bytes(content)

    monkeypatch.setitem(beir_download.MD5, "scifact", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(beir_download, "fetch_with_beir", fetch)
    return asked


def test_a_download_is_checked_unpacked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(GOOD, monkeypatch)
    for _ in range(2):
        folder = download_beir("scifact", tmp_path)
        assert len(load_beir(folder).collection.corpus) == 2
    assert asked == [f"{beir_download.HOST}/scifact.zip"]
    assert sorted(path.name for path in folder.iterdir()) == ["corpus.jsonl", "qrels", "queries.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>not found</html>", "no whole zip archive"),
        (GOOD[: len(GOOD) // 2], "no whole zip archive"),
        (zipped({"scifact/../../evil": "x"}), "points outside"),
        (zipped({"scifact/bomb": "0" * 1_000_000}), "times its size"),
        (zipped({"scifact/readme": "x"}), "holds neither corpus.jsonl nor folders with one"),
    ],
    ids=["page", "cut", "outside", "bomb", "something else"],
)
def test_a_bad_archive_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    serve(content, monkeypatch)
    with pytest.raises(DownloadError, match=message):
        download_beir("scifact", tmp_path / "cache")
    assert [path.name for path in tmp_path.rglob("*")] == ["cache", ".scifact.lock"]


def test_a_download_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(url: str, path: str) -> None:
        Path(path).write_bytes(GOOD[: len(GOOD) // 2])

    def lost(url: str, path: str) -> None:
        Path(path).write_bytes(b"some")
        raise ConnectionError("connection lost")

    def full(url: str, path: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(beir_download, "fetch_with_beir", half)
    with pytest.raises(
        DownloadError, match=r"scifact.zip: [\d,]+ bytes came with md5 \w+, wanted 5f7d1de6\w+; try again"
    ):
        download_beir("scifact", tmp_path)
    monkeypatch.setattr(beir_download, "fetch_with_beir", lost)
    with pytest.raises(DownloadError, match=r"can't be downloaded .connection lost.; fetch it elsewhere"):
        download_beir("scifact", tmp_path)
    monkeypatch.setattr(beir_download, "fetch_with_beir", full)
    with pytest.raises(StorageError, match="the disk is full"):
        download_beir("scifact", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".scifact.lock"]


def test_unknown_and_licensed_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no public BEIR collection 'scifakt'; did you mean scifact"):
        download_beir("scifakt", tmp_path)
    with pytest.raises(ConfigError, match="'robust04' can't be downloaded: its documents are licensed"):
        download_beir("robust04", tmp_path)


def test_two_downloads_of_one_set_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def inner(url: str, path: str) -> None:
        download_beir("scifact", tmp_path)

    monkeypatch.setattr(beir_download, "fetch_with_beir", inner)
    with pytest.raises(StorageError, match="another process is writing this folder"):
        download_beir("scifact", tmp_path)
