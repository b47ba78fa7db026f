"""A made-up source of papers with its card, for tests of the collector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from berri.card import TaskCard, load_cards
from berri.pipeline import collect
from berri.settings import Settings
from tart.shards import Collection

TOPICS = ("lakes", "bridges", "violins", "glaciers", "turbines", "orchids", "comets", "bakeries")
VERBS = ("measure", "model", "restore", "compare", "protect")

INSTRUCTIONS = """
[task.instructions]
order = ["Find the {unit} of this {query}.", "Get me the {unit} that goes with it.", "Give the {unit}, please."]
wish = ["I want the {unit} for this {query}.", "I need a {unit}."]
noun = ["The {unit} of a paper", "A {unit} that fits this {query}"]
question = ["Which {unit} belongs to this {query}?"]
held_out = ["I need a {unit}.", "The {unit} of a paper"]
"""


def instructions(query: str, unit: str) -> str:
    return INSTRUCTIONS.format(query=query, unit=unit)


def papers() -> list[dict[str, str]]:
    rows = []
    for number, topic in enumerate(TOPICS):
        for verb in VERBS:
            rows.append(
                {
                    "title": f"How to {verb} {topic}",
                    "abstract": f"Study {number} explains how engineers {verb} {topic} in cold regions, with care.",
                    "gist": f"Engineers can {verb} {topic} cheaply.",
                }
            )
    return rows


def write_source(folder: Path, cards: Path, name: str, rows: list[dict[str, str]], tasks: str, extra: str = "") -> None:
    """A source's file in a mirror, and its card."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (folder / name / "rows.jsonl").write_bytes(content)
    fields = ", ".join(f'{key} = "{key}"' for key in rows[0])
    cards.mkdir(exist_ok=True)
    (cards / f"{name}.toml").write_text(
        f'''[source]
title = "{name}"
published = "made up"
revision = "1"
license = "CC0"
license_class = "open"
license_reason = "made up"
citation = "nobody"
domain = "{name}"
{extra}
[[source.files]]
name = "rows.jsonl"
sha256 = "{hashlib.sha256(content).hexdigest()}"

[source.reader]
name = "jsonl"
fields = {{ {fields} }}
{tasks}'''
    )


def task(name: str, query: str, document: str, unit: str, intent: str, more: str = "") -> str:
    return f'''
[[task]]
name = "{name}"
query = "{query}"
document = "{document}"
query_is = "{query}"
document_is = "{document}"
intent = "{intent}"
unit = "{unit}"
expected = 5
{more}
{instructions(query, unit)}'''


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror of two sources, `papers` (a family) and `recipes`; their cards lie in `cards` beside it."""
    folder, cards = tmp_path / "mirror", tmp_path / "cards"
    family = 'family = "paper"'
    write_source(
        folder,
        cards,
        "papers",
        papers(),
        task("papers-abstract-to-title", "abstract", "title", "title", "names", family)
        + task("papers-abstract-to-gist", "abstract", "gist", "sentence", "summarizes", family),
    )
    recipes = [
        {"dish": f"{dish} with {thing}", "steps": f"Boil the {thing}, then add {dish} and engineers in cold regions."}
        for dish in ("rice", "soup", "noodles", "bread")
        for thing in ("leeks", "peas", "beans", "kale", "fennel")
    ]
    write_source(folder, cards, "recipes", recipes, task("recipes-dish", "dish", "steps", "recipe", "explains"))
    return folder


@pytest.fixture
def cards(mirror: Path) -> dict[str, TaskCard]:
    return load_cards(mirror.parent / "cards")


@pytest.fixture
def meetings(tmp_path: Path) -> Callable[[str, str], Collection]:
    """Collects two sources with the same questions: minutes, and what was said, which has a question more.

    It takes the family of both tasks and the unit of what was said.
    """

    def made(family: str, unit: str) -> Collection:
        folder, cards = tmp_path / "mirror", tmp_path / "cards"
        questions = [
            f"What was said about {topic}?" for topic in ("budget", "colours", "batteries", "buttons", "sales")
        ]
        minutes = [{"question": one, "answer": f"The minutes have: {one} Much."} for one in questions]
        said = [{"question": one, "answer": f"A: {one.upper()} B: Let me see."} for one in [*questions, "Why is that?"]]
        for name, rows, wanted in (("minutes", minutes, "paragraph"), ("said", said, unit)):
            line = f'family = "{family}"' if family else ""
            write_source(folder, cards, name, rows, task(name, "question", "answer", wanted, "answers", line))
        settings = Settings(mirror=folder, download=False, model=None)
        return collect(tmp_path / "out", settings, cards=load_cards(cards))

    return made
