"""Readers for judged questions in XML-like files, some of which no XML parser takes."""

from __future__ import annotations

import html
import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows

_MOST_WRONG = 5


@reader("trec-qa")
def read_trec_qa(files: SourceFiles) -> Rows:
    """TREC QA: blocks whose first line holds the tokens: a `question`, sentences that answer it, `other` ones."""
    for name in files.names:
        blocks = re.findall(r"<QApairs id='(.*?)'>(.*?)</QApairs>", files.text(name), re.S)
        if not blocks:
            files.bad("holds no <QApairs>", name)
        for number, (key, block) in enumerate(blocks, start=1):
            question = _tokens(block, "question")
            if not question:
                files.bad(f"block {key} has no question", name, number, "question")
                continue
            yield {
                "question": question[0],
                "sentence": _tokens(block, "positive"),
                "other": _tokens(block, "negative")[:_MOST_WRONG],
            }


def _tokens(block: str, tag: str) -> list[str]:
    return [" ".join(line.split("\t")) for line in re.findall(rf"<{tag}>\n(.*)\n", block)]


@reader("forum-threads")
def read_forum_threads(files: SourceFiles) -> Rows:
    """SemEval's forum: a `question` with one thread: its question (`similar` or `other`) and good and bad comments."""
    for name in files.names:
        blocks = re.findall(r"<OrgQuestion (.*?)</OrgQuestion>", files.text(name), re.S)
        if not blocks:
            files.bad("holds no <OrgQuestion>", name)
        for number, block in enumerate(blocks, start=1):
            relevance = re.search(r'RELQ_RELEVANCE2ORGQ="(\w+)"', block)
            if relevance is None:
                files.bad("has no judged question", name, number, "RELQ_RELEVANCE2ORGQ")
                continue
            comments = re.findall(r'RELC_RELEVANCE2ORGQ="(\w+)".*?<RelCText>(.*?)</RelCText>', block, re.S)
            yield {
                "question": _asked(block, "OrgQ"),
                "other" if relevance[1] == "Irrelevant" else "similar": _asked(block, "RelQ"),
                "comment": [html.unescape(text) for judged, text in comments if judged == "Good"],
                "bad": [html.unescape(text) for judged, text in comments if judged == "Bad"][:_MOST_WRONG],
            }


def _asked(block: str, kind: str) -> str:
    parts = re.findall(rf"<{kind}(?:Subject|Body)>(.*?)</{kind}(?:Subject|Body)>", block, re.S)
    return html.unescape(". ".join(part.strip().rstrip(".") for part in parts if part.strip()))
