"""Families over two sources: one query, another document wanted by each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from berri.stats import collection_stats
from tart.example import TrainingExample
from tart.shards import SPLITS, Collection

Meetings = Callable[[str, str], Collection]


def texts_of(collection: Collection, name: str) -> dict[str, tuple[list[str], list[str]]]:
    """query -> the texts of its siblings, and of all its negatives."""
    examples: list[TrainingExample] = [one for split in SPLITS for one in collection.examples(split, name)]
    return {
        one.query.text: (
            [negative.document.text for negative in one.negatives if negative.origin == "sibling"],
            [negative.document.text for negative in one.negatives],
        )
        for one in examples
    }


def test_what_another_source_wants_for_the_same_query_disobeys(meetings: Meetings) -> None:
    collection = meetings("meeting", "dialogue")
    minutes, said = texts_of(collection, "minutes"), texts_of(collection, "said")
    assert len(minutes) == 5 and len(said) == 6
    for question in minutes:
        assert minutes[question][0] == [f"A: {question.upper()} B: Let me see."]
        assert said[question][0] == [f"The minutes have: {question} Much."]
    assert said["Why is that?"][0] == []
    assert collection_stats(collection)["twins"] == {"meeting": 5}


@pytest.mark.parametrize("family, unit", [("", "dialogue"), ("meeting", "paragraph")])
def test_tasks_of_no_family_and_documents_that_both_want_make_no_siblings(
    meetings: Meetings, family: str, unit: str
) -> None:
    collection = meetings(family, unit)
    assert len(collection.tasks) == 2
    for name, wrong in (("minutes", "A: {}"), ("said", "The minutes have: {}")):
        for question, (siblings, negatives) in texts_of(collection, name).items():
            assert siblings == []
            if family:  # what the other source wants is right here too
                start = wrong.format(question.upper() if name == "minutes" else question)
                assert not any(text.startswith(start) for text in negatives)
