"""BEIR's layout: what is read, what is refused, and downloads that can't leave half a folder."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from pathlib import Path

import pytest

from eval import beir_download
from eval.beir_download import download_beir
from eval.beir_suite import CQADUPSTACK, INSTRUCTIONS, load_beir, load_beir_suite, read_qrels
from tart.errors import ConfigError, DataError, DownloadError, StorageError

FILES = {
    "corpus.jsonl": '{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "text": "two"}\n',
    "queries.jsonl": '{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "second"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t-1\nq2\td2\t1\n",
}


def make(folder: Path, **changes: str) -> Path:
    for name, content in {**FILES, **{key.replace("__", "/"): value for key, value in changes.items()}}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_a_collection_is_read(tmp_path: Path) -> None:
    task = load_beir(make(tmp_path / "mine"))
    assert (task.name, task.suite, task.drop_identical_ids, task.wordings) == ("mine", "beir", True, ())
    assert list(task.collection.corpus) == ["d1", "d2"]
    assert [query.text for query in task.collection.queries] == ["first", "second"]
    assert task.collection.qrels == {"q1": {"d1": 2, "d2": -1}, "q2": {"d2": 1}}


def test_known_sets_have_their_own_instruction(tmp_path: Path) -> None:
    task = load_beir(make(tmp_path / "scifact"))
    assert task.unit == "abstract" and "scientific paper" in task.wordings[0].text
    assert len(task.wordings) >= 5 and len(set(task.wordings)) == len(task.wordings)


def test_every_public_set_has_an_instruction() -> None:
    import eval.beir_suite as suite

    assert set(beir_download.MD5) == set(suite._instructions())
    assert INSTRUCTIONS.is_file()


def test_ms_marco_is_scored_on_dev(tmp_path: Path) -> None:
    folder = make(tmp_path / "msmarco", **{"qrels/dev.tsv": "query-id\tcorpus-id\tscore\nq2\td1\t1\n"})
    assert load_beir(folder).collection.qrels == {"q2": {"d1": 1}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1\td1", ":2: wanted 3 columns separated by tabs, found 2"),
        ("q1\td1\t1.5", ":2: field 'score': '1.5' is not a whole number"),
        ("q1\td1\t1\nq1\td1\t0", ":3: query 'q1' and document 'd1' are judged twice"),
        ("", ": holds no judgement"),
    ],
)
def test_bad_judgements_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(f"query-id\tcorpus-id\tscore\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_qrels(path)
    assert str(caught.value) == f"{path}{message}"


def test_other_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_beir(tmp_path / "gone")
    with pytest.raises(DataError, match=r"queries.jsonl:1: field 'text': must not be empty"):
        load_beir(make(tmp_path / "a", **{"queries.jsonl": '{"_id": "q1", "text": ""}\n'}))
    with pytest.raises(DataError, match=r"corpus.jsonl: field '_id': 'd1'|corpus.jsonl:2: field '_id': 'd1' stands"):
        load_beir(make(tmp_path / "b", **{"corpus.jsonl": '{"_id": "d1", "text": ""}\n' * 2}))
    with pytest.raises(DataError, match=r"dev.tsv: no such file"):
        load_beir(make(tmp_path / "c"), split="dev")


def test_judgements_of_what_is_not_there_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make(tmp_path / "m", **{"qrels/test.tsv": "q1\td1\t1\nq1\tx1\t1\nq9\td1\t1\n"})
    with caplog.at_level(logging.WARNING):
        task = load_beir(folder)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "m: the judgements name 1 unknown queries: q9",
        "m: the judgements name 1 unknown documents: x1",
    ]
    assert task.collection.qrels["q1"] == {"d1": 1, "x1": 1}  # counts in the ideal, as for trec_eval


def test_a_folder_of_collections(tmp_path: Path) -> None:
    for name in ("one", "two", *(f"cqadupstack/{part}" for part in CQADUPSTACK)):
        make(tmp_path / name)
    assert [task.name for task in load_beir_suite(tmp_path, ["two"])] == ["two"]
    twelve = load_beir_suite(tmp_path, ["cqadupstack"])
    assert len(twelve) == 12 and {task.group for task in twelve} == {"cqadupstack"}
    assert len(load_beir_suite(tmp_path)) == 14
    assert [task.name for task in load_beir_suite(tmp_path / "one")] == ["one"]
    with pytest.raises(ConfigError, match="holds no collection 'twoo'; did you mean two"):
        load_beir_suite(tmp_path, ["twoo"])


def zipped(members: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def served(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the host answer with these bytes, whose checksum is right; gives the addresses that are asked."""
    asked: list[str] = []

    def fetch(url: str, path: str) -> None:
        asked.append(url)
        Path(path).write_bytes(content)

    monkeypatch.setitem(beir_download.MD5, "scifact", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(beir_download, "_fetch", fetch)
    return asked


def test_a_download_is_checked_unpacked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = served(zipped({f"scifact/{name}": content for name, content in FILES.items()}), monkeypatch)
    for _ in range(2):
        folder = download_beir("scifact", tmp_path, beir_download._fetch)
        assert len(load_beir(folder).collection.corpus) == 2
    assert asked == [f"{beir_download.HOST}/scifact.zip"]
    assert not list(folder.glob("*.zip"))


def test_bad_downloads_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = zipped({f"scifact/{name}": content for name, content in FILES.items()})

    def half(url: str, path: str) -> None:
        Path(path).write_bytes(good[: len(good) // 2])

    def fails(url: str, path: str) -> None:
        Path(path).write_bytes(b"some")
        raise ConnectionError("connection lost")

    with pytest.raises(DownloadError, match=r"bytes came with md5 .* wanted"):
        download_beir("scifact", tmp_path, half)
    with pytest.raises(DownloadError, match=r"can't be downloaded .connection lost.; fetch it elsewhere"):
        download_beir("scifact", tmp_path, fails)
    for content, message in ((b"<html>", "no whole zip archive"), (zipped({"a/../../evil": "x"}), "points outside")):
        served(content, monkeypatch)
        with pytest.raises(DownloadError, match=message):
            download_beir("scifact", tmp_path, beir_download._fetch)
    assert [path.name for path in tmp_path.iterdir()] == [".scifact.lock"]
    with pytest.raises(ConfigError, match="no public BEIR collection 'scifakt'; did you mean scifact"):
        download_beir("scifakt", tmp_path)


def test_two_downloads_of_one_set_do_not_meet(tmp_path: Path) -> None:
    def inner(url: str, path: str) -> None:
        download_beir("scifact", tmp_path, inner)

    with pytest.raises((DownloadError, StorageError), match="another process is writing this folder"):
        download_beir("scifact", tmp_path, inner)


def test_queries_keep_the_instruction_that_the_data_gives(tmp_path: Path) -> None:
    lines = [json.dumps({"_id": "q1", "text": "x", "metadata": {"instruction": "Find this"}})]
    task = load_beir(make(tmp_path / "scifact", **{"queries.jsonl": "\n".join(lines)}))
    assert task.own_queries()[0].instruction is not None
    assert task.own_queries()[0].instruction.text == "Find this"
