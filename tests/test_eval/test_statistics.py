"""Intervals cover what they should, p-values are those counted by hand, and degenerate input has an answer."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from eval import statistics
from eval.statistics import bootstrap_interval, holm, paired
from tart.errors import ConfigError


def of(*values: float) -> dict[str, float]:
    return {f"q{number}": value for number, value in enumerate(values)}


def compared(*differences: float, samples: int = 10_000) -> statistics.PairedDifference:
    return paired(of(*differences), of(*[0.0] * len(differences)), samples=samples)


def test_a_95_percent_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    generator = np.random.default_rng(5)
    trials = 400
    covered = 0
    for _ in range(trials):
        values = generator.beta(0.5, 0.5, size=60)  # most values near 0 and 1, as those of queries; mean 0.5
        low, high = bootstrap_interval(values.tolist(), samples=500)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / trials <= 0.985  # 95 % less what a bootstrap of 60 misses, and four standard errors


def test_the_interval_narrows_with_the_level_and_holds_the_mean() -> None:
    values = np.random.default_rng(0).random(200).tolist()
    wide, narrow = bootstrap_interval(values, level=0.99), bootstrap_interval(values, level=0.5)
    assert wide.low < narrow.low < float(np.mean(values)) < narrow.high < wide.high


def test_the_interval_is_that_of_the_normal_approximation_for_many_queries() -> None:
    values = np.random.default_rng(1).random(5000)
    half = 1.959964 * values.std() / np.sqrt(len(values))
    low, high = bootstrap_interval(values.tolist())
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)


def test_results_depend_on_the_seed_and_not_on_the_order_of_queries() -> None:
    generator = np.random.default_rng(2)
    first, second = of(*generator.random(50)), of(*generator.random(50))
    backwards = dict(reversed(first.items()))
    assert bootstrap_interval(list(first.values())) == bootstrap_interval(list(backwards.values()))
    assert paired(first, second) == paired(backwards, second) == paired(first, second, seed=0)
    assert bootstrap_interval(list(first.values()), seed=1) != bootstrap_interval(list(first.values()), seed=0)


def test_exact_p_values_counted_by_hand() -> None:
    # 3 equal differences: of the 8 sign patterns only +++ and --- are as far from 0
    assert compared(0.5, 0.5, 0.5).p == 2 / 8
    # 1, 2, 4: the sums are ±7 ±5 ±3 ±1; 5 or more is reached by ±7 and ±5 of the 8
    assert compared(-1, 2, 4).p == 4 / 8
    # 1, 1, 2, sum 0: every pattern is as far from 0
    assert compared(1, 1, -2).p == 1.0
    # n equal differences: 2 of 2^n
    for count in range(1, 14):
        assert compared(*[0.1] * count).p == 2 / 2**count
    # zeros have no sign and change nothing
    assert compared(0.5, 0, 0.5, 0, 0.5).p == 2 / 8


def test_rounding_errors_do_not_split_equal_sums() -> None:
    # 0.1 + 0.2 - 0.3 is not 0 in binary; by hand: sums ±0.6 (2 patterns), ±0.4, ±0.2, 0 (2 patterns); found: 0.6
    assert compared(0.1, 0.2, 0.3).p == 2 / 8
    assert compared(0.1, 0.2, -0.3).p == 1.0


def test_random_signs_agree_with_all_signs() -> None:
    differences = np.random.default_rng(3).normal(0.25, 1, size=13).tolist()
    exact, drawn = compared(*differences, samples=2**13).p, compared(*differences, samples=2**13 - 1).p
    assert exact != drawn
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 2**13))


def test_a_clear_difference_over_many_queries_has_the_smallest_p_that_the_samples_allow() -> None:
    assert compared(*[0.5] * 100, samples=999).p == 1 / 1000  # the pattern found counts; never 0


def test_p_values_are_uniform_where_there_is_no_difference() -> None:
    generator = np.random.default_rng(4)
    p_values = [compared(*generator.normal(size=30), samples=500).p for _ in range(400)]
    assert abs(float(np.mean(np.array(p_values) < 0.05)) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)


def test_wins_ties_and_losses_are_the_first_systems() -> None:
    found = paired(of(0.9, 0.5, 0.1, 0.4), of(0.1, 0.5, 0.3, 0.2))
    assert (found.wins, found.ties, found.losses, found.queries) == (2, 1, 1, 4)
    assert found.mean == pytest.approx((0.8 + 0 - 0.2 + 0.2) / 4)
    assert found.low < found.mean < found.high


def test_one_query_and_equal_differences_have_an_answer() -> None:
    assert bootstrap_interval([0.3]) == (0.3, 0.3)
    assert bootstrap_interval([0.1] * 7) == (0.1, 0.1)
    assert paired(of(0.75), of(0.25)) == (0.5, 0.5, 0.5, 1.0, 1, 0, 0, 1)
    same = of(0.1, 0.9, 0.5)
    assert paired(same, same) == (0.0, 0.0, 0.0, 1.0, 0, 3, 0, 3)


def test_what_can_not_be_computed_is_refused() -> None:
    with pytest.raises(ConfigError, match="no query to compute with"):
        bootstrap_interval([])
    with pytest.raises(ConfigError, match="no query to compute with"):
        paired({}, {})
    with pytest.raises(ConfigError, match="2 are in one of the two only, the first is 'b'"):
        paired({"a": 1, "b": 1}, {"a": 1, "c": 1})
    for value in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="NaN or infinite"):
            bootstrap_interval([0.5, value])
    with pytest.raises(ConfigError, match="samples must be at least 1, got 0"):
        bootstrap_interval([0.5, 0.6], samples=0)
    for level in (0, 1, 95):
        with pytest.raises(ConfigError, match=f"between 0 and 1, got {level}"):
            bootstrap_interval([0.5, 0.6], level=level)


def test_holm_on_an_example_worked_by_hand() -> None:
    # sorted: 0.005, 0.01, 0.03, 0.04; times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; running maximum: the last becomes 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="a p-value lies between 0 and 1"):
            holm([0.5, wrong])


def test_memory_does_not_grow_with_samples_times_queries() -> None:
    generator = np.random.default_rng(6)
    first, second = of(*generator.random(10_000)), of(*generator.random(10_000))
    tracemalloc.start()
    paired(first, second, samples=2_000)  # 20 million draws: 160 MB as one array of float64
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


def test_the_chunk_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(8)
    first, second = of(*generator.random(40)), of(*generator.random(40))
    whole = paired(first, second, samples=1000)
    monkeypatch.setattr(statistics, "CHUNK", 41)
    assert paired(first, second, samples=1000) == whole
