"""Denoising: a cross-encoder looks at the hard candidates, keeps the wrong ones and finds further right ones.

Source: arXiv 2211.09260, section 3.2: of the 30 best, a score under 0.1 stays a negative, one over 0.9 becomes a
positive, what lies between is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from berri.card import TaskCard
from berri.draft import Draft, Text
from berri.negatives import wording
from tart.collection import Query
from tart.retrieval.protocols import FloatArray, Reranker

WRONG, RIGHT = 0.1, 0.9
LOOKED_AT = 30
_AT_ONCE = 64  # drafts scored together


def denoise(
    card: TaskCard,
    drafts: Iterable[Draft],
    mined: Iterable[Mapping[str, Any]],
    texts: Mapping[str, Text],
    reranker: Reranker,
    seed: int,
    counts: Counter[str],
) -> Iterator[dict[str, Any]]:
    """The rows of candidates, each with those hard ones that are wrong, and `positives`: ids of those that are right.

    Args:
        card: the task.
        drafts: its drafts.
        mined: their candidates, in the same order.
        texts: the task's documents by id.
        reranker: gives probabilities, or logits, which are turned into probabilities.
        seed: of the wording that a reranker which knows instructions reads.
        counts: gets how many candidates were kept, promoted and dropped.
    """
    waiting: list[tuple[Draft, Mapping[str, Any]]] = []
    for pair in zip(drafts, mined, strict=True):
        waiting.append(pair)
        if len(waiting) == _AT_ONCE:
            yield from _judged(card, waiting, texts, reranker, seed, counts)
            waiting = []
    yield from _judged(card, waiting, texts, reranker, seed, counts)


def _judged(
    card: TaskCard,
    waiting: list[tuple[Draft, Mapping[str, Any]]],
    texts: Mapping[str, Text],
    reranker: Reranker,
    seed: int,
    counts: Counter[str],
) -> Iterator[dict[str, Any]]:
    pairs = []
    for draft, row in waiting:
        query = Query(draft.group, draft.query)
        if reranker.text_format.knows_instructions:
            query = query.instructed(wording(card, seed, f"{card.name}:{draft.group}"))
        pairs += [(query, texts[doc_id].document()) for doc_id, *_ in row["hard"][:LOOKED_AT]]
    scores = iter(probabilities(reranker.score(pairs)).tolist())
    for _, row in waiting:
        hard, positives = [], []
        for doc_id, origin, _ in row["hard"][:LOOKED_AT]:
            score = next(scores)
            verdict = "kept as negatives" if score < WRONG else "made positives" if score > RIGHT else "dropped"
            counts[f"candidates {verdict}"] += 1
            if score < WRONG:
                hard.append([doc_id, origin, score])
            elif score > RIGHT:
                positives.append(doc_id)
        yield {**row, "hard": hard, "positives": positives}


def probabilities(scores: FloatArray) -> FloatArray:
    """Scores as they are if all lie in [0, 1], else their logistic function: the model gives logits."""
    if not len(scores) or (scores.min() >= 0 and scores.max() <= 1):
        return scores
    return np.asarray(1 / (1 + np.exp(-scores.astype(np.float64))), dtype=np.float32)
