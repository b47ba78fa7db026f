"""Negatives: which of the candidates an example gets, each with its kind and origin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from berri.card import TaskCard
from berri.draft import Draft, Text, normalised
from tart.collection import Query
from tart.example import Negative, NegativeKind, TrainingExample
from tart.instruction import Instruction
from tart.seeded import seeded

GIVEN, HARD, RANDOM = 2, 4, 1  # of each kind at most
OPPOSITES, SIBLINGS, OTHERS = 2, 3, 1
LIKE_THE_QUERY = ("duplicates", "paraphrases", "simplifies")  # intents whose documents look as their queries do


def wording(card: TaskCard, seed: int, example_id: str) -> Instruction:
    """One of the task's wordings, never a held-out one, the same for the same seed and example."""
    texts = [one.text for one in card.wordings if not one.held_out]
    text = seeded(seed, "instruct", example_id).choice(texts)
    return Instruction(text, card.intent, card.domain, card.unit)


def example_of(
    card: TaskCard,
    draft: Draft,
    mined: Mapping[str, Any],
    corpus: Sequence[tuple[Text, frozenset[str]]],
    texts: Mapping[str, Text],
    seed: int,
) -> TrainingExample:
    """A draft with its instruction and its negatives.

    Args:
        card: the task.
        draft: one query of it.
        mined: the draft's row of candidates; `positives` in it are further positives that a cross-encoder found.
        corpus: the task's documents with their classes, to draw random ones from.
        texts: the same documents by id.
        seed: of the draws.
    """
    example_id = f"{card.name}:{draft.group}"
    random = seeded(seed, "negatives", example_id)
    positives = [text.document() for text in draft.positives]
    positives += [texts[doc_id].document() for doc_id in mined.get("positives", ())]
    chosen = _Chosen({normalised(one.text) for one in positives} | draft.right())
    chosen.add(NegativeKind.UNFOLLOWING, "opposite", _some(random, draft.opposites, OPPOSITES))
    chosen.add(NegativeKind.UNFOLLOWING, "sibling", _some(random, draft.siblings, SIBLINGS))
    for title, text, score in _some(random, mined["others"], OTHERS):
        chosen.add(NegativeKind.UNFOLLOWING, "other-task", [Text(title, text, "")], score)
    if card.intent not in LIKE_THE_QUERY:
        chosen.add(NegativeKind.UNFOLLOWING, "query", [Text("", draft.query, "")])
    chosen.add(NegativeKind.HARD, "given", _some(random, draft.given, GIVEN))
    for doc_id, origin, score in _some(random, mined["hard"], HARD):
        chosen.add(NegativeKind.HARD, origin, [texts[doc_id]], score)
    chosen.add(NegativeKind.RANDOM, "random", _drawn(random, corpus, draft, RANDOM))
    query = Query(example_id, draft.query, wording(card, seed, example_id))
    return TrainingExample(example_id, card.name, query, tuple(positives), tuple(chosen.negatives), draft.group)


def _some(random: Random, items: Iterable[Any], most: int) -> list[Any]:
    listed = list(items)
    return listed if len(listed) <= most else random.sample(listed, most)


def _drawn(random: Random, corpus: Sequence[tuple[Text, frozenset[str]]], draft: Draft, count: int) -> Iterator[Text]:
    """Random documents of the task; one that shares a class with the query may be right, and isn't taken."""
    for _ in range(count if corpus else 0):
        text, classes = random.choice(corpus)
        if classes.isdisjoint(draft.classes):
            yield text


class _Chosen:
    """The negatives so far: each text once, none that is right."""

    def __init__(self, taken: set[str] | frozenset[str]) -> None:
        self._taken, self.negatives = set(taken), list[Negative]()

    def add(self, kind: NegativeKind, origin: str, texts: Iterable[Text], score: float | None = None) -> None:
        for one in texts:
            name = normalised(one.text)
            if name not in self._taken:
                self._taken.add(name)
                self.negatives.append(Negative(one.document(), kind, origin, score))
