"""Instruction conditions: each query's text is what the condition says, and nothing else changes."""

from __future__ import annotations

import pytest

from eval.conditions import CONDITIONS, GENERIC, parse_conditions, queries_under
from eval.task import Task
from tart import Corpus, Document, Instruction, Query
from tart.collection import TestCollection
from tart.errors import ConfigError
from tart.text_format import PRESETS


def task(name: str, unit: str = "", *wordings: str, wishes: tuple[str | None, ...] = (None, None)) -> Task:
    queries = tuple(
        Query(f"q{row}", f"text {row}", None if wish is None else Instruction(wish)) for row, wish in enumerate(wishes)
    )
    collection = TestCollection(name, Corpus([Document("d", "text")]), queries, {"q0": {"d": 1}})
    return Task(name, "x2", collection, tuple(Instruction(wording) for wording in wordings), unit)


CODE = task("code", "code", "Find code", "Show me source code")
DOCSTRING = task("docstring", "code", "Find a docstring")
ANSWER = task("answer", "answer", "Find an answer")
PLAIN = task("plain")
TASKS = [CODE, PLAIN, DOCSTRING, ANSWER]


def joined(condition: str, of: Task, tasks: list[Task] | None = None) -> dict[str, list[str]]:
    """What a model reads, with the instruction marked off."""
    text_format = PRESETS["tart-dual"]
    found = queries_under(condition, of, tasks or TASKS)
    return {label: [text_format.query_text(query) for query in queries] for label, queries in found.items()}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("none", {"none": ["text 0", "text 1"]}),
        ("own", {"own": ["Find code [SEP] text 0", "Find code [SEP] text 1"]}),
        (
            "wordings",
            {
                "wording-1": ["Find code [SEP] text 0", "Find code [SEP] text 1"],
                "wording-2": ["Show me source code [SEP] text 0", "Show me source code [SEP] text 1"],
            },
        ),
        # the docstring task comes first and wants the same unit
        ("other", {"other": ["Find an answer [SEP] text 0", "Find an answer [SEP] text 1"]}),
        ("generic", {"generic": [f"{GENERIC.text} [SEP] text 0", f"{GENERIC.text} [SEP] text 1"]}),
        ("repeat", {"repeat": ["Find code Find code [SEP] text 0", "Find code Find code [SEP] text 1"]}),
    ],
)
def test_the_query_text_is_what_the_condition_says(condition: str, expected: dict[str, list[str]]) -> None:
    assert joined(condition, CODE) == expected


def test_every_condition_keeps_ids_and_texts() -> None:
    for condition in CONDITIONS:
        for queries in queries_under(condition, CODE, TASKS).values():
            assert [query.plain() for query in queries] == list(CODE.collection.queries)


def test_other_goes_round_in_a_circle() -> None:
    assert joined("other", ANSWER) == {"other": ["Find code [SEP] text 0", "Find code [SEP] text 1"]}


def test_other_takes_another_text_where_no_unit_differs() -> None:
    assert joined("other", CODE, [CODE, DOCSTRING])["other"][0] == "Find a docstring [SEP] text 0"


def test_other_never_takes_a_wording_of_the_task_itself() -> None:
    same = task("same", "", "Show me source code")
    assert joined("other", CODE, [CODE, same]) == {}


def test_other_is_never_the_query_s_own_instruction() -> None:
    """As in LoTTE's pooled task, each of whose queries names the topic of one of the other tasks."""
    mixed = task("mixed", "", "Find one", wishes=("Find code", "Find an answer", None))
    found = joined("other", mixed, [mixed, CODE, ANSWER])["other"]
    assert found == ["Find an answer [SEP] text 0", "Find code [SEP] text 1", "Find code [SEP] text 2"]
    same_unit = task("mixed", "code", wishes=("Find an answer", "Find a docstring"))
    found = joined("other", same_unit, [same_unit, DOCSTRING, ANSWER])["other"]  # another unit where it can be
    assert found == ["Find a docstring [SEP] text 0", "Find an answer [SEP] text 1"]
    alone = task("mixed", "", wishes=("Find code", "Find prose"))  # the only other task's is the first query's own
    assert joined("other", alone, [alone, CODE])["other"] == ["Find prose [SEP] text 0", "Find code [SEP] text 1"]
    assert joined("other", task("same", "", wishes=("Find code", "Find code")), [CODE, task("same")]) == {}


def test_a_query_s_own_instruction_wins_over_the_task_s() -> None:
    mixed = task("mixed", "", "Find one", wishes=("Support it", None))
    assert joined("own", mixed)["own"] == ["Support it [SEP] text 0", "Find one [SEP] text 1"]


def test_other_takes_the_next_different_instruction_where_the_task_stands_alone() -> None:
    stance = task("stance", wishes=("support", "support", "oppose", "support"))
    assert joined("other", stance, [stance])["other"] == [
        "oppose [SEP] text 0",
        "oppose [SEP] text 1",
        "support [SEP] text 2",
        "oppose [SEP] text 3",
    ]


@pytest.mark.parametrize(
    ("condition", "of"),
    [
        ("own", PLAIN),
        ("repeat", PLAIN),
        ("wordings", PLAIN),
        ("wordings", DOCSTRING),
        ("other", task("alone", "", "Find one")),
        ("other", task("one wish", wishes=("same", "same"))),
    ],
    ids=["own", "repeat", "no wording", "one wording", "no other task", "one wish for all"],
)
def test_what_a_task_lacks_is_left_out(condition: str, of: Task) -> None:
    assert queries_under(condition, of, [of]) == {}


def test_wrong_names_are_refused_with_near_ones() -> None:
    assert parse_conditions(["own", "none"]) == ("own", "none")
    with pytest.raises(ConfigError, match="unknown instruction condition 'generics'; did you mean generic"):
        parse_conditions(["none", "generics"])
    with pytest.raises(ConfigError, match="'own' is given twice"):
        parse_conditions(["own", "own"])
    with pytest.raises(ConfigError, match="no instruction condition given"):
        parse_conditions([])
