"""Paraphrases by rule: exactly these."""

from __future__ import annotations

import pytest

from eval.wordings import reword
from tart.instruction import Instruction


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "Find a forum post that answers this question.",
            [
                "Retrieve a forum post that answers this question.",
                "Search for a forum post that answers this question.",
                "I am looking for a forum post that answers this question.",
                "Please give me a forum post that answers this question.",
                "What I want back: a forum post that answers this question.",
            ],
        ),
        (
            "retrieve Python code",
            [
                "Search for Python code.",
                "I am looking for Python code.",
                "Please give me Python code.",
                "What I want back: Python code.",
                "Find Python code.",
            ],
        ),
        (
            "Please find me an abstract!",
            [
                "Retrieve an abstract.",
                "Search for an abstract.",
                "I am looking for an abstract.",
                "Please give me an abstract.",
                "What I want back: an abstract.",
            ],
        ),
        (
            "What does this paper say?",
            [
                "The task: What does this paper say?",
                "What I want: What does this paper say?",
                "Please do the following: What does this paper say?",
                "My wish is this: What does this paper say?",
                "Instruction: What does this paper say?",
            ],
        ),
        (
            "Find out whether this is true.",
            [
                "The task: Find out whether this is true.",
                "What I want: Find out whether this is true.",
                "Please do the following: Find out whether this is true.",
                "My wish is this: Find out whether this is true.",
                "Instruction: Find out whether this is true.",
            ],
        ),
    ],
)
def test_the_paraphrases_are_these(text: str, wanted: list[str]) -> None:
    assert [wording.text for wording in reword(Instruction(text))] == wanted


@pytest.mark.parametrize(
    "text",
    [
        "I need to find a paper.",
        "I want you to find a paper.",
        "I want to know this.",
        "Show how to sort a list.",
        "Find whether this is true.",
        "Find in this forum an answer.",
        "Get me to the source.",
        "Return to the source.",
    ],
)
def test_what_follows_the_verb_is_left_alone_if_it_is_no_object(text: str) -> None:
    (first, *_) = reword(Instruction(text))
    assert first.text == f"The task: {text}"  # not "Retrieve to find a paper."


def test_an_object_may_begin_like_a_word_that_is_none() -> None:
    assert reword(Instruction("Find outdoor tours."))[0].text == "Retrieve outdoor tours."


@pytest.mark.parametrize("verb", ["Find", "Retrieve", "Search for", "I am looking for", "Please give me", "..."])
def test_there_are_always_five_different_ones_without_the_original(verb: str) -> None:
    original = f"{verb} a duplicate."
    texts = [wording.text for wording in reword(Instruction(original))]
    assert len(set(texts)) == 5 and original not in texts


def test_a_paraphrase_keeps_intent_domain_and_unit() -> None:
    (first, *_) = reword(Instruction("Find it", "answers", "web", "paragraph"))
    assert first == Instruction("Retrieve it.", "answers", "web", "paragraph")
