"""Readers of question sets: rows by hand, broken rows told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError

HEAD = "Category,Question ID,Question,Source,Answers\n"


def covid(folder: Path, lines: str) -> SourceFiles:
    (folder / "a.csv").write_text(HEAD + lines)
    return SourceFiles(folder, ["a.csv"])


def test_questions_of_one_class_are_the_same_and_share_an_answer(tmp_path: Path) -> None:
    lines = (
        "Masks,1,do masks help,web,yes they help a lot\nMasks,1,are masks of use,web,\n"
        "Masks,2,where to buy masks,web,six\nMasks - General,3,what of masks,web,yes they help a lot\n,4,masks,web,\n"
    )
    assert list(find_reader("covid-questions")(covid(tmp_path, lines))) == [
        {"query": "do masks help", "same": ["are masks of use"], "answer": "yes they help a lot"},
        {"query": "are masks of use", "same": ["do masks help"], "answer": "yes they help a lot"},
        {"query": "where to buy masks", "same": [], "answer": None},
    ]


def test_a_question_has_at_most_four_mates(tmp_path: Path) -> None:
    rows = find_reader("covid-questions")(covid(tmp_path, "".join(f"Masks,1,mask {one},web,\n" for one in range(7))))
    assert [row["same"] for row in rows][5] == ["mask 6", "mask 0", "mask 1", "mask 2"]


def test_a_short_line_of_questions_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv:3: field 'query': has 2 columns, wanted 5"):
        list(find_reader("covid-questions")(covid(tmp_path, "Masks,1,do masks help,web,\nMasks,1\n")))


def cose(folder: Path, texts: list[str], key: str = "B") -> SourceFiles:
    choices = [{"label": "A", "text": "river"}, {"label": "B", "text": "oven"}, {"label": "C", "text": "attic"}]
    files: dict[str, list[Any]] = {"cose_train.jsonl": [], "train_rand_split.jsonl": []}
    for number, text in enumerate(texts):
        stem = {"stem": f"Where is loaf {number} baked?", "choices": choices}
        files["train_rand_split.jsonl"].append({"id": str(number), "answerKey": key, "question": stem})
        files["cose_train.jsonl"].append({"id": str(number), "explanation": {"open-ended": text}})
    for name, items in files.items():
        (folder / name).write_text("".join(json.dumps(item) + "\n" for item in items))
    return SourceFiles(folder, list(files))


def test_an_explanation_that_says_nothing_is_left_out(tmp_path: Path) -> None:
    good = "bakers put their bread in ovens"
    filler = ["it is the very best option", "ovens bake", "the oven is hot enough here", "The oven is hot enough here"]
    rows = list(find_reader("cose")(cose(tmp_path, [good, *filler])))
    assert [row["explanation"] for row in rows] == [good, None, None, None, None]
    assert rows[0] == {
        "question": "Where is loaf 0 baked?",
        "answer": "oven",
        "wrong": ["river", "attic"],
        "explanation": good,
    }


def test_a_key_that_labels_no_choice_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"train_rand_split\.jsonl: field 'answerKey': no choice is labelled 'F' \(id 0\)"
    ):
        list(find_reader("cose")(cose(tmp_path, ["bakers put their bread in ovens"], key="F")))
