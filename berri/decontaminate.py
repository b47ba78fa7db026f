"""Decontamination: records that share a text with a test collection are taken out, and each is named.

Three tests, the same for queries and documents:
- "equal": the same text after normalisation (case, punctuation, blanks);
- "13 words": thirteen words in a row are the same;
- "near": nearly the same words, for texts of four to 25 words.

Source: 13-grams are what arXiv 2005.14165 (appendix C) took; MinHash as in `berri.near`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from berri.against import TestText
from berri.draft import normalised
from berri.near import LEAST_WORDS, LIKENESS, Hashes, bands_of, likeness, word_hashes
from berri.record import Record
from tart.seeded import text_hash

RUN = 13  # words
_POWERS = np.cumprod(np.full(RUN, 0x9E3779B97F4A7C15, dtype=np.uint64), dtype=np.uint64)
_AT_ONCE = 512  # records looked at together


class Met(NamedTuple):
    """A record that is taken out.

    Args:
        record_id: the record.
        field: where the text stands.
        how: "equal", "13 words" or "near".
        collection: the test collection.
        text_id: its text's id there.
        kind: "query" or "document".
        text: the first 200 characters of the record's text.
    """

    record_id: str
    field: str
    how: str
    collection: str
    text_id: str
    kind: str
    text: str


def run_hashes(words: Sequence[str], known: dict[str, int]) -> Hashes:
    """A 64-bit hash of every run of thirteen words, shape (max(len(words) - 12, 0),)."""
    if len(words) < RUN:
        return np.empty(0, dtype=np.uint64)
    hashes = word_hashes(words, known)
    count = len(words) - RUN + 1
    total = np.zeros(count, dtype=np.uint64)
    for place in range(RUN):
        total += hashes[place : place + count] * _POWERS[place]
    return total ^ (total >> np.uint64(31))


class TestIndex:
    """The texts of test collections, ready to be met.

    Args:
        texts: streamed; kept are hashes, and the words of the short ones.
    """

    __test__ = False  # pytest: not a test

    def __init__(self, texts: Iterable[TestText]) -> None:
        self._known: dict[str, int] = {}
        self._names: list[tuple[str, str, str]] = []
        self._equal: dict[int, int] = {}
        short: list[tuple[int, frozenset[str]]] = []
        runs: list[Hashes] = []
        owners: list[Any] = []
        for number, one in enumerate(texts):
            self._names.append((one.collection, one.text_id, one.kind))
            words = normalised(one.text).split()
            self._equal.setdefault(text_hash(" ".join(words)), number)
            found = run_hashes(words, self._known)
            runs.append(found)
            owners.append(np.full(len(found), number, dtype=np.int32))
            if LEAST_WORDS <= len(words) < 2 * RUN:
                short.append((number, frozenset(words)))
        every = np.concatenate(runs) if runs else np.empty(0, dtype=np.uint64)
        order = np.argsort(every, kind="stable")
        self._runs = every[order]
        self._owners = (np.concatenate(owners) if owners else np.empty(0, dtype=np.int32))[order]
        self._short = short
        bands = bands_of(words for _, words in short)
        self._band_order = np.argsort(bands, axis=0, kind="stable")
        self._bands = np.take_along_axis(bands, self._band_order, axis=0)

    def meet(self, texts: Sequence[str]) -> list[tuple[str, int] | None]:
        """For each text how it meets a test text, and which; None if it doesn't."""
        split = [normalised(text).split() for text in texts]
        runs, near = self._meeting_runs(split), self._meeting_near(split)
        found: list[tuple[str, int] | None] = []
        for row, words in enumerate(split):
            equal = self._equal.get(text_hash(" ".join(words))) if words else None
            if equal is not None:
                found.append(("equal", equal))
            elif row in runs:
                found.append(("13 words", runs[row]))
            elif row in near:
                found.append(("near", near[row]))
            else:
                found.append(None)
        return found

    def name(self, number: int) -> tuple[str, str, str]:
        """(collection, id, kind) of a test text."""
        return self._names[number]

    def _meeting_runs(self, split: Sequence[Sequence[str]]) -> dict[int, int]:
        """Row of a text -> the test text that its first shared run stands in."""
        rows = np.repeat(np.arange(len(split)), [len(words) for words in split])
        hashes = run_hashes([word for words in split for word in words], self._known)
        if not len(hashes) or not len(self._runs):
            return {}
        places = np.minimum(np.searchsorted(self._runs, hashes), len(self._runs) - 1)
        within = rows[: len(hashes)] == rows[RUN - 1 :]  # a run that begins in one text and ends in another is none
        hits = np.flatnonzero((self._runs[places] == hashes) & within)
        met: dict[int, int] = {}
        for hit in hits.tolist():
            met.setdefault(int(rows[hit]), int(self._owners[places[hit]]))
        return met

    def _meeting_near(self, split: Sequence[Sequence[str]]) -> dict[int, int]:
        """Row of a short text -> a test text with nearly the same words."""
        short = [row for row, words in enumerate(split) if LEAST_WORDS <= len(words) < 2 * RUN]
        mine = [frozenset(split[row]) for row in short]
        bands = bands_of(mine)
        met: dict[int, int] = {}
        for column in range(bands.shape[1] if len(short) else 0):
            first = np.searchsorted(self._bands[:, column], bands[:, column])
            last = np.searchsorted(self._bands[:, column], bands[:, column], side="right")
            for place in np.flatnonzero(first < last).tolist():
                others = (self._short[int(one)] for one in self._band_order[first[place] : last[place], column])
                owner = next((owner for owner, other in others if likeness(mine[place], other) >= LIKENESS), None)
                if owner is not None:
                    met.setdefault(short[place], owner)
        return met


def decontaminate(
    records: Iterable[Record], index: TestIndex, met: list[Met], counts: Counter[str]
) -> Iterator[Record]:
    """Pass on the records that share no text with a test collection.

    Args:
        records: cleaned.
        index: the test collections.
        met: gets each record that is taken out, with the first of its texts that met something.
        counts: gets how many, by test and collection.
    """
    waiting: list[Record] = []
    for record in records:
        waiting.append(record)
        if len(waiting) == _AT_ONCE:
            yield from _disjoint(waiting, index, met, counts)
            waiting = []
    yield from _disjoint(waiting, index, met, counts)


def _disjoint(records: list[Record], index: TestIndex, met: list[Met], counts: Counter[str]) -> Iterator[Record]:
    places = [
        (row, field, text)
        for row, record in enumerate(records)
        for field, texts in record.texts().items()
        for text in texts
    ]
    hits: dict[int, Met] = {}
    for (row, field, text), hit in zip(places, index.meet([text for *_, text in places]), strict=True):
        if hit is not None and row not in hits:
            collection, text_id, kind = index.name(hit[1])
            hits[row] = Met(records[row].record_id, field, hit[0], collection, text_id, kind, text[:200])
    for row, record in enumerate(records):
        if row in hits:
            met.append(hits[row])
            counts[f"in a test collection ({hits[row].how})"] += 1
        else:
            yield record
