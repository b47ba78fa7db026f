"""Other ways to say the same: paraphrases of an instruction by a fixed rule."""

from __future__ import annotations

import re
from dataclasses import replace

from tart.instruction import Instruction

_IMPERATIVE = re.compile(r"^(find|retrieve|search for|give me|look up|show me|get)\s+(?P<rest>.+)$", re.IGNORECASE)
_FRAMES = (
    "Retrieve {rest}.",
    "Search for {rest}.",
    "I am looking for {rest}.",
    "Please give me {rest}.",
    "What I want back: {rest}.",
)
_OTHER_FRAMES = (
    "The task: {whole}.",
    "What I want: {whole}.",
    "Please do the following: {whole}.",
    "My wish is this: {whole}.",
    "Instruction: {whole}.",
)


def reword(instruction: Instruction) -> tuple[Instruction, ...]:
    """Five paraphrases of an instruction, the original not among them.

    An imperative ("Find ...") gets other verbs around the same object; any other sentence is put behind an
    announcement. The rule knows nothing of meaning: what changes is the wording alone.

    Args:
        instruction: its intent, domain and unit are kept.

    >>> [wording.text for wording in reword(Instruction("Find a duplicate question."))][:3]
    ['Retrieve a duplicate question.', 'Search for a duplicate question.', 'I am looking for a duplicate question.']
    """
    whole = instruction.text.strip().rstrip(".!").rstrip()
    found = _IMPERATIVE.match(whole)
    texts = [frame.format(rest=found["rest"]) for frame in _FRAMES] if found else []
    texts += [frame.format(whole=whole) for frame in _OTHER_FRAMES]
    new = [text for text in texts if text.rstrip(".").lower() != whole.lower()]
    return tuple(replace(instruction, text=text) for text in new[: len(_FRAMES)])
