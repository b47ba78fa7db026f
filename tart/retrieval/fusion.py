"""Fusion: several runs of the same queries to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tart.errors import ConfigError
from tart.run import Hit, Run


class Fusion(Protocol):
    """Makes one run of several."""

    def fuse(self, runs: Sequence[Run], k: int) -> Run:
        """The k best documents for each query of the first run."""


@dataclass(frozen=True, slots=True)
class ReciprocalRankFusion:
    """Score of a document: the sum over the runs of 1 / (constant + rank), rank from 1; no share where it isn't found.

    Source: Cormack, Clarke and Büttcher, SIGIR 2009, who set the constant to 60.

    >>> from tart.run import Hit, Run
    >>> a, b = Run({"q": [Hit("x", 2), Hit("y", 1)]}, 2), Run({"q": [Hit("y", 9)]}, 2)
    >>> [hit.doc_id for hit in ReciprocalRankFusion().fuse([a, b], k=2)["q"]]
    ['y', 'x']
    """

    constant: int = 60

    def __post_init__(self) -> None:
        if self.constant < 1:
            raise ConfigError(f"the constant of reciprocal rank fusion must be at least 1, got {self.constant}")

    def fuse(self, runs: Sequence[Run], k: int) -> Run:
        """The k best documents for each query of the first run."""
        shares = [1 / (self.constant + rank) for rank in range(1, max(run.depth for run in runs) + 1)]
        fused = {}
        for query_id in runs[0]:
            scores: dict[str, float] = {}
            for run in runs:
                for doc_id, share in zip(run.doc_ids(query_id), shares, strict=False):
                    scores[doc_id] = scores.get(doc_id, 0.0) + share
            # The order of ties is a run's own: all that tie with the last one are handed over.
            least = sorted(scores.values())[-k] if len(scores) > k else 0.0
            fused[query_id] = [Hit(doc_id, score) for doc_id, score in scores.items() if score >= least * (1 - 1e-6)]
        return Run(fused, k)


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """Score of a document: the weighted sum of its scores, each run's scaled to [0, 1] per query; 0 where not found.

    Args:
        weights: one for each run, in their order: dense, then sparse.
    """

    weights: tuple[float, ...] = (0.5, 0.5)

    def fuse(self, runs: Sequence[Run], k: int) -> Run:
        """The k best documents for each query of the first run.

        Raises:
            ConfigError: if there isn't one weight for each run.
        """
        if len(runs) != len(self.weights):
            raise ConfigError(f"{len(self.weights)} weights for {len(runs)} runs")
        fused = {}
        for query_id in runs[0]:
            scores: dict[str, float] = {}
            for weight, run in zip(self.weights, runs, strict=True):
                hits = run.get(query_id, ())
                found = [hit.score for hit in hits]
                low, high = min(found, default=0.0), max(found, default=0.0)
                for hit in hits:
                    scaled = (hit.score - low) / (high - low) if high > low else 1.0
                    scores[hit.doc_id] = scores.get(hit.doc_id, 0.0) + weight * scaled
            fused[query_id] = [Hit(*item) for item in scores.items()]
        return Run(fused, k)
