"""Cleaning: markup and tokenizer traces out of the texts, and records out that can't be used."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from berri.record import CLASS_FIELD, Record

LONGEST = 8_000  # characters kept of a text: over 1,500 words, more than encoders read
SHORTEST = 2  # letters and digits of a text
LATIN = 0.7  # least share of Latin letters among the letters: the collection is English

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff\ud800-\udfff]")
_BLANKS = re.compile(r"[ \t\u00a0]+")
_SCRIPT = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(r"<\s*(?:br|/p|/div|/li|/h[1-6]|/tr)\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>|<!--.*?-->", re.DOTALL)
_PTB = (
    (re.compile(r"-L[RCS]B-|-lrb-"), "("),
    (re.compile(r"-R[RCS]B-|-rrb-"), ")"),
    (re.compile(r"``|''"), '"'),
    (re.compile(r" (n't|'s|'re|'ve|'ll|'m|'d)\b", re.IGNORECASE), r"\1"),
    (re.compile(r" ([.,;:!?%)\]])"), r"\1"),
    (re.compile(r"([($\[]) "), r"\1"),
    (re.compile(r'" ([^"]*?) "'), r'"\1"'),
)
_MARKDOWN = (
    (re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)"), r"\1"),
    (re.compile(r"^#{1,6} +", re.MULTILINE), ""),
    (re.compile(r"(\*\*|__)(.+?)\1"), r"\2"),
    (re.compile(r"^(?:```|~~~).*$", re.MULTILINE), ""),
    (re.compile(r"`([^`\n]+)`"), r"\1"),
)


def clean_records(records: Iterable[Record], steps: Sequence[str], counts: Counter[str]) -> Iterator[Record]:
    """Clean texts and drop what can't be used.

    Args:
        records: as read.
        steps: the source's: "html", "ptb" (undo Penn Treebank tokens), "markdown".
        counts: gets the number of records, and of texts dropped or cut, by reason.
    """
    seen: set[int] = set()
    for record in records:
        counts["records read"] += 1
        fields = {}
        for name, texts in record.texts().items():
            kept = tuple(dict.fromkeys(text for text in (_usable(text, steps, counts) for text in texts) if text))
            if kept:
                fields[name] = kept
        if fields and CLASS_FIELD in record.fields:
            fields[CLASS_FIELD] = record.fields[CLASS_FIELD]
        known = hash(tuple(sorted(fields.items())))  # of strings: differs from run to run, which is told apart is not
        if not fields:
            counts["records without text"] += 1
        elif known in seen:
            counts["records that come twice"] += 1
        else:
            seen.add(known)
            yield Record(record.record_id, fields)


def _usable(text: str, steps: Sequence[str], counts: Counter[str]) -> str:
    text = clean_text(text, steps)
    letters = (letter for letter in text if letter.isalnum())
    if sum(1 for _ in islice(letters, SHORTEST)) < SHORTEST:
        counts["texts too short"] += 1
        return ""
    if not _is_latin(text):
        counts["texts in another script"] += 1
        return ""
    if len(text) > LONGEST:
        counts["texts cut"] += 1
        text = text[:LONGEST].rsplit(None, 1)[0]
    return text


def _is_latin(text: str) -> bool:
    if text[:1000].isascii():
        return True
    letters = [letter for letter in text[:1000] if letter.isalpha()]
    latin = sum(letter.isascii() or unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return not letters or latin / len(letters) >= LATIN


def clean_text(text: str, steps: Sequence[str]) -> str:
    """One text without markup, control characters and stray blanks; line breaks and indentation stay.

    >>> clean_text("<p>It 's   done .</p>", ["html", "ptb"])
    "It's done."
    """
    if "html" in steps:
        text = _TAG.sub(" ", _BREAK.sub("\n", _SCRIPT.sub(" ", text)))
        text = re.sub(r" ?\n ?", "\n", _BLANKS.sub(" ", html.unescape(text))).strip(" ")
    if "ptb" in steps:
        for pattern, new in _PTB:
            text = pattern.sub(new, text)
    if "markdown" in steps:
        for pattern, new in _MARKDOWN:
            text = pattern.sub(new, text)
    text = unicodedata.normalize("NFC", _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    if "\n" not in text.strip():
        return _BLANKS.sub(" ", text).strip()
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
