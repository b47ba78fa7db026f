"""Instruction conditions: the same queries with no instruction, their own, somebody else's, a contentless one, ...

What stays the same between two conditions is the query; what changes is the instruction alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from eval.task import Task
from tart.collection import Query
from tart.errors import ConfigError
from tart.instruction import Instruction

CONDITIONS = {
    "none": "no instruction",
    "own": "the task's instruction, or the query's own where the data gives one per query",
    "wordings": "every wording that the task has, one after the other",
    "other": "the instruction of the next task, in a circle, that wants another unit, else of the next one, where it "
    "isn't the query's own; where no other task has one, the next different instruction among the task's own queries",
    "generic": "an instruction that says nothing",
    "repeat": "the own instruction, twice",
}
"""The conditions and what each means."""

GENERIC = Instruction("Find a text that fits.")


def parse_conditions(names: Sequence[str]) -> tuple[str, ...]:
    """Check condition names.

    Raises:
        ConfigError: none at all, an unknown one (near names are suggested), or one twice.
    """
    if not names:
        raise ConfigError(f"no instruction condition given; wanted some of {', '.join(CONDITIONS)}")
    for name in names:
        if name not in CONDITIONS:
            near = difflib.get_close_matches(name, CONDITIONS, n=2, cutoff=0.5) or list(CONDITIONS)
            raise ConfigError(f"unknown instruction condition {name!r}; did you mean {', '.join(near)}?")
        if list(names).count(name) > 1:
            raise ConfigError(f"the instruction condition {name!r} is given twice")
    return tuple(names)


def queries_under(condition: str, task: Task, tasks: Sequence[Task]) -> dict[str, tuple[Query, ...]]:
    """A task's queries under a condition.

    Args:
        condition: a key of `CONDITIONS`.
        task: whose queries.
        tasks: all tasks of the suite, in order: "other" looks among them.

    Returns:
        Label -> queries: one label, the condition's name; for "wordings" one for each, "wording-1" being the task's
        own. Empty if the task has not what the condition needs: an instruction, two wordings, another instruction.
    """
    queries = task.collection.queries
    if condition == "none":
        return {"none": tuple(query.plain() for query in queries)}
    if condition == "generic":
        return {"generic": tuple(query.instructed(GENERIC) for query in queries)}
    if condition == "wordings":
        if len(task.wordings) < 2:
            return {}
        return {
            f"wording-{number}": tuple(query.instructed(wording) for query in queries)
            for number, wording in enumerate(task.wordings, start=1)
        }
    own = task.own_queries()
    if not any(query.instruction for query in own):
        return {}
    if condition == "own":
        return {"own": own}
    if condition == "repeat":
        return {"repeat": tuple(_repeated(query) for query in own)}
    others = _others(task, tasks)
    return {"other": others} if others else {}


def _repeated(query: Query) -> Query:
    if query.instruction is None:
        return query
    text = query.instruction.text
    return query.instructed(replace(query.instruction, text=f"{text} {text}"))


def _others(task: Task, tasks: Sequence[Task]) -> tuple[Query, ...]:
    """The queries with another task's instruction; where there is none, with another query's."""
    place = [one.name for one in tasks].index(task.name)
    following = [*tasks[place + 1 :], *tasks[:place]]
    known = {wording.text for wording in task.wordings}
    foreign = [one for one in following if one.wordings and one.wordings[0].text not in known]
    foreign.sort(key=lambda one: one.unit == task.unit)
    own, wishes = task.own_queries(), [one.wordings[0] for one in foreign]
    others: list[Query] = []
    for row, query in enumerate(own):
        wish = _next_other(own, row, wishes)
        if wish is None:
            return ()
        others.append(query.instructed(wish))
    return tuple(others)


def _next_other(queries: Sequence[Query], row: int, foreign: Sequence[Instruction]) -> Instruction | None:
    """The first foreign instruction, else the next after the row, in a circle, that differs from the row's own."""
    own = queries[row].instruction
    following = (queries[(row + step) % len(queries)].instruction for step in range(1, len(queries)))
    return next((wish for wish in chain(foreign, following) if wish and (own is None or wish.text != own.text)), None)
