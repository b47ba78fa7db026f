"""Names of measures: which there are, how they are read, and the errors for those that aren't."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import TYPE_CHECKING

from tart.errors import ConfigError

if TYPE_CHECKING:
    from ir_measures import Measure
    from ir_measures.providers import Provider

PROVIDERS = ("pytrec_eval", "msmarco", "judged", "compat")
"""The parts of `ir_measures` that compute, in this order: the first that knows a measure. All work in this process and
to the last digit; leaving the others out makes a figure independent of what else is installed."""

MAX_GRADE = 10_000
"""trec_eval counts grades in an array of that length and ends the whole process where it can't."""


def measure_name(text: str) -> str:
    """The name of a measure as results write it.

    Args:
        text: any spelling that `ir_measures` reads, such as "nDCG@10", "MRR@10" or "AP(rel=2)".

    Raises:
        ConfigError: unknown measure (near names are suggested), or a parameter that it can't have.

    >>> measure_name("MRR@10"), measure_name("MAP")
    ('RR@10', 'AP')
    """
    return str(parse_measure(text))


def providers() -> list[Provider]:
    """What computes measures."""
    from ir_measures.providers import registry

    return [registry[name] for name in PROVIDERS]


def parse_measure(text: str) -> Measure:
    """The measure of `ir_measures`, checked: its providers end the process on some bad parameters.

    Raises:
        ConfigError: see `measure_name`.
    """
    import ir_measures

    offered = {m.NAME for provider in providers() for m in provider.SUPPORTED_MEASURES if not _is_count(m)}
    spellings = {name: m.NAME for name, m in ir_measures.measures.registry.items() if m.NAME in offered}
    try:
        measure = ir_measures.parse_measure(text.strip())
    except (NameError, ValueError, KeyError):
        raise ConfigError(_unknown(text, spellings)) from None
    if measure.NAME not in offered:
        listed = ", ".join(sorted(map(str, offered)))
        raise ConfigError(f"measure {text!r} can't be computed exactly in this process; these can: {listed}")
    for name, allowed in measure.SUPPORTED_PARAMS.items():
        if allowed.required and name not in measure.params:
            example = "0.1" if name == "recall" else "10"
            raise ConfigError(f"measure {text!r} needs a {name}; write it as {measure.NAME}@{example}")
    try:
        measure.validate_params()  # type: ignore[no-untyped-call]
    except AssertionError as error:
        raise ConfigError(f"measure {text!r}: {error}") from None
    for name, highest in (("cutoff", 2**31 - 1), ("rel", MAX_GRADE)):
        value = measure.params.get(name, 1)
        if type(value) is not int or not 1 <= value <= highest:
            raise ConfigError(f"measure {text!r}: {name} must be a whole number from 1 to {highest:,}, got {value}")
    if "gains" in measure.params:
        raise ConfigError(f"measure {text!r}: change the grades in the judgements instead of giving gains")
    if not any(provider.supports(measure) for provider in providers()):
        raise ConfigError(f"measure {text!r}: {measure.NAME} can't be computed exactly with these parameters")
    return measure


def _is_count(measure: Measure) -> bool:
    from ir_measures import SumAgg

    return isinstance(measure.aggregator(), SumAgg)


def _unknown(text: str, spellings: Collection[str]) -> str:
    name, at, cutoff = text.strip().partition("@")
    by_lower = {spelling.lower(): spelling for spelling in sorted(spellings)}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    number = at + cutoff if cutoff.isdecimal() else ""
    names = [by_lower[spelling] + number for spelling in near] or ["nDCG@10", "R@100", "RR@10", "AP", "Success@5"]
    return f"unknown measure {text!r}; did you mean {', '.join(names)}?"
