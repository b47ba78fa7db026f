"""Readers for datasets of the hub whose rows have to be taken apart."""

from __future__ import annotations

from typing import Any

from berri.files import SourceFiles
from berri.readers.hub import hub_items
from berri.readers.registry import reader
from berri.record import Rows

TURNS = 5  # of a conversation that are kept before a reply
SNIPPETS = 5  # of one question


@reader("hub-qrecc")
def read_qrecc(files: SourceFiles, **place: Any) -> Rows:
    """QReCC: `history` (the conversation up to a question), its `answer`, and the question `rewrite` that stands alone.

    Args:
        files: takes bad rows.
        place: as `hub_items` takes it.
    """
    for number, item in hub_items(**place):
        if not isinstance(item.get("Question"), str):
            files.bad("wanted text", place["dataset"], number, "Question")
            continue
        history = [*(item.get("Context") or []), item["Question"]]
        first = len(history) == 1
        yield {
            "history": "\n".join(history[-TURNS:]),
            "answer": item.get("Answer"),
            "rewrite": None if first else item.get("Rewrite"),
        }


@reader("hub-wizard")
def read_wizard(files: SourceFiles, **place: Any) -> Rows:
    """Wizard of Wikipedia: `history`, the wizard's `reply`, and the `knowledge` sentence behind it with its `title`.

    Args:
        files: takes bad rows.
        place: as `hub_items` takes it.
    """
    for number, item in hub_items(**place):
        columns = [item.get(name) for name in ("post", "response", "knowledge", "labels")]
        if not all(isinstance(column, list) for column in columns):
            files.bad("wanted lists post, response, knowledge and labels", place["dataset"], number)
            continue
        history: list[str] = []
        for post, reply, sentences, label in zip(*columns, strict=False):
            history.append(post)
            chosen = sentences[int(label)] if 0 <= int(label) < len(sentences) else ""
            title, _, knowledge = chosen.partition("__knowledge__")
            known = bool(knowledge.strip()) and "no_passages_used" not in chosen
            yield {
                "history": "\n".join(history[-TURNS:]),
                "reply": reply,
                "knowledge": knowledge.strip() if known else None,
                "title": title.strip() if known else None,
            }
            history.append(reply)


@reader("hub-record")
def read_record(files: SourceFiles, **place: Any) -> Rows:
    """ReCoRD: a `statement` with its blank filled in, the news `article` it is about, and the article's `points`.

    Args:
        files: takes bad rows.
        place: as `hub_items` takes it.
    """
    for number, item in hub_items(**place):
        if not isinstance(item.get("query"), str) or not item.get("answers"):
            files.bad("wanted a query and answers", place["dataset"], number)
            continue
        article, *points = str(item.get("passage", "")).split("@highlight")
        yield {
            "statement": item["query"].replace("@placeholder", item["answers"][0]),
            "article": article.strip(),
            "points": "\n".join(point.strip() for point in points),
        }


@reader("hub-snippets")
def read_snippets(files: SourceFiles, **place: Any) -> Rows:
    """SearchQA: a `question` and the search `snippet`s, five at most, in which one of its answers stands.

    Args:
        files: takes bad rows.
        place: as `hub_items` takes it.
    """
    for number, item in hub_items(**place):
        answers = [answer.casefold() for answer in item.get("answers") or [] if answer.strip()]
        if not isinstance(item.get("context"), str) or not answers:
            files.bad("wanted a context and answers", place["dataset"], number)
            continue
        snippets = [
            " ".join(part.replace("[TLE]", "").replace("[PAR]", "").split()) for part in item["context"].split("[DOC]")
        ]
        holding = [text for text in snippets if any(answer in text.casefold() for answer in answers)]
        yield {"question": item.get("question"), "snippet": holding[:SNIPPETS]}


@reader("hub-fever")
def read_fever(files: SourceFiles, **place: Any) -> Rows:
    """FEVER with its evidence sentences: a `claim`, its `evidence`, which is also its `support` or its `refutation`.

    Args:
        files: takes bad rows.
        place: as `hub_items` takes it.
    """
    sides = {"SUPPORTS": "support", "REFUTES": "refutation"}
    for number, item in hub_items(**place):
        evidence = item.get("evidence") or []
        if not all(isinstance(one, list) and len(one) == 3 for one in evidence):
            files.bad("wanted evidence as [page, line, sentence]", place["dataset"], number, "evidence")
            continue
        if item.get("label") in sides and evidence:
            sentences = [str(one[2]) for one in evidence]
            yield {"claim": item.get("claim"), "evidence": sentences, sides[item["label"]]: sentences}
