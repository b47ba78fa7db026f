"""Other ways to say the same: paraphrases of an instruction by a fixed rule."""

from __future__ import annotations

import re
from dataclasses import replace

from tart.instruction import Instruction

_VERBS = (
    "find|retrieve|search for|look for|look up|locate|fetch|get|give|show|select|return|provide|"
    "i am looking for|i'm looking for|i need|i want"
)
_NO_OBJECT = "to|you|me|out|in|from|on|among|whether|if|how|which"  # "I need to find ...", "Find in the forum ..."
_IMPERATIVE = re.compile(
    rf"(?:please )?(?:{_VERBS})(?: me)? (?!(?:{_NO_OBJECT})\b)(?P<rest>.+)", re.IGNORECASE | re.DOTALL
)
_FRAMES = (
    "Retrieve {rest}",
    "Search for {rest}",
    "I am looking for {rest}",
    "Please give me {rest}",
    "What I want back: {rest}",
    "Find {rest}",
)
_OTHER_FRAMES = (
    "The task: {whole}",
    "What I want: {whole}",
    "Please do the following: {whole}",
    "My wish is this: {whole}",
    "Instruction: {whole}",
)
_COUNT = 5


def reword(instruction: Instruction) -> tuple[Instruction, ...]:
    """Five paraphrases of an instruction, the original not among them.

    An imperative ("Find ...", "I am looking for ...") gets other verbs around the same object; any other sentence is
    put behind an announcement. Each ends with a full stop, unless the original ends with a question mark. The rule
    knows nothing of meaning: what changes is the wording alone.

    Args:
        instruction: its intent, domain and unit are kept.

    >>> [wording.text for wording in reword(Instruction("Find a duplicate question."))][:3]
    ['Retrieve a duplicate question.', 'Search for a duplicate question.', 'I am looking for a duplicate question.']
    """
    whole = instruction.text.strip().rstrip(".!").rstrip() or instruction.text.strip()
    found = _IMPERATIVE.fullmatch(whole)
    texts = [frame.format(rest=found["rest"]) for frame in _FRAMES] if found else []
    texts += [frame.format(whole=whole) for frame in _OTHER_FRAMES]
    new = [text for text in texts if text.lower() != whole.lower()]
    stop = "" if whole.endswith("?") else "."
    return tuple(replace(instruction, text=text + stop) for text in new[:_COUNT])
