"""expand: proposals for further wordings of tasks, for a person to accept. The cards are never changed.

By rule from intent, domain and unit; and by a language model in two ways: new wordings from a few examples
(Self-Instruct), and one wording said again under the same constraints (Unnatural Instructions).

Source: arXiv 2212.10560 (Self-Instruct), arXiv 2212.09689 (Unnatural Instructions).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

from berri.card import FORMS, TaskCard, Wording, siblings
from berri.novelty import Novelty, form_of
from berri.recombine import recombined
from berri.text_models import TextModel
from tart.errors import ConfigError, StorageError
from tart.files import atomic_write
from tart.progress import progress
from tart.retrieval.protocols import Encoder
from tart.seeded import seeded

SHOWN = 4  # wordings that a prompt shows
ASKED = 8  # wordings that a prompt asks for

_FACTS = """A search system gets a query with an instruction that says what is wanted.
Query: {query_is}
Wanted: {document_is} ({unit})
Where it comes from: {domain}
"""
SELF_INSTRUCT = (
    _FACTS
    + """
Instructions so far:
{shown}

Write {asked} further instructions for the same wish. Let them differ from those above and from one another in words
and in form: orders, wishes beginning with "I", noun phrases, questions. Plain English, one instruction a line, nothing
else.
"""
)
REPHRASE = (
    _FACTS
    + """
Say this instruction in three other ways. Keep what is asked and what is wanted exactly as they are, and add nothing:
{shown}

Plain English, one instruction a line, nothing else.
"""
)


class Proposal(NamedTuple):
    """A wording that a person may take into a card.

    Args:
        task: name of the task.
        wording: text and form; never held out.
        by: "rule", "examples" (Self-Instruct) or "rephrased" (Unnatural Instructions).
        likeness: ROUGE-L to the task's nearest wording, in [0, 1].
    """

    task: str
    wording: Wording
    by: str
    likeness: float


def expand(
    cards: Mapping[str, TaskCard],
    tasks: Mapping[str, TaskCard],
    *,
    count: int,
    seed: int = 1,
    model: TextModel | None = None,
    encoder: Encoder | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[Proposal]:
    """Propose wordings.

    Args:
        cards: all cards, whose wordings a proposal must not be mistaken for.
        tasks: those that get proposals.
        count: how many for each task, at most.
        seed: of the choice of examples and the order of rules.
        model: a language model; None: by rule alone.
        encoder: compares meanings; None: words alone.
        counts: gets how many were proposed and left out, by reason.

    Raises:
        ConfigError: a count below 1.
        DownloadError: the model's server gives no answer.
    """
    if count < 1:
        raise ConfigError(f"wanted at least 1 proposal a task, got {count}")
    counts = Counter() if counts is None else counts
    with progress("Proposing", len(tasks), "tasks") as advance:
        for name, card in tasks.items():
            near = [other for other in siblings(card, dict(cards)) if other.document != card.document]
            novelty = Novelty(card, near, encoder)
            left = count
            for by, proposed in _ways(card, seed, model):
                kept = novelty.keep(proposed, left, counts)
                left -= len(kept)
                yield from (Proposal(name, wording, by, likeness) for wording, likeness in kept)
            advance(1)


def _ways(card: TaskCard, seed: int, model: TextModel | None) -> Iterator[tuple[str, Iterator[Wording]]]:
    random = seeded(seed, "expand", card.name)
    if model is not None:
        yield "examples", _answers(card, model, SELF_INSTRUCT, SHOWN, random)
        yield "rephrased", _answers(card, model, REPHRASE, 1, random)
    rules = list(recombined(card))
    random.shuffle(rules)
    yield "rule", iter(rules)


def _answers(card: TaskCard, model: TextModel, prompt: str, shown: int, random: Random) -> Iterator[Wording]:
    """What a model writes line by line; held-out wordings are not shown to it, so that they stay unlike the rest."""
    texts = [one.text for one in card.wordings if not one.held_out]
    sample = "\n".join(random.sample(texts, min(shown, len(texts))))
    facts = {"query_is": card.query_is, "document_is": card.document_is, "unit": card.unit, "domain": card.domain}
    for line in model.answer(prompt.format(**facts, shown=sample, asked=ASKED), random.getrandbits(31)).splitlines():
        text = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", line).strip().strip('"“”').strip()
        if text:
            yield Wording(text, form_of(text), False)


def write_proposals(path: str | Path, proposals: Iterator[Proposal]) -> int:
    """Write proposals as TOML, for each task the lists of its forms as they stand in cards.

    Args:
        path: a new file. To accept a wording, copy its line into the card's list of the same name.
        proposals: those of one task stand together.

    Returns:
        How many there are.

    Raises:
        StorageError: there is such a file, or the disk is full.
    """
    path = Path(path)
    if path.exists():
        raise StorageError(f"{path}: exists already; choose another name")
    by_task: dict[str, list[Proposal]] = {}
    for one in proposals:
        by_task.setdefault(one.task, []).append(one)
    lines = ["# Proposals. To accept one, copy its line into the list of the same form in the task's card."]
    for task, found in by_task.items():
        lines += ["", f"[{task}]"]
        for form in FORMS:
            if any(one.wording.form == form for one in found):
                lines.append(f"{form} = [")
                lines += [
                    f"  {json.dumps(one.wording.text)},  # {one.by}; {one.likeness:.2f} like the nearest"
                    for one in found
                    if one.wording.form == form
                ]
                lines.append("]")
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return sum(map(len, by_task.values()))
