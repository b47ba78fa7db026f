"""Measures of whether a change of the instruction changes what is retrieved: p-MRR and Robustness@k."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from tart.collection import Qrels
from tart.errors import ConfigError
from tart.run import Run


def p_mrr(original: Run, changed: Run, removed: Mapping[str, Collection[str]]) -> dict[str, float]:
    """Pairwise mean reciprocal rank: whether the documents that a change of the instruction rules out move down.

    Formula, for a document at rank r under the original and r' under the changed instruction, from 1:

        r' / r - 1    if r' <= r: it stayed or moved up, which is wrong; above -1, at most 0
        1 - r / r'    if r' > r: it moved down, which is right; above 0, below 1

    then the mean over the documents of a pair; the figure is the mean over pairs. Range -1 to 1, higher is better, 0 if
    the instruction is ignored. A document that a list lacks has the rank after the list's last one. A pair for which
    either run has no hit at all counts 0: nothing was ranked, so nothing moved.

    Args:
        original: pair_id -> hits under the original instruction.
        changed: pair_id -> hits under the changed one.
        removed: pair_id -> the documents that are relevant under the original instruction only (see
            `removed_by_change`). Pairs without such a document are left out.

    Returns:
        pair_id -> value, in the order of `removed`.

    Raises:
        ConfigError: if none of the pairs is in both runs: then the runs name them in another way.

    Source: FollowIR, arXiv 2403.15246; ties and missing documents as in mteb's implementation.

    >>> from tart.run import Hit
    >>> before = Run({"q": [Hit("a", 3), Hit("b", 2), Hit("c", 1)]}, depth=3)
    >>> after = Run({"q": [Hit("b", 3), Hit("a", 2), Hit("c", 1)]}, depth=3)
    >>> p_mrr(before, after, {"q": ["a"]})  # from rank 1 to rank 2
    {'q': 0.5}
    """
    asked = [pair_id for pair_id, doc_ids in removed.items() if doc_ids]
    if asked and not any(pair_id in original and pair_id in changed for pair_id in asked):
        raise ConfigError(
            f"none of the {len(asked)} pairs (the first is {asked[0]!r}) is in both runs; "
            "give both under the id of the pair, without a suffix such as -og or -changed"
        )
    values = {}
    for pair_id in asked:
        before, after = _ranks(original, pair_id), _ranks(changed, pair_id)
        moves = [
            _move(before.get(doc_id, len(before) + 1), after.get(doc_id, len(after) + 1)) for doc_id in removed[pair_id]
        ]
        values[pair_id] = math.fsum(moves) / len(moves) if before and after else 0.0
    return values


def removed_by_change(original: Qrels, changed: Qrels) -> dict[str, list[str]]:
    """For each pair the documents that are relevant under the original instruction and not under the changed one.

    Args:
        original: pair_id -> doc_id -> grade under the original instruction.
        changed: the same under the changed one; a document without a judgement is not relevant.

    >>> removed_by_change({"q": {"a": 1, "b": 1, "c": 0}}, {"q": {"a": 1}})
    {'q': ['b']}
    """
    return {
        pair_id: [doc_id for doc_id, grade in judged.items() if grade > 0 and changed[pair_id].get(doc_id, 0) <= 0]
        for pair_id, judged in original.items()
        if pair_id in changed
    }


def opposite_p_mrr(one: Run, other: Run, qrels_one: Qrels, qrels_other: Qrels) -> dict[str, float]:
    """p-MRR of pairs whose two instructions are each other's opposite, read in both directions.

    Going from the first instruction to the second rules out what is relevant to the first only, and the other way
    round. The value of a pair is the mean of `p_mrr` in the two directions, or the one that there is if the other rules
    out nothing. Range and meaning are those of `p_mrr`.

    Args:
        one: pair_id -> hits under the first instruction.
        other: pair_id -> hits under the second.
        qrels_one: pair_id -> judgements under the first instruction.
        qrels_other: pair_id -> judgements under the second.

    Raises:
        ConfigError: as `p_mrr`.

    Source: this project, from the formula of FollowIR, arXiv 2403.15246.
    """
    there = p_mrr(one, other, removed_by_change(qrels_one, qrels_other))
    back = p_mrr(other, one, removed_by_change(qrels_other, qrels_one))
    return {
        pair_id: math.fsum(found) / len(found)
        for pair_id in qrels_one
        if (found := [values[pair_id] for values in (there, back) if pair_id in values])
    }


def robustness_at_k(values: Mapping[str, float], groups: Mapping[str, Collection[str]]) -> dict[str, float]:
    """Robustness@k: the worst value of each query over the instructions that it comes with.

    Formula: min over the instances of a group of their nDCG@k; the figure is the mean over groups. Range 0 to 1, higher
    is better. At most the mean nDCG@k over instances if all groups are of one size.

    Args:
        values: query_id of an instance -> its nDCG@k, from `per_query`.
        groups: base query -> the query_ids of its instances, each with another instruction.

    Returns:
        base query -> its worst value, in the order of `groups`; groups without instances are left out.

    Raises:
        ConfigError: if an instance has no value: the minimum over the others would be too high.

    Source: InstructIR, arXiv 2402.14334.

    >>> robustness_at_k({"q1-a": 1.0, "q1-b": 0.5}, {"q1": ["q1-a", "q1-b"]})
    {'q1': 0.5}
    """
    missing = [query_id for members in groups.values() for query_id in members if query_id not in values]
    if missing:
        raise ConfigError(
            f"{len(missing)} instances have no value, the first is {missing[0]!r}; "
            "measure all instances of a group, or leave the group out"
        )
    return {group: min(values[query_id] for query_id in members) for group, members in groups.items() if members}


def _ranks(run: Run, pair_id: str) -> dict[str, int]:
    return {hit.doc_id: rank for rank, hit in enumerate(run.get(pair_id, ()), start=1)}


def _move(before: int, after: int) -> float:
    return after / before - 1 if after <= before else 1 - before / after
