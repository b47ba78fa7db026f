"""Documents on disk are the documents that were written, and damage is named."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tart.collection import Document
from tart.errors import DataError
from tart.index import documents as documents_module
from tart.index.documents import DocumentStore, load_array, write_documents

ODD = [
    Document("b", "plain text", "Title"),
    Document("a", "", ""),
    Document("lone \ud800", "\udfff and \ud83c alone", "\udc00"),
    Document("nul\x00", "\x00\x01\x1f\x7f", "\x00"),
    Document("🎉", "emoji 👩‍👩‍👧", "🏳️‍🌈"),
    Document("שלום", "right \u202eto\u202c left", "مرحبا"),
    Document("lines", "one\ntwo\r\nthree\u2028four\u2029five\x85six", "\n"),
    Document(' "quoted\\', '{"_id": "b"}\n', "\\u0041"),
    Document("long", "x" * 100_000),
    Document("0", "e\u0301 is not é"),
    Document("é", "composed"),
    Document("e\u0301", "decomposed"),
]


def stored(folder: Path, documents: list[Document]) -> DocumentStore:
    write_documents(folder, iter(documents))
    return DocumentStore(folder)


def check(store: DocumentStore, documents: list[Document]) -> None:
    assert len(store) == len(documents)
    assert list(store) == [document.doc_id for document in documents]
    assert list(store.in_order()) == list(store.values()) == documents
    for row, document in enumerate(documents):
        assert store.row(document.doc_id) == row and store.at(row) == document == store[document.doc_id]
        assert document.doc_id in store


def test_odd_documents_come_back_as_they_went_in(tmp_path: Path) -> None:
    check(stored(tmp_path, ODD), ODD)


anything = st.text(st.characters(codec=None, exclude_categories=[]), max_size=5)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.builds(Document, anything.filter(str.strip), anything, anything), min_size=1, max_size=6))
def test_any_documents_come_back_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    documents = list({document.doc_id: document for document in documents}.values())
    check(stored(tmp_path_factory.mktemp("store"), documents), documents)


def test_many_documents_are_found_by_id(tmp_path: Path) -> None:
    documents = [Document(f"d{n}", f"text {n}") for n in random.Random(0).sample(range(10_000), 3000)]
    store = stored(tmp_path, documents)
    assert all(store.row(document.doc_id) == row for row, document in enumerate(documents))


def test_ids_that_are_not_there(tmp_path: Path) -> None:
    store = stored(tmp_path, ODD)
    for doc_id in ("c", "", "A", "b ", "lone \ud801", "nul"):
        with pytest.raises(KeyError) as caught:
            store[doc_id]
        assert caught.value.args == (doc_id,)
        assert doc_id not in store and store.get(doc_id) is None


def test_ids_of_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents_module, "_id_hash", lambda doc_id: 2**64 - 1)
    store = stored(tmp_path, ODD)
    check(store, ODD)
    with pytest.raises(KeyError, match="other"):
        store["other"]


def test_the_file_is_a_plain_corpus_file(tmp_path: Path) -> None:
    stored(tmp_path, ODD)
    rows = [json.loads(line) for line in (tmp_path / "corpus.jsonl").read_bytes().split(b"\n")[:-1]]
    assert rows == [{"_id": d.doc_id, "title": d.title, "text": d.text} for d in ODD]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"_id": "b", "title": "", "text": "}', "Invalid control character"),
        (b"[1]", "list indices must be integers"),
        (b'{"_id": "b", "title": ""}', "'text'"),
        (b'{"_id": "b", "title": "", "text": 7}', "field 'text': must be a string, got int"),
        (b'{"_id": " ", "title": "", "text": ""}', "field 'doc_id': must not be empty"),
        (b"\xff\xff", "can't decode byte"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, problem: str) -> None:
    write_documents(tmp_path, [Document("a", "x"), Document("b", "y" * 60), Document("c", "z")])
    path = tmp_path / "corpus.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = line.ljust(len(lines[1]))  # all lines stay where they are
    path.write_bytes(b"\n".join(lines))
    store = DocumentStore(tmp_path)
    assert store.at(0) == Document("a", "x") and store["c"] == Document("c", "z")
    with pytest.raises(DataError) as caught:
        store.at(1)
    assert str(caught.value).startswith(f"{path}:2: damaged (") and problem in str(caught.value)
    assert str(caught.value).endswith("); build the index again")
    with pytest.raises(DataError, match=r"corpus\.jsonl:2: damaged"):
        list(store.in_order())


def test_files_of_different_builds_are_refused(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    for folder, count in ((few, 3), (many, 4)):
        folder.mkdir()
        write_documents(folder, [Document(f"d{n}", "x") for n in range(count)])
    for name in ("corpus.jsonl", "offsets.npy", "ids.npy"):
        content = (few / name).read_bytes()
        (few / name).write_bytes((many / name).read_bytes())
        with pytest.raises(DataError) as caught:
            DocumentStore(few)
        problem = "doesn't fit offsets.npy and ids.npy; build the index again"
        assert str(caught.value) == f"{few / 'corpus.jsonl'}: {problem}"
        (few / name).write_bytes(content)
    np.save(few / "offsets.npy", np.zeros((4, 2)))
    with pytest.raises(DataError, match=r"corpus\.jsonl: doesn't fit offsets\.npy"):
        DocumentStore(few)


@pytest.mark.parametrize("name", ["corpus.jsonl", "offsets.npy", "ids.npy"])
def test_files_that_are_missing_or_empty_are_named(tmp_path: Path, name: str) -> None:
    write_documents(tmp_path, [Document("a", "x")])
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        DocumentStore(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: damaged")
    (tmp_path / name).unlink()
    with pytest.raises(DataError) as caught:
        DocumentStore(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: damaged") and "No such file" in str(caught.value)


def test_a_flipped_bit_anywhere_is_a_data_error_or_an_unknown_id(tmp_path: Path) -> None:
    documents = [Document(f"d{n}", f"text {n}") for n in range(5)]
    write_documents(tmp_path, documents)
    generator, damaged_reads = random.Random(0), 0
    for name in ("ids.npy", "offsets.npy", "corpus.jsonl"):
        content = (tmp_path / name).read_bytes()
        for position in range(len(content)):
            damaged = bytearray(content)
            damaged[position] ^= 1 << generator.randrange(8)
            (tmp_path / name).write_bytes(damaged)
            try:
                store = DocumentStore(tmp_path)
                for document in documents:
                    store.get(document.doc_id)
                list(store.in_order())
            except DataError as error:
                assert str(error).startswith(str(tmp_path))
                damaged_reads += 1
        (tmp_path / name).write_bytes(content)
    assert damaged_reads > 200


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"ids\.npy: damaged: no array file \(.*build the folder again"):
        load_array(tmp_path / "ids.npy")
    with pytest.raises(DataError, match=r"gone\.npy: damaged: no array file"):
        load_array(tmp_path / "gone.npy")
