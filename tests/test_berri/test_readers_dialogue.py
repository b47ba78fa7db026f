"""Readers of chats, consultations and exam dialogues: rows by hand, broken rows told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError


def source(folder: Path, name: str, text: str) -> SourceFiles:
    (folder / name).write_text(text)
    return SourceFiles(folder, [name])


def test_chats_and_texts_of_few_words_are_left_out(tmp_path: Path) -> None:
    pairs = [("one two three", "four five"), ("one two", "four five"), ("one two three", "four")]
    text = "".join(json.dumps({"q": chat, "d": reply}) + "\n" for chat, reply in pairs)
    rows = list(find_reader("chat-pairs")(source(tmp_path, "a.jsonl", text), chat=3, text=2))
    assert rows == [{"chat": "one two three", "text": "four five"}]
    with pytest.raises(DataError, match=r"a\.jsonl:4: not valid JSON"):
        list(find_reader("chat-pairs")(source(tmp_path, "a.jsonl", text + "{\n"), chat=3, text=2))


def consultation(number: int, description: str, message: str, reply: str) -> str:
    return (
        f"id={number}\nhttps://example.org\n\nDescription\n{description}\n\n"
        f"Dialogue\nPatient:\n{message}\nDoctor:\n{reply}\n\n"
    )


def test_a_consultation_is_its_first_two_turns_and_a_shorter_question(tmp_path: Path) -> None:
    text = consultation(1, "Am I ill?", "I cough at night.\nAm I ill?", "Rest and drink much water.\nPatient:\nThanks.")
    (row,) = find_reader("consultations")(source(tmp_path, "a.txt", text.replace("water.", "warm water.")))
    assert row == {
        "message": "I cough at night. Am I ill?",
        "reply": "Rest and drink much warm water.",
        "question": "Am I ill?",
    }


@pytest.mark.parametrize(
    ("reply", "bare"),
    [
        ("In brief: Rest at home for two whole weeks.", "Rest at home for two whole weeks."),
        ("Thanks for asking Doc.com today.Rest at home for two whole weeks.", "Rest at home for two whole weeks."),
        ("Hello dear, welcome to us! Rest at home for two whole weeks.", "Rest at home for two whole weeks."),
        ("Rest at home for two whole weeks.RegardsDr. Who", "Rest at home for two whole weeks."),
        (
            "Rest at home for two whole weeks. Regards, Dr. Who Would you like to video or text chat with me?",
            "Rest at home for two whole weeks.",
        ),
        ("Hello, rest at home for two whole weeks.", "Hello, rest at home for two whole weeks."),
        ("Yes. Call.", None),
    ],
)
def test_greetings_and_farewells_are_cut_off_a_reply(tmp_path: Path, reply: str, bare: str | None) -> None:
    (row,) = find_reader("consultations")(source(tmp_path, "a.txt", consultation(1, "Ill?", "Ill?", reply)))
    assert (row["reply"], row["question"]) == (bare, None)


def test_a_consultation_without_a_doctor_is_told(tmp_path: Path) -> None:
    text = consultation(1, "Ill?", "Ill?", "Rest at home for two whole weeks.") + "id=2\n\nDescription\nIll?\n"
    with pytest.raises(DataError, match=r"a\.txt:2: wanted a description, a patient's turn and a doctor's"):
        list(find_reader("consultations")(source(tmp_path, "a.txt", text)))
    with pytest.raises(DataError, match=r"a\.txt: wanted blocks that begin with id=NUMBER"):
        list(find_reader("consultations")(source(tmp_path, "a.txt", "Ill?\n")))


def asked(question: str, answer: str = "Six.") -> dict[str, Any]:
    return {"question": question, "answer": answer, "choice": ["Five.", "Six."]}


def test_a_question_serves_alone_if_it_is_long_and_asked_once(tmp_path: Path) -> None:
    long, twice = "How many eggs does the man buy in town?", "What does the woman say to the man at last?"
    items = [
        [["M: Hi.", "W: Six eggs!"], [asked(long), asked(twice), asked("How many?")], "1-1"],
        [["W: Bye."], [asked(twice)], "1-2"],
    ]
    rows = list(find_reader("dream")(source(tmp_path, "a.json", json.dumps(items))))
    assert [row["question"] for row in rows] == [long, None, None, None]
    assert rows[2] == {
        "dialogue": "M: Hi.\nW: Six eggs!",
        "question": None,
        "asked": "M: Hi.\nW: Six eggs!\nHow many?",
        "answer": "Six.",
        "wrong": ["Five."],
    }


def test_a_broken_dialogue_is_told(tmp_path: Path) -> None:
    items: list[Any] = [[["M: Hi."], [asked("How many?")], "1"], [["W: Bye."], [asked("How many?", "Ten.")], "2"]]
    with pytest.raises(DataError, match=r"a\.json:2: field 'answer': the answer is none of the choices"):
        list(find_reader("dream")(source(tmp_path, "a.json", json.dumps(items))))
    for broken in ("[", json.dumps([["M: Hi."]]), json.dumps([[["M: Hi."], [{"question": "How many?"}]]])):
        with pytest.raises(
            DataError, match=r"a\.json: (not valid JSON|wanted a list of dialogues with their questions)"
        ):
            list(find_reader("dream")(source(tmp_path, "a.json", broken)))
