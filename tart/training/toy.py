"""The toy world: a collection, made in a moment, in which one query wants eight kinds of documents by instruction.

A query is three made-up words. For each kind there is one document about it: the same words among others that only
documents of that kind have. Whoever hears the query alone can't tell the eight apart; the instruction says which is
wanted, in words that no document has. A model of two tiny layers learns it from random weights in a minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tart.collection import Document, Query
from tart.example import Negative, NegativeKind, TrainingExample
from tart.files import new_folder
from tart.instruction import Instruction
from tart.manifest import write_manifest
from tart.seeded import seeded
from tart.shards import KIND, SPLITS, Collection, task_facts, write_examples


class _Kind(NamedTuple):
    words: str  # that only its documents have
    wordings: tuple[str, ...]
    held_out: tuple[str, ...]


_KINDS = {
    "code": _Kind(
        "def return import class lambda print loop none",
        ("find code that does this", "show me the source", "a python function", "i need code"),
        ("find a python function", "show me code"),
    ),
    "title": _Kind(
        "towards notes on upon study from new some",
        ("find the title", "name the article", "a headline for it", "i need a headline"),
        ("name a title for it", "find a headline"),
    ),
    "answer": _Kind(
        "because you should then first try solve done",
        ("find an answer", "which reply explains it", "an explanation please", "i need a reply"),
        ("find a reply please", "an answer explains it"),
    ),
    "question": _Kind(
        "how why what can anyone help could where",
        ("find a similar question", "who asked the same", "a duplicate of this", "i need a duplicate"),
        ("find who asked a duplicate", "a similar question please"),
    ),
    "table": _Kind(
        "column row total percent sum average cell header",
        ("find a table", "show me the figures", "numbers about it", "i need figures"),
        ("show me a table", "find numbers"),
    ),
    "story": _Kind(
        "once was king old forest went home night",
        ("find a tale", "tell me its legend", "a tale about it please", "i need a legend"),
        ("tell me a tale", "find its legend"),
    ),
    "law": _Kind(
        "shall court section party hereby liable clause act",
        ("find the statute", "which rule governs it", "a statute please", "i need the rule"),
        ("find which rule governs it", "the statute please"),
    ),
    "recipe": _Kind(
        "stir bake cup oven salt butter spoon minutes",
        ("find a dish", "which way is it cooked", "a dish made of it", "i need something cooked"),
        ("a dish please", "find which way it is cooked"),
    ),
}
_LETTERS = "bdfgklmnprst", "aeiou"
_CONTENT = ["".join(parts) for parts in product(*_LETTERS, *_LETTERS)][::45]
_LENGTH, _HARD = 3, 3  # content words of a query, hard negatives of an example


def toy_words() -> list[str]:
    """Every word of the toy world, for the vocabulary of a tiny model."""
    said = " ".join(f"{kind.words} {' '.join(kind.wordings + kind.held_out)}" for kind in _KINDS.values())
    return [*_CONTENT, *dict.fromkeys(said.split())]


def write_toy_world(folder: str | Path, *, train: int = 400, dev: int = 50, seed: int = 0) -> Collection:
    """Write a collection of eight tasks over the same queries.

    Each example has one positive, three hard negatives (right kind, other query), seven unfollowing ones (the query's
    documents of the other kinds) and one random one. Dev queries share their words with train queries, not their
    combination.

    Args:
        folder: of the collection; it must not exist.
        train: queries for training; eight times as many examples.
        dev: queries on the development side.
        seed: of everything.

    Raises:
        StorageError: the folder exists, or the disk is full.
    """
    topics = _topics(train + dev, seeded(seed, "toy topics"))
    sides = {"train": topics[:train], "dev": topics[train:]}
    with new_folder(folder) as staging:
        for kind in _KINDS:
            for split in SPLITS:
                examples = _examples(kind, sides[split], seeded(seed, "toy", kind, split))
                write_examples(staging / split / f"toy-{kind}.parquet", examples)
        facts = {
            "config": {"seed": seed, "cards": "toy"},
            "examples": {split: len(_KINDS) * len(side) for split, side in sides.items()},
            "removed": {"by_collection": {}, "by_source": {}},
            "tasks": {f"toy-{kind}": _facts(kind, train, dev) for kind in _KINDS},
        }
        write_manifest(staging, KIND, facts)
    return Collection(folder)


def _topics(count: int, random: Random) -> list[tuple[str, ...]]:
    topics: dict[frozenset[str], tuple[str, ...]] = {}
    while len(topics) < count:
        words = tuple(random.sample(_CONTENT, _LENGTH))
        topics.setdefault(frozenset(words), words)
    return list(topics.values())


def _document(kind: str, topic: Sequence[str]) -> Document:
    """The document of a kind about a topic, always the same."""
    random = seeded(0, "toy document", kind, *topic)
    words = [*topic, *random.sample(_KINDS[kind].words.split(), 5)]
    random.shuffle(words)
    return Document(f"{kind}:{'-'.join(topic)}", " ".join(words))


def _examples(kind: str, topics: Sequence[tuple[str, ...]], random: Random) -> Iterator[TrainingExample]:
    for topic in topics:
        text, others = " ".join(topic), [one for one in topics if one != topic]
        near = sorted(others, key=lambda one: (-len({*one} & {*topic}), one))[: 2 * _HARD]
        hard = random.sample(near, min(_HARD, len(near)))
        far = [one for one in others if one not in hard]
        siblings = [other for other in _KINDS if other != kind]
        negatives = [
            *(Negative(_document(kind, one), NegativeKind.HARD, "bm25", 1.0) for one in hard),
            *(Negative(_document(other, topic), NegativeKind.UNFOLLOWING, "sibling") for other in siblings),
            *(
                Negative(_document(kind, one), NegativeKind.RANDOM, "random")
                for one in random.sample(far, min(1, len(far)))
            ),
        ]
        name, wish = f"toy-{kind}", random.choice(_KINDS[kind].wordings)
        query = Query(f"{name}:{text}", text, Instruction(wish, "fits", "toy", kind))
        yield TrainingExample(query.query_id, name, query, (_document(kind, topic),), tuple(negatives), text)


def _facts(kind: str, train: int, dev: int) -> dict[str, Any]:
    return task_facts(
        f"toy-{kind}",
        {"train": train, "dev": dev},
        _KINDS[kind].wordings,
        held_out_wordings=list(_KINDS[kind].held_out),
        intent="fits",
        domain="toy",
        unit=kind,
        query_is="three made-up words",
        document_is=f"a {kind} with these words",
        query_field="words",
        family="toy",
        source="toy",
        title="Toy world",
        published="made by tart.training.toy",
        revision="1",
        license="Apache-2.0",
        license_class="open",
    )
