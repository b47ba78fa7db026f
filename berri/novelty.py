"""Which proposed wordings are worth a person's look: well-formed ones that say the task's wish in a new way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from berri.card import TaskCard, Wording
from berri.draft import normalised
from tart.collection import Query
from tart.index.dense import normalised as unit_length
from tart.retrieval.protocols import Encoder, FloatArray

FEWEST, MOST = 3, 30  # words
SAME_WORDS = 0.7  # ROUGE-L from which on a wording says nothing new (arXiv 2212.10560, section 2.2)
SAME_MEANING = 0.97  # cosine to a wording of the task from which on it is that wording
OTHER_MEANING = 0.3  # cosine to the task's nearest wording below which it wishes for something else
_ODD = re.compile(r"[<>{}\[\]*#|\\`_]|https?:|\b(?:as an ai|language model|sure|here (?:is|are)|nan)\b", re.IGNORECASE)
_ORDERS = re.compile(r"(?:i|i'm|i'd|we|my)\b", re.IGNORECASE)


def form_of(text: str) -> str:
    """The form of a wording by its look: a question mark, an "I", a full stop, or none of them."""
    if text.endswith("?"):
        return "question"
    return "wish" if _ORDERS.match(text) else "order" if text.endswith((".", "!")) else "noun"


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """The longest common subsequence of two lists of words, as F1 of its shares, in [0, 1].

    Source: Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004.

    >>> round(rouge_l("find the short answer".split(), "find an answer".split()), 3)
    0.571
    """
    lengths = [0] * (len(other) + 1)
    for word in one:
        last = 0
        for place, against in enumerate(other, start=1):
            last, lengths[place] = (
                lengths[place],
                last + 1 if word == against else max(lengths[place], lengths[place - 1]),
            )
    return 2 * lengths[-1] / (len(one) + len(other)) if one or other else 1.0


def problem(text: str, card: TaskCard) -> str:
    """Why a text can't be a wording of a task: "" if it can."""
    words = normalised(text).split()
    if not FEWEST <= len(words) <= MOST:
        return "too short or too long"
    if text != " ".join(text.split()) or not text.isascii() or _ODD.search(text) or not text[0].isupper():
        return "no plain sentence"
    if text.count('"') % 2 or text.count("(") != text.count(")") or re.search(r"[?!.].*\?", text):
        return "no plain sentence"
    if not _stems(words) & _stems(normalised(f"{card.unit} {card.document_is} {card.intent}").split()):
        return "doesn't name what is wanted"
    return ""


def _stems(words: Iterable[str]) -> set[str]:
    return {
        word[:5] for word in words if len(word) > 3 and word not in ("that", "this", "with", "what", "from", "same")
    }


class Novelty:
    """Keeps what is new among a task's own wordings and its siblings'.

    Args:
        card: the task.
        near: tasks that ask the same queries for other documents.
        encoder: measures meaning; None: words alone.
    """

    def __init__(self, card: TaskCard, near: Sequence[TaskCard], encoder: Encoder | None) -> None:
        self._card, self._encoder = card, encoder
        self._own = [one.text for one in card.wordings]
        self._foreign = [one.text for other in near for one in other.wordings]
        self._own_vectors, self._foreign_vectors = self._encoded(self._own), self._encoded(self._foreign)

    def keep(self, proposed: Iterable[Wording], most: int, counts: Counter[str]) -> list[tuple[Wording, float]]:
        """The first proposals that pass, each with its ROUGE-L to the nearest wording.

        Args:
            proposed: in the order of preference.
            most: how many are wanted.
            counts: gets how many were left out, by reason.
        """
        kept: list[tuple[Wording, float]] = []
        for one in proposed:
            if len(kept) == most:
                break
            likeness = max(self._likeness(one.text, text) for text in self._own)
            reason = problem(one.text, self._card) or self._known(one.text, likeness) or self._off(one.text)
            counts[reason or "proposed"] += 1
            if not reason:
                self._own.append(one.text)
                if (vector := self._encoded([one.text])) is not None:
                    self._own_vectors = np.concatenate([self._own_vectors, vector])
                kept.append((one, likeness))
        return kept

    @staticmethod
    def _likeness(one: str, other: str) -> float:
        return rouge_l(normalised(one).split(), normalised(other).split())

    def _known(self, text: str, likeness: float) -> str:
        if likeness >= SAME_WORDS:
            return "says nothing new"
        far = max((self._likeness(text, other) for other in self._foreign), default=0.0)
        return "could stand for another task" if far >= SAME_WORDS or (far > likeness > 0 and far > 0.5) else ""

    def _off(self, text: str) -> str:
        vector = self._encoded([text])
        if vector is None or self._own_vectors is None:
            return ""
        own = float((self._own_vectors @ vector[0]).max())
        foreign = -1.0 if self._foreign_vectors is None else float((self._foreign_vectors @ vector[0]).max())
        if own >= SAME_MEANING:
            return "says nothing new"
        if own < OTHER_MEANING:
            return "means something else"
        return "could stand for another task" if foreign > own else ""

    def _encoded(self, texts: Sequence[str]) -> FloatArray | None:
        if self._encoder is None or not texts:
            return None
        return unit_length(self._encoder.encode_queries([Query(str(row), text) for row, text in enumerate(texts)]))
