"""The schedule: every example in its turn, siblings together, the same for the same seed, epoch and step."""

from __future__ import annotations

from collections import Counter

import pytest

from tart.errors import ConfigError
from tart.training.examples import Place
from tart.training.sampling import Schedule, quotas
from tart.training.settings import DataSettings

SIBLINGS = [(Place(task, row), f"q{row}") for task in ("code", "title") for row in range(40)]
ALONE = [(Place("answer", row), f"a{row}") for row in range(40)]
GROUPS = SIBLINGS + ALONE


def schedule(seed: int = 1, batch_size: int = 8, groups=GROUPS, **settings) -> Schedule:
    return Schedule(groups, DataSettings(**settings), batch_size, seed)


def test_an_epoch_has_each_example_once() -> None:
    made = schedule()
    seen = Counter(place for step in range(15) for place in made.batch(step)[1])
    assert {made.batch(step)[0] for step in range(15)} == {0} and made.batch(15)[0] == 1
    assert len(seen) == 120 and set(seen.values()) == {1}


def test_a_step_is_the_same_whatever_was_asked_before() -> None:
    walked, jumped = schedule(), schedule()
    for step in range(40):
        walked.batch(step)
    assert jumped.batch(40) == walked.batch(40) and jumped.batch(3) == walked.batch(3)
    assert schedule(seed=2).batch(3) != schedule().batch(3)
    assert schedule().batch(0)[1] != schedule().batch(15)[1]


def test_families_stay_together() -> None:
    made = schedule(family_share=1.0)
    whole = 0
    for step in range(15):
        places = made.batch(step)[1]
        rows = Counter(place.row for place in places if place.task != "answer")
        if len(rows) and all(place.task != "answer" for place in places):
            assert set(rows.values()) == {2}
            whole += 1
    assert whole == 10


def test_shares_make_batches_of_one_task() -> None:
    made = schedule(family_share=0.0, task_share=1.0)
    assert all(len({place.task for place in made.batch(step)[1]}) == 1 for step in range(15))


def test_a_cap_takes_other_examples_in_the_next_epoch() -> None:
    made = schedule(cap=20, batch_size=4)
    first, second = ({place for step in steps for place in made.batch(step)[1]} for steps in (range(15), range(15, 30)))
    assert len(first) == len(second) == 60 and not first & second


def test_a_cap_takes_siblings_together() -> None:
    made = schedule(cap=20, batch_size=4, family_share=1.0, seed=3)
    for steps in (range(15), range(15, 30)):
        rows = Counter(place.row for step in steps for place in made.batch(step)[1] if place.task != "answer")
        assert len(rows) == 20 and set(rows.values()) == {2}


def test_quotas_of_each_mixing() -> None:
    counts = {"large": 10_000, "small": 100}
    assert quotas(counts, DataSettings(cap=500)) == {"large": 500, "small": 100}
    assert quotas(counts, DataSettings(cap=500, mixing="uniform")) == {"large": 500, "small": 500}
    found = quotas(counts, DataSettings(cap=500, mixing="temperature", temperature=2.0))
    assert found == {"large": 500, "small": round(500 * (100 / 10_000) ** 0.5)}


def test_uniform_mixing_repeats_small_tasks() -> None:
    groups = [(Place("large", row), f"l{row}") for row in range(20)] + [
        (Place("small", 0), "s"),
        (Place("small", 1), "t"),
    ]
    made = schedule(groups=groups, mixing="uniform", batch_size=8)
    tasks = Counter(place.task for step in range(5) for place in made.batch(step)[1])
    assert tasks == {"large": 20, "small": 20}


def test_fewer_examples_than_a_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"an epoch has 120 examples; wanted at least loop\.batch_size = 121"):
        schedule(batch_size=121)
