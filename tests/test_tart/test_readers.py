"""Reading documents and queries from files; what the command line's tests already refuse isn't repeated here."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tart.collection import Document, Query
from tart.errors import ConfigError, DataError
from tart.index.readers import PASSAGE_CHARACTERS, read_documents, read_queries
from tart.instruction import Instruction


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_documents(path))
    return str(caught.value)


# --- tab-separated values


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        ("a\tone\nb\ttwo\n", [Document("a", "one"), Document("b", "two")]),
        ("a\tone\tTitle\nb\ttwo\n", [Document("a", "one", "Title"), Document("b", "two")]),
        ("id\ttext\na\tone\n", [Document("a", "one")]),
        ("_id\ttext\ttitle\na\tone\tTitle\nb\ttwo\n", [Document("a", "one", "Title"), Document("b", "two")]),
        ("pid\ttitle\ttext\na\tTitle\tone\n", [Document("a", "one", "Title")]),
        ("text\tid\none\ta\n", [Document("a", "one")]),
        ("id\tauthor\ttext\na\tme\tone\n", [Document("a", "one")]),  # a column that nobody asked for
        ("\ufeffid\ttext\r\n\r\na\tone\r\n", [Document("a", "one")]),
        ("\n\t\nid\ttext\na\tone\n", [Document("a", "one")]),  # blank lines before the header
        ("a\tone\nid\ttext\n", [Document("a", "one"), Document("id", "text")]),  # too late for a header
        ("a\t\t\nb\t \n", [Document("a", ""), Document("b", " ")]),
        ('a\t"one\n', [Document("a", '"one')]),  # quotes are text
        ("text\tid of the text\n", [Document("text", "id of the text")]),  # no header: no column called id
    ],
)
def test_tsv_with_and_without_header(tmp_path: Path, content: str, documents: list[Document]) -> None:
    assert list(read_documents(write(tmp_path / "d.tsv", content))) == documents
    assert list(read_documents(str(write(tmp_path / "d.tab", content)))) == documents


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a\tone\nb\n", ":2: wanted 2 to 3 columns separated by tabs, found 1"),
        ("a\tone\ttitle\tmore\n", ":1: wanted 2 to 3 columns separated by tabs, found 4"),
        ("id\ttext\na\tone\ttitle\n", ":2: wanted 2 columns separated by tabs, found 3"),
        ("id\ttext\ttitle\tmore\na\n", ":2: wanted 2 to 4 columns separated by tabs, found 1"),
        ("id\ttitle\ttext\na\tTitle\n", ":2: field 'text': is missing"),
        ("title\ttext\tid\nTitle\tone\n", ":2: field 'id': is missing"),
        ("a\tone\n\n \ttwo\n", ":3: field 'id': must not be empty"),
        ("a\tone\nb\ttwo\na\tthree\n", ":3: field '_id': 'a' stands in line 1 too"),
        ("id\ttext\n", ": holds no document"),
    ],
)
def test_bad_tsv_lines_are_named(tmp_path: Path, content: str, problem: str) -> None:
    path = write(tmp_path / "d.tsv", content)
    assert refused(path) == f"{path}{problem}"


# --- JSON lines


def test_a_folder_with_a_corpus_file_is_that_file(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt", "not a document")
    path = write(tmp_path / "corpus.jsonl", '{"_id": "a", "text": "one", "title": null, "metadata": {}}\n')
    assert list(read_documents(tmp_path)) == [Document("a", "one")]
    write(path, '{"_id": "a", "text": ""}\n\n{"_id": "a", "text": "two"}\n')
    assert refused(tmp_path) == f"{path}:3: field '_id': 'a' stands in line 1 too"
    write(path, '{"_id": "a"}')
    assert refused(tmp_path) == f"{path}:1: field 'text': is missing"
    write(path, "")
    assert refused(tmp_path) == f"{path}: holds no document"


def test_documents_are_read_one_by_one(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", '{"_id": "a", "text": "one"}\nno JSON\n')
    documents = read_documents(path)
    assert next(documents) == Document("a", "one")
    with pytest.raises(DataError, match=r"d\.jsonl:2: not valid JSON"):
        next(documents)


def test_standard_input_is_called_so_in_every_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for content, problem in (
        (b'{"_id": "a", "text": ""}\n' * 2, ":2: field '_id': 'a' stands in line 1 too"),
        (b"", ": holds no document"),
        (b"\n\xff", ":2: not UTF-8 (byte 1 of the line)"),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        with pytest.raises(DataError) as caught:
            list(read_documents("-"))
        assert str(caught.value) == f"standard input{problem}"


def test_odd_texts_come_through(tmp_path: Path) -> None:
    documents = [
        Document("a b", "line\nline\u2028line", "\ud800"),
        Document("é/🎉", "\x00 שלום", ""),
        Document(" a", "x" * 100_000),
    ]
    rows = [json.dumps({"_id": d.doc_id, "text": d.text, "title": d.title}) for d in documents]
    assert list(read_documents(write(tmp_path / "d.jsonl", "\n".join(rows)))) == documents
    rows[0] = json.dumps({"_id": "a", "text": "line\u2028line"}, ensure_ascii=False)
    assert next(read_documents(write(tmp_path / "d.jsonl", "\n".join(rows)))).text == "line\u2028line"


def test_what_is_nowhere_or_of_another_kind(tmp_path: Path) -> None:
    for name in ("gone", "gone.txt", "gone.tsv"):
        assert refused(tmp_path / name).startswith(f"{tmp_path / name}: no such file")
    for name, kind in (("data.csv", ".csv"), ("data", "a file without suffix"), ("d.JSONL", ".JSONL")):
        with pytest.raises(ConfigError, match=f"{name}: don't know how to read {kind}; wanted .jsonl or .tsv"):
            list(read_documents(write(tmp_path / name, "x")))


# --- folders of text


def test_a_folder_of_texts(tmp_path: Path) -> None:
    long = "w" * (PASSAGE_CHARACTERS // 2)
    write(tmp_path / "b" / "notes.md", f"\n\n# Head\n{long}\n\n\nsecond\nblock\n\nthird\n")
    write(tmp_path / "a.PY", "print('one')\r\n\r\nprint('two')")
    write(tmp_path / "c d.txt", "  indented\n")
    assert list(read_documents(tmp_path)) == [
        Document("a.PY:1", "print('one')\n\nprint('two')", "a.PY"),  # short blocks stay together
        Document("b/notes.md:3", f"# Head\n{long}", "b/notes.md"),
        Document("b/notes.md:7", "second\nblock\n\nthird", "b/notes.md"),
        Document("c d.txt:1", "  indented", "c d.txt"),
    ]


def test_passages_keep_every_line_in_its_place_within_the_limit(tmp_path: Path) -> None:
    lines = [f"{n} " + "x" * (n * 37 % 300) if n % 7 else "" for n in range(400)]
    write(tmp_path / "long.txt", "\n".join(lines))
    found = list(read_documents(tmp_path))
    assert len(found) > 20
    covered = []
    for document in found:
        start = int(document.doc_id.removeprefix("long.txt:"))
        inside = document.text.split("\n")
        assert inside == lines[start - 1 : start - 1 + len(inside)] and inside[0] and inside[-1]
        assert len(document.text) <= PASSAGE_CHARACTERS
        covered += [line for line in inside if line]
    assert covered == [line for line in lines if line]


def test_files_without_blank_lines_are_cut_and_lines_are_not(tmp_path: Path) -> None:
    write(tmp_path / "dense.txt", "\n".join(f"line {n:03}" for n in range(1000)))  # 9 signs with the line feed
    found = list(read_documents(tmp_path))
    assert [int(d.doc_id.split(":")[1]) for d in found[:3]] == [1, 112, 223]  # 111 * 9 - 1 <= 1000 < 112 * 9 - 1
    assert "\n".join(d.text for d in found) == (tmp_path / "dense.txt").read_text()
    write(tmp_path / "dense.txt", f"before\n{'x' * 5000}\nafter")
    assert [d.text for d in read_documents(tmp_path)] == ["before", "x" * 5000, "after"]


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "kept.txt", "kept")
    for name in (".hidden.txt", ".git/config.txt", "a/.cache/b/deep.md", "empty.txt", "blank.md"):
        write(tmp_path / name, "" if "empty" in name else " \n\t\n" if "blank" in name else "x")
    write(tmp_path / "image.png", b"\x89PNG\xff")
    write(tmp_path / "no_suffix", "x")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "broken.txt").symlink_to("nowhere")
    assert [d.doc_id for d in read_documents(tmp_path)] == ["kept.txt:1"]


def test_a_hidden_folder_itself_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / ".notes" / "a.txt", "x")
    assert [d.doc_id for d in read_documents(tmp_path / ".notes")] == ["a.txt:1"]


def test_a_folder_without_text_or_with_bytes_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path / "image.png", b"x")
    assert refused(tmp_path) == f"{tmp_path}: holds no document"
    write(tmp_path / "sub" / "latin.txt", b"fine\ncaf\xe9\n")
    assert refused(tmp_path) == f"{tmp_path / 'sub' / 'latin.txt'}:2: not UTF-8 (byte 4 of the line)"


# --- queries


def queries(path: Path, *rows: object) -> Path:
    return write(path, "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))


def test_queries_with_their_instructions(tmp_path: Path) -> None:
    path = queries(
        tmp_path / "q.jsonl",
        {"_id": "top", "text": "x", "instruction": "Find code"},
        "",
        {"_id": "meta", "text": "x", "metadata": {"instruction": "Find prose", "more": 1}},
        {"_id": "both", "text": "x", "instruction": "Find code", "metadata": {"instruction": "Find prose"}},
        {"_id": "plain", "text": "x"},
        {"_id": "null", "text": "x", "instruction": None},
        {"_id": "text", "text": "x", "metadata": "instruction"},
        {"_id": "list", "text": "x", "metadata": ["instruction"]},
        {"_id": "nested", "text": "x", "metadata": {"inner": {"instruction": "Find prose"}}},
        {"_id": "none", "text": "x", "metadata": None},
    )
    code, prose = Instruction("Find code"), Instruction("Find prose")
    with_one = [Query("top", "x", code), Query("meta", "x", prose), Query("both", "x", code)]
    without = [Query(name, "x") for name in ("plain", "null", "text", "list", "nested", "none")]
    assert list(read_queries(path)) == with_one + without


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"_id": "b", "text": "x", "instruction": ""}, "field 'instruction': must be a string that isn't blank"),
        ({"_id": "b", "text": "x", "instruction": ["y"]}, "field 'instruction': must be a string that isn't blank"),
        ({"_id": "b", "text": "x", "metadata": {"instruction": 3}}, "field 'instruction': must be a string that"),
        ({"_id": "a", "text": "x"}, "field '_id': 'a' stands in line 1 too"),
        ({"_id": 3, "text": "x"}, "field '_id': must be a string, found int"),
        ({"text": "x"}, "field '_id': is missing"),
        ({"_id": "b"}, "field 'text': is missing"),
        ({"_id": "b", "text": " "}, "field 'text': must not be empty"),
        ("{", "not valid JSON"),
        ("7", "wanted a JSON object, found int"),
    ],
)
def test_bad_queries_are_named(tmp_path: Path, row: object, problem: str) -> None:
    path = queries(tmp_path / "q.jsonl", {"_id": "a", "text": "x"}, "", row)
    with pytest.raises(DataError) as caught:
        list(read_queries(path))
    assert str(caught.value).startswith(f"{path}:3: {problem}")


def test_a_file_without_a_query(tmp_path: Path) -> None:
    path = queries(tmp_path / "q.jsonl", "", " ")
    with pytest.raises(DataError, match=r"q\.jsonl: holds no query"):
        list(read_queries(path))
