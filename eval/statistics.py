"""How much of a figure is luck: bootstrap intervals, the paired randomization test, Holm's correction.

Everything is seeded, and the same whatever the order in which the queries come.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tart.errors import ConfigError

CHUNK = 1 << 20  # numbers that are drawn at once: 10,000 samples of 10,000 queries pass through 20 MB

Values = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A range in which the mean over all such queries lies, given those that were measured."""

    low: float
    high: float


class PairedDifference(NamedTuple):
    """How two systems differ on the same queries; positive: the first is better.

    Args:
        mean: over queries of (first - second).
        low: lower end of the mean's bootstrap interval.
        high: its upper end.
        p: two-sided p-value of the randomization test.
        wins: queries on which the first is better.
        ties: queries on which they are equal.
        losses: queries on which the second is better.
        queries: how many there are.
    """

    mean: float
    low: float
    high: float
    p: float
    wins: int
    ties: int
    losses: int
    queries: int


def check_seed(seed: int) -> None:
    """Refuse what no generator takes, before anything is measured.

    Raises:
        ConfigError: if it is negative.
    """
    if seed < 0:
        raise ConfigError(f"the seed must be at least 0, got {seed}")


def bootstrap_interval(
    values: Collection[float], *, seed: int = 0, samples: int = 10_000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the mean: queries are drawn with replacement, as many as there are.

    Args:
        values: one per query. With one query, or equal values, both ends are that value: there is no spread to see.
        seed: of the draws.
        samples: how many times the queries are drawn, at least 1.
        level: share of the samples' means inside the interval, between 0 and 1.

    Raises:
        ConfigError: if there is no value, one is not finite, or a setting is out of range.

    Source: B. Efron, Bootstrap methods: another look at the jackknife, Annals of Statistics 7 (1979).

    >>> bootstrap_interval([0.5, 0.5, 0.5])
    Interval(low=0.5, high=0.5)
    """
    numbers = _checked(values, samples)
    if not 0 < level < 1:
        raise ConfigError(f"the level of an interval must lie between 0 and 1, got {level}")
    if numbers[0] == numbers[-1]:
        return Interval(float(numbers[0]), float(numbers[0]))  # the mean of equal numbers is off by a rounding error
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    for start, stop in _chunks(samples, len(numbers)):
        drawn = generator.integers(len(numbers), size=(stop - start, len(numbers)), dtype=np.int32)
        means[start:stop] = numbers[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def paired(
    first: Mapping[str, float],
    second: Mapping[str, float],
    *,
    seed: int = 0,
    samples: int = 10_000,
    level: float = 0.95,
) -> PairedDifference:
    """Compare two systems on the same queries.

    The test: if the systems were alike, each query's difference could as well have the other sign. p is the share of
    sign patterns whose mean lies at least as far from 0 as the one found; over all patterns where there are at most
    `samples` of them, otherwise over that many random ones, the one found counted in.

    Args:
        first: query_id -> value.
        second: query_id -> value, for the same queries.
        seed: of the interval's draws and the random signs.
        samples: of the interval, and the most sign patterns that are tried.
        level: of the interval.

    Raises:
        ConfigError: if the queries differ or there is none, a value is not finite, or a setting is out of range.

    Source: R. A. Fisher, The design of experiments (1935); for retrieval M. D. Smucker, J. Allan, B. Carterette, A
    comparison of statistical significance tests for information retrieval evaluation, CIKM 2007; the count of the
    pattern found: B. Phipson, G. K. Smyth, Permutation p-values should never be zero (2010).

    >>> found = paired({"q1": 0.75, "q2": 0.5}, {"q1": 0.25, "q2": 0.5})
    >>> found.mean, found.p, found.wins, found.ties, found.losses
    (0.25, 1.0, 1, 1, 0)
    """
    if first.keys() != second.keys():
        only = sorted(first.keys() ^ second.keys())
        raise ConfigError(
            f"a paired comparison needs the same queries; {len(only)} are in one of the two only, "
            f"the first is {only[0]!r}"
        )
    differences = _checked([value - second[query_id] for query_id, value in first.items()], samples)
    low, high = bootstrap_interval(differences.tolist(), seed=seed, samples=samples, level=level)
    return PairedDifference(
        mean=math.fsum(differences) / len(differences),
        low=low,
        high=high,
        p=_randomization(differences[differences != 0], seed, samples),
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((differences < 0).sum()),
        queries=len(differences),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of several p-values: below 0.05 keeps the chance of any false find below 0.05.

    Formula: with p sorted upwards, p(1) <= ... <= p(m), the corrected p(i) is the largest of (m - j + 1) p(j) for
    j <= i, at most 1.

    Args:
        p_values: of the tests that are looked at together.

    Returns:
        The corrected ones, in the order given.

    Raises:
        ConfigError: if one does not lie between 0 and 1.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian J. of Statistics 6 (1979).

    >>> holm([0.5, 0.125])
    [0.5, 0.25]
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ConfigError(f"a p-value lies between 0 and 1, got {p}")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def _checked(values: Collection[float], samples: int) -> Values:
    """The values, sorted, so that what is drawn doesn't depend on their order."""
    numbers = np.sort(np.fromiter(values, dtype=np.float64, count=len(values)))
    if not len(numbers):
        raise ConfigError("no query to compute with: give at least one value")
    if not np.isfinite(numbers).all():
        raise ConfigError("a value is NaN or infinite; measures are finite numbers")
    if samples < 1:
        raise ConfigError(f"samples must be at least 1, got {samples}")
    return numbers


def _chunks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK // columns)
    for start in range(0, rows, step):
        yield start, min(rows, start + step)


def _randomization(differences: Values, seed: int, samples: int) -> float:
    """Two-sided p-value of the sign-flip test; differences of 0 have no sign, so they are left out before."""
    count = len(differences)
    if count == 0:
        return 1.0
    far = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()  # equal sums may differ by a rounding error
    exact = 2**count <= samples
    patterns = 2**count if exact else samples
    generator = np.random.default_rng(seed)
    reached = 0
    for start, stop in _chunks(patterns, count):
        if exact:
            flipped = (np.arange(start, stop)[:, None] >> np.arange(count) & 1).astype(np.float64)
        else:
            words = generator.integers(2**64, size=(stop - start, -(-count // 64)), dtype=np.uint64)
            flipped = np.unpackbits(words.view(np.uint8), axis=1, count=count).astype(np.float64)
        sums = differences.sum() - 2 * (flipped @ differences)
        reached += int((np.abs(sums) >= far).sum())
    return reached / patterns if exact else (reached + 1) / (samples + 1)
