"""What is measured per query, and what is made of it: means, the X² gap, wrong shares, sensitivity.

`ir_measures` computes every measure that it knows, by trec_eval's own code (pytrec_eval) wherever that has it. What is
ours stands here and in `eval.follow_measures`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from eval.measure_names import MAX_GRADE, parse_measure, providers
from tart.collection import Qrels
from tart.errors import ConfigError, DataError
from tart.run import Run

if TYPE_CHECKING:
    from ir_measures import Measure
    from ir_measures.providers import Provider


def per_query(run: Run, qrels: Qrels, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """The values of some measures for every query that has a relevant document, equal to trec_eval's.

    The order of a ranking is the run's own: float32 score falling, then id falling, which is trec_eval's. A query that
    the run lacks counts 0, as with trec_eval's `-c`. Queries of the run without judgements are left out; so are those
    without a relevant document (see `without_relevant`), on which every ranking is as good as any other. Documents
    without a judgement, known to the corpus or not, are not relevant. The gain in nDCG is the grade itself; a negative
    grade counts as 0.

    Args:
        run: what was retrieved.
        qrels: query_id -> doc_id -> grade, a whole number of at most 10,000; relevant if above 0.
        measures: names as `ir_measures` reads them: "nDCG@10", "R@100", "RR@10", "P@5", "Success@5", "Rprec", ...
            Without a cutoff ("AP", "RR", "nDCG") a measure looks at the whole list and is allowed at any depth: what
            lies below the run's depth counts as not retrieved.

    Returns:
        measure -> query_id -> value, higher is better, from 0 to 1; measures under their `measure_name`, queries in the
        order of the qrels.

    Raises:
        ConfigError: unknown measure, or one whose cutoff is deeper than the run.
        DataError: if a grade is no whole number or too large.

    Source: trec_eval, https://github.com/usnistgov/trec_eval; ir_measures, https://ir-measur.es

    >>> from tart.run import Hit
    >>> run = Run({"q": [Hit("a", 0.9), Hit("b", 0.5)]}, depth=10)
    >>> per_query(run, {"q": {"b": 1}}, ["RR@10", "Success@1"])
    {'RR@10': {'q': 0.5}, 'Success@1': {'q': 0.0}}
    """
    from ir_measures.providers import FallbackProvider

    parsed = [parse_measure(text) for text in measures]
    for measure in parsed:
        cutoff = measure.params.get("cutoff", 0)
        if cutoff > run.depth:
            raise ConfigError(
                f"{measure} looks at the first {cutoff} hits, and the run holds {run.depth} per query: "
                f"the value would be too low. Retrieve to a depth of {cutoff}, or choose a smaller cutoff"
            )
    names = [query_id for query_id, judged in qrels.items() if _has_relevant(judged)]
    values: dict[str, dict[str, float]] = {str(measure): dict.fromkeys(names, 0.0) for measure in parsed}
    pipeline: Provider = FallbackProvider(providers())  # type: ignore[no-untyped-call]
    for group, depth, whole in _by_depth(parsed, run.depth) if names else []:
        grades, ranked = _relabelled(run, qrels, names, depth, whole)
        for metric in pipeline.iter_calc(group, grades, ranked):
            values[str(metric.measure)][names[int(metric.query_id)]] = float(metric.value)
    return values


def without_relevant(qrels: Qrels) -> list[str]:
    """The judged queries without a relevant document: those that `per_query` leaves out."""
    return [query_id for query_id, judged in qrels.items() if not _has_relevant(judged)]


def mean(values: Mapping[str, float]) -> float:
    """The mean over queries (or tasks), the same to the last bit in whatever order they come.

    Raises:
        ConfigError: if there is none.

    >>> mean({"q1": 0.25, "q2": 0.75})
    0.5
    """
    if not values:
        raise ConfigError("a mean over nothing: no query has both a judgement and a relevant document")
    return math.fsum(values.values()) / len(values)


def wrong_share(run: Run, k: int, is_wrong: Callable[[str, str], bool]) -> dict[str, float]:
    """For each query the share of its first k hits that come from another task or are of another unit.

    Formula: (wrong hits among the first k) / (hits among the first k). Range 0 to 1, lower is better. A query with
    fewer than k hits is divided by those it has; one without any counts 0, as nothing wrong was shown.

    Args:
        run: of a pooled search.
        k: how many hits are looked at, at least 1.
        is_wrong: whether a document (query_id, doc_id) is of the wrong kind for a query.

    Raises:
        ConfigError: if k is below 1 or deeper than the run.

    Source: this project; it tells a wrong kind of document from a wrong one of the right kind.

    >>> from tart.run import Hit
    >>> run = Run({"q": [Hit("code/1", 0.9), Hit("text/7", 0.5)]}, depth=2)
    >>> wrong_share(run, 2, lambda query_id, doc_id: not doc_id.startswith("code/"))
    {'q': 0.5}
    """
    if not 1 <= k <= run.depth:
        raise ConfigError(f"the share of wrong hits among the first {k}: the run holds {run.depth} per query")
    return {
        query_id: sum(is_wrong(query_id, hit.doc_id) for hit in hits[:k]) / max(len(hits[:k]), 1)
        for query_id, hits in run.items()
    }


def x2_gap(closed: Mapping[str, float], pooled: Mapping[str, float]) -> float:
    """What the tasks lose on average when all corpora are searched as one.

    Formula: mean over tasks of the closed value - the same of the pooled value. Range -1 to 1, lower is better, 0 if
    the other corpora don't disturb.

    Args:
        closed: task -> value when each task's own corpus is searched.
        pooled: task -> value when the union is searched; the same tasks.

    Raises:
        ConfigError: if the tasks differ, or there is none.

    Source: arXiv 2211.09260 (X²-Retrieval), there with nDCG@10.

    >>> x2_gap({"a": 0.75, "b": 0.5}, {"a": 0.5, "b": 0.25})
    0.25
    """
    if closed.keys() != pooled.keys():
        only = ", ".join(sorted(map(repr, closed.keys() ^ pooled.keys())))
        raise ConfigError(f"the gap needs the same tasks closed and pooled; in one of the two only: {only}")
    return mean(closed) - mean(pooled)


class Sensitivity(NamedTuple):
    """How much a value depends on how the same wish is worded.

    Args:
        mean: over the wordings.
        deviation: standard deviation over them (divided by their number), 0 or more, lower is better.
        sensitivity: deviation in parts of the mean, lower is better; None where the mean isn't above 0.
        worst: the lowest value.
    """

    mean: float
    deviation: float
    sensitivity: float | None
    worst: float


def sensitivity(values_per_wording: Iterable[float]) -> Sensitivity:
    """Mean, standard deviation, sensitivity and worst of a task's value over the wordings of its instruction.

    Formula: m = sum(v) / n; deviation = sqrt(sum((v - m)²) / n); sensitivity = deviation / m; worst = min(v). With one
    wording deviation and sensitivity are 0. Range of the sensitivity for values from 0 to 1: 0 to sqrt(n - 1), which it
    has where all wordings but one find nothing. MultiInstruct's figure is its mean over tasks.

    Args:
        values_per_wording: one value per wording: the mean over the task's queries.

    Raises:
        ConfigError: if there is none.

    Source: MultiInstruct (Xu et al. 2023), arXiv 2212.10773 (the sensitivity); Promptriever, arXiv 2409.11136 (the
    deviation).

    >>> sensitivity([0.25, 0.75])
    Sensitivity(mean=0.5, deviation=0.25, sensitivity=0.5, worst=0.25)
    """
    values = list(values_per_wording)
    if not values:
        raise ConfigError("sensitivity needs the value of at least one wording, got none")
    middle = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / len(values))
    return Sensitivity(middle, deviation, deviation / middle if middle > 0 else None, min(values))


def _has_relevant(judged: Mapping[str, int]) -> bool:
    return any(grade > 0 for grade in judged.values())


def _by_depth(measures: Sequence[Measure], depth: int) -> list[tuple[list[Measure], int, bool]]:
    """Measures with what they have to see, since hits that change nothing cost time: how many hits, and whether those
    after the last judged one count."""
    bounded = [m for m in measures if "cutoff" in m.params and not m.params.get("judged_only") and m.NAME != "Judged"]
    others = [m for m in measures if m not in bounded]
    groups = [(bounded, max((m.params["cutoff"] for m in bounded), default=0), False), (others, depth, True)]
    return [group for group in groups if group[0]]


def _relabelled(
    run: Run, qrels: Qrels, names: Sequence[str], depth: int, whole: bool
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Judgements and run under plain numbers, the score of a hit being minus its rank.

    The libraries sort anew, some of them with ties the other way round; strictly falling scores leave them no choice.
    And pytrec_eval ends the process on an id with a lone surrogate and cuts ids at a NUL.
    """
    grades: dict[str, dict[str, int]] = {}
    ranked: dict[str, dict[str, float]] = {}
    first = cache(lambda count: {str(rank): -float(rank) for rank in range(count)})
    for number, query_id in enumerate(names):
        doc_ids, judged = run.doc_ids(query_id)[:depth], qrels[query_id]
        rank_of = {doc_id: doc_ids.index(doc_id) for doc_id in judged.keys() & doc_ids}
        grades[str(number)] = {
            str(rank_of.get(doc_id, f"not retrieved {place}")): _grade(grade, query_id, doc_id)
            for place, (doc_id, grade) in enumerate(judged.items())
        }
        if doc_ids:
            ranked[str(number)] = first(len(doc_ids) if whole else 1 + max(rank_of.values(), default=0))
    return grades, ranked


def _grade(grade: int, query_id: str, doc_id: str) -> int:
    if int(grade) != grade or grade > MAX_GRADE:
        wanted = f"a grade must be a whole number of at most {MAX_GRADE:,}, got {grade}"
        raise DataError(f"query {query_id!r}, document {doc_id!r}: {wanted}")
    return int(grade)
