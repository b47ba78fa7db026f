from __future__ import annotations

from berri.card import load_cards
from berri.paper import PAPER_TASKS


def test_each_of_the_papers_37_tasks_has_a_card() -> None:
    assert len(PAPER_TASKS) == 37
    assert all(PAPER_TASKS.values())
    named = [name for names in PAPER_TASKS.values() for name in names]
    assert sorted(set(named) - set(load_cards())) == []


def test_no_card_stands_for_two_tasks_of_the_paper() -> None:
    named = [name for names in PAPER_TASKS.values() for name in names]
    assert len(set(named)) == len(named)
