"""Readers for chats on films, consultations with a doctor, and dialogues of exams."""

from __future__ import annotations

import re
from collections import Counter

from berri.draft import normalised
from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import read_jsonl
from berri.record import Rows
from tart.errors import DataError

_LEAST_WORDS = 5  # of a doctor's reply: shorter ones say nothing
_ALONE = 8  # words of an exam question that can be understood without its dialogue, if it is asked once
_OPENING = re.compile(
    r"(?:In brief:"
    r"|(?i:(?:(?:hello|hi|dear|good day)\b[^.!]*?)?\b(?:welcome|thanks?|thank you)\b).*?[.!](?=\s*[A-Z])"
    r"|(?i:(?:(?:hello|hi),? )?i (?:have (?:reviewed|read|seen|gone through)|(?:can )?understand) your)[^.!]*[.!])\s*"
)
_FAREWELL = re.compile(
    r"\s*(?:Regards|Would you like to (?:video|talk)|I hope this helps|Hope I have (?:answered|solved)).*", re.DOTALL
)


@reader("chat-pairs")
def read_chat_pairs(files: SourceFiles, *, chat: int, text: int) -> Rows:
    """Pairs of a `chat` and a `text`.

    Args:
        files: the source's files: JSON lines with "q" and "d".
        chat: least words of a chat: shorter ones are greetings, which any text would follow.
        text: least words of a text.
    """
    for row in read_jsonl(files, fields={"chat": "q", "text": "d"}):
        if len(str(row["chat"]).split()) >= chat and len(str(row["text"]).split()) >= text:
            yield row


@reader("consultations")
def read_consultations(files: SourceFiles) -> Rows:
    """Blocks of `id=NUMBER`, a description and a dialogue: the patient's first `message`, the doctor's `reply` to it
    without greeting and farewell, and the description as `question` where it says less than the message.

    Raises:
        DataError: if a file holds no block.
    """
    for name in files.names:
        blocks = re.split(r"^id=\d+$", files.text(name), flags=re.MULTILINE)[1:]
        if not blocks:
            raise DataError("wanted blocks that begin with id=NUMBER", path=files.path(name))
        for number, block in enumerate(blocks, start=1):
            described = re.search(r"^Description\n(.+?)\n\nDialogue", block, re.DOTALL | re.MULTILINE)
            turns = re.search(r"^Patient:\n(.+?)\nDoctor:\n(.+?)(?=\nPatient:|\Z)", block, re.DOTALL | re.MULTILINE)
            if described is None or turns is None:
                files.bad("wanted a description, a patient's turn and a doctor's", name, number)
                continue
            question, message, reply = (
                " ".join(part.split()) for part in (described[1], turns[1], _bare(" ".join(turns[2].split())))
            )
            yield {
                "message": message,
                "reply": reply if len(reply.split()) >= _LEAST_WORDS else None,
                "question": question if normalised(question) != normalised(message) else None,
            }


def _bare(reply: str) -> str:
    while match := _OPENING.match(reply):
        reply = reply[match.end() :]
    return _FAREWELL.sub("", reply)


@reader("dream")
def read_dream(files: SourceFiles) -> Rows:
    """Exam dialogues: each `dialogue`, a `question` that can stand alone, what is `asked` with it, the `answer`, the
    `wrong` ones.

    Raises:
        DataError: if a file isn't a list of [turns, questions, id].
    """
    for name in files.matching("*.json"):
        try:
            talks = [("\n".join(turns), questions) for turns, questions, _ in files.json(name)]
            asked = [
                (number, talk, one["question"], one["answer"], list(one["choice"]))
                for number, (talk, questions) in enumerate(talks, start=1)
                for one in questions
            ]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError("wanted a list of dialogues with their questions", path=files.path(name)) from None
        times = Counter(question for _, _, question, *_ in asked)
        for number, talk, question, answer, choices in asked:
            if answer not in choices:
                files.bad("the answer is none of the choices", name, number, "answer")
                continue
            alone = len(question.split()) >= _ALONE and times[question] == 1
            yield {
                "dialogue": talk,
                "question": question if alone else None,
                "asked": f"{talk}\n{question}",
                "answer": answer,
                "wrong": [choice for choice in choices if choice != answer],
            }
