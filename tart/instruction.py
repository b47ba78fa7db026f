"""Instruction: the sentence that says what the user wants back."""

from __future__ import annotations

from dataclasses import dataclass

from tart.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Instruction:
    """What the user wants back, in plain words.

    Args:
        text: the sentence, for example "Find Python source code that does this".
        intent: how the wanted text relates to the query: "answers", "duplicates", "verifies", ...
        domain: where it comes from: "Wikipedia", "StackExchange", ...
        unit: what block of text: "sentence", "paragraph", "code", ...

    Raises:
        ConfigError: if the text is blank.

    Source: the three parts are those of arXiv 2211.09260, section 3.1.

    >>> Instruction("Find a duplicate question", intent="duplicates", unit="question").unit
    'question'
    """

    text: str
    intent: str = ""
    domain: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ConfigError(f"an instruction's text must be a string, got {type(self.text).__name__}")
        if not self.text.strip():
            raise ConfigError(
                "an instruction's text must not be blank; for a search without one, give instruction=None"
            )
