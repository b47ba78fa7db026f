"""Readers for sets of questions: of one class, or with an explanation in another file."""

from __future__ import annotations

import re
from collections import Counter

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import read_csv, read_jsonl
from berri.record import Rows

_MATES = 4  # of a question's class
_LEAST_WORDS = 5  # of an answer or an explanation: shorter ones say nothing without their question


@reader("covid-questions")
def read_covid_questions(files: SourceFiles) -> Rows:
    """Questions with others of their class as `same` and the class's `answer`; no broad classes ("General")."""
    fields = {"query": "Question", "number": "Question ID", "category": "Category", "answer": "Answers"}
    classes: dict[tuple[str, str], dict[str, str]] = {}
    for row in read_csv(files, fields=fields):
        category = str(row["category"])
        if category.strip() and "General" not in category:
            members = classes.setdefault((category, str(row["number"])), {})
            members.setdefault(str(row["query"]).strip(), str(row["answer"]).strip(" ,"))
    for members in classes.values():
        texts = list(members)
        answer = next((text for text in members.values() if len(text.split()) >= _LEAST_WORDS), None)
        for place, text in enumerate(texts):
            mates = [texts[(place + step) % len(texts)] for step in range(1, min(_MATES, len(texts) - 1) + 1)]
            yield {"query": text, "same": mates, "answer": answer}


@reader("cose")
def read_cose(files: SourceFiles) -> Rows:
    """Common-sense questions with `answer`, the `wrong` choices, and why the answer is right, `explanation`."""
    written: dict[str, str] = {}
    for row in read_jsonl(files, fields={"id": "id", "text": "explanation.open-ended"}, pattern="cose_*"):
        written[str(row["id"])] = str(row["text"] or "").strip()
    times = Counter(text.casefold() for text in written.values())
    fields = {
        "id": "id",
        "question": "question.stem",
        "key": "answerKey",
        "labels": "question.choices.*.label",
        "texts": "question.choices.*.text",
    }
    for name in files.matching("*_rand_split.jsonl"):
        for row in read_jsonl(files, fields=fields, pattern=name):
            choices = dict(zip(row["labels"] or (), row["texts"] or (), strict=False))
            answer = choices.pop(str(row["key"]), None)
            if answer is None:
                files.bad(f"no choice is labelled {row['key']!r} (id {row['id']})", name, field="answerKey")
                continue
            text = written.get(str(row["id"]), "")
            good = times[text.casefold()] == 1 and _tells(text, f"{row['question']} {answer}")
            yield {
                "question": row["question"],
                "answer": answer,
                "wrong": list(choices.values()),
                "explanation": text if good else None,
            }


def _tells(text: str, about: str) -> bool:
    """Whether an explanation is long enough and shares a word with what it explains: many crowd texts are filler."""
    stems, others = ({word[:4] for word in re.findall(r"[a-z]{4,}", one.casefold())} for one in (text, about))
    return len(text.split()) >= _LEAST_WORDS and bool(stems & others)
