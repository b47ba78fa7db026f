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
from tart.errors import ConfigError
from tart.models.backend import Backend
from tart.models.load import load_reranker
from tart.models.summed import SummedReranker
from tart.retrieval.protocols import Reranker

WRONG, RIGHT = 0.1, 0.9
LOOKED_AT = 30
LOGITS = "scores below 0 or over 1"  # counted: a reranker that gives one such score gives logits
_AT_ONCE = 64  # drafts scored together


def load_judge(name: str, backend: Backend) -> Reranker:
    """Load a cross-encoder that can judge.

    Raises:
        ConfigError: it adds to a bi-encoder's score, and the sum is no probability.
    """
    reranker = load_reranker(name, backend=backend)
    if isinstance(reranker, SummedReranker):
        wanted = "wanted a cross-encoder whose own score is a probability or a logit"
        raise ConfigError(f"{name!r} adds to the score of {reranker.first_stage!r}, so it can't judge; {wanted}")
    return reranker


def score_candidates(
    card: TaskCard,
    drafts: Iterable[Draft],
    mined: Iterable[Mapping[str, Any]],
    texts: Mapping[str, Text],
    reranker: Reranker,
    seed: int,
    counts: Counter[str],
) -> Iterator[dict[str, Any]]:
    """The rows of candidates, the first hard ones of each with the reranker's scores.

    Args:
        card: the task.
        drafts: its drafts.
        mined: their candidates, in the same order.
        texts: the task's documents by id.
        reranker: gives probabilities or logits.
        seed: of the wording that a reranker which knows instructions reads.
        counts: gets how many scores can't be probabilities.
    """
    waiting: list[tuple[Draft, Mapping[str, Any]]] = []
    for pair in zip(drafts, mined, strict=True):
        waiting.append(pair)
        if len(waiting) == _AT_ONCE:
            yield from _scored(card, waiting, texts, reranker, seed, counts)
            waiting = []
    yield from _scored(card, waiting, texts, reranker, seed, counts)


def _scored(
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
    scores = iter(reranker.score(pairs).tolist())
    for _, row in waiting:
        hard = [[doc_id, origin, next(scores)] for doc_id, origin, _ in row["hard"][:LOOKED_AT]]
        counts[LOGITS] += sum(not 0 <= score <= 1 for *_, score in hard)
        yield {**row, "hard": hard}


def denoise(scored: Iterable[Mapping[str, Any]], logits: bool, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """The rows of candidates, each with those hard ones that are wrong, and `positives`: ids of those that are right.

    Args:
        scored: what `score_candidates` gave.
        logits: whether the scores are logits; probabilities otherwise.
        counts: gets how many candidates were kept, promoted and dropped.
    """
    for row in scored:
        hard, positives = [], []
        for doc_id, origin, score in row["hard"]:
            probability = float(np.float32(1 / (1 + np.exp(-score)))) if logits else score
            if probability < WRONG:
                counts["candidates kept as negatives"] += 1
                hard.append([doc_id, origin, probability])
            elif probability > RIGHT:
                counts["candidates made positives"] += 1
                positives.append(doc_id)
            else:
                counts["candidates dropped"] += 1
        yield {**row, "hard": hard, "positives": positives}
