"""Readers for posts of social networks."""

from __future__ import annotations

import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import read_json
from berri.record import Rows
from tart.errors import DataError

_LEAST = 250  # characters of a reply: shorter ones are mostly thanks and jokes


@reader("judged-pairs")
def read_judged_pairs(files: SourceFiles, *, first: str, second: str, labels: str) -> Rows:
    """Lines of two files, judged in a third: `first` with the line beside it as `same` (1) or as `other` (0).

    Args:
        files: the source's files.
        first: name of the file with the first texts.
        second: that with the second ones.
        labels: that with the labels.

    Raises:
        DataError: if the files differ in their number of lines.
    """
    columns = [[text.strip() for _, text in files.lines(name)] for name in (first, second, labels)]
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(f"{len(column):,}" for column in columns)
        raise DataError(f"{first}, {second} and {labels} differ in their lines: {counts}", path=files.folder)
    for number, (text, beside, label) in enumerate(zip(*columns, strict=True), start=1):
        if label not in ("0", "1"):
            files.bad(f"wanted 0 or 1, found {label!r}", labels, number)
            continue
        yield {"first": text, "same" if label == "1" else "other": beside}


@reader("reddit")
def read_reddit(files: SourceFiles) -> Rows:
    """A `question` asked on Reddit with one long `answer`; short, removed and asking replies are left out."""
    for row in read_json(files, items="documents", fields={"question": "body.question", "answer": "body.answer"}):
        question, answer = (_plain(str(row[name] or "")) for name in ("question", "answer"))
        if question and len(answer) >= _LEAST and not answer.endswith("?"):
            yield {"question": question, "answer": answer}


def _plain(text: str) -> str:
    text = text.replace("<sq>", "'").replace("<dq>", '"')
    text = re.sub(r"\((?:https?|www)[^)\s]*\)|https?://\S+", "", text)
    return re.sub(r"</?p>", "", text).strip()
