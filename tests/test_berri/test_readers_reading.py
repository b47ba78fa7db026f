"""Readers of reading tests, dialogues, paraphrases, fact checks and policies: rows by hand, broken rows told."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError


def source(folder: Path, **files: str) -> SourceFiles:
    names = [name.replace("__", ".") for name in files]
    for name, text in zip(names, files.values(), strict=True):
        (folder / name).write_text(text)
    return SourceFiles(folder, names)


def test_a_story_has_four_questions_without_their_marks(tmp_path: Path) -> None:
    items = [text for number in range(4) for text in (f"{'one' if number else 'multiple'}: Q{number}?", *"abcd")]
    line = "\t".join(["id", "Author: x", r"Once.\newline\newlineThe  end.", *items])
    rows = list(find_reader("mctest")(source(tmp_path, a__tsv=line + "\n")))
    assert rows == [{"story": "Once. The end.", "question": ["Q0?", "Q1?", "Q2?", "Q3?"]}]
    with pytest.raises(DataError, match=r"a\.tsv:2: wanted 23 columns, found 2"):
        list(find_reader("mctest")(source(tmp_path, a__tsv=line + "\nid\tx\n")))


def test_answers_of_one_or_two_words_are_left_out(tmp_path: Path) -> None:
    answers = [("Yes", 1), ("Down by the sea", 1), ("Up in the hills", 0), ("Nowhere", 0)]
    item = {"question": "Where?", "answers": [{"text": text, "label": label} for text, label in answers]}
    line = json.dumps({"passage": {"text": "They swam.", "questions": [item]}})
    rows = list(find_reader("multirc")(source(tmp_path, a__jsonl=line + "\n")))
    answered = {"answer": ["Down by the sea"], "wrong": ["Up in the hills"]}
    assert rows == [{"question": "Where?", "passage": "They swam.", **answered}]
    with pytest.raises(DataError, match=r"a\.jsonl:2: wanted an object with a passage and its questions"):
        list(find_reader("multirc")(source(tmp_path, a__jsonl=line + '\n{"text": 1}\n')))


def dialogues(folder: Path, item: dict[str, Any]) -> SourceFiles:
    content = json.dumps(item).encode()
    with tarfile.open(folder / "raw.tar", "w") as archive:
        info = tarfile.TarInfo("train_1.txt")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return SourceFiles(folder, ["raw.tar"])


def test_the_reply_is_the_option_that_the_letter_names(tmp_path: Path) -> None:
    item = {"answers": "C", "options": ["f: a", "f: b", "f: c", "f: d"], "article": "m: hello"}
    rows = list(find_reader("mutual")(dialogues(tmp_path, item)))
    assert rows == [{"context": "m: hello", "reply": "f: c", "wrong": ["f: a", "f: b", "f: d"]}]
    with pytest.raises(DataError, match=r"raw\.tar/train_1\.txt: wanted a dialogue with its options"):
        list(find_reader("mutual")(dialogues(tmp_path, {**item, "answers": "E"})))


LINES = {"parts": ["x_"], "first": "a", "second": "b", "label": "sim"}


def test_only_lines_with_label_one_are_paraphrases(tmp_path: Path) -> None:
    files = source(tmp_path, x_a="one\ntwo\n", x_b="uno\ntres\n", x_sim="1\n0\n")
    assert list(find_reader("labelled-lines")(files, **LINES)) == [{"first": "one", "same": "uno"}]
    with pytest.raises(DataError, match=r"x_sim:2: wanted 0 or 1, found '2'"):
        list(find_reader("labelled-lines")(source(tmp_path, x_a="o\nt\n", x_b="u\nd\n", x_sim="1\n2\n"), **LINES))
    with pytest.raises(DataError, match=r"the files of 'x_' differ in their number of lines: 1, 2, 1"):
        list(find_reader("labelled-lines")(source(tmp_path, x_a="o\n", x_b="u\nd\n", x_sim="1\n"), **LINES))


def test_questions_on_policies_name_the_site_and_answers_have_five_words(tmp_path: Path) -> None:
    asked = {"question": "Is it sold?", "answers": [{"text": "we never sell your data"}, {"text": "third parties"}]}
    policy = {"title": "a.com", "paragraphs": [{"context": "Here we never sell your data.", "qas": [asked]}]}
    rows = list(find_reader("policies")(source(tmp_path, a__json=json.dumps({"data": [policy]}))))
    segment, answer = "Here we never sell your data.", ["we never sell your data"]
    assert rows == [{"question": "Is it sold? (a.com)", "segment": segment, "answer": answer}]
    with pytest.raises(DataError, match=r"a\.json:1: field 'title': a policy without its site's name"):
        list(find_reader("policies")(source(tmp_path, a__json='{"data": [{"paragraphs": []}]}')))
    with pytest.raises(DataError, match=r"a\.json: wanted JSON with a list under 'data'"):
        list(find_reader("policies")(source(tmp_path, a__json="[]")))


def test_fact_checks_lose_the_quoting_of_a_table(tmp_path: Path) -> None:
    line = json.dumps({"claim": "Taxes rose.", "justification": '"He said ""no"" twice."\n'})
    rows = list(find_reader("fact-checks")(source(tmp_path, a__jsonl=line + "\n")))
    assert rows == [{"claim": "Taxes rose.", "justification": 'He said "no" twice.'}]
    with pytest.raises(DataError, match=r"a\.jsonl:1: not valid JSON"):
        list(find_reader("fact-checks")(source(tmp_path, a__jsonl="{\n")))
