"""The loss that keeps a bi-encoder steady: how far a text's vector is from the one that it should have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentence_transformers.base.losses.gradcache import CachedLossMixin
from torch import Tensor, cat, nn
from torch.nn import functional

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class SteadyLoss(CachedLossMixin, nn.Module):
    """Squared distance between vectors and targets, all of length 1; mean over texts.

    Args:
        model: the bi-encoder.
        content: how many first dimensions count of a query without instruction; None: all.
        token_budget: tokens encoded together.
    """

    def __init__(self, model: SentenceTransformer, *, content: int | None, token_budget: int) -> None:
        super().__init__()
        self.model, self.content = model, content
        self.mini_batch_size, self.mini_batch_num_tokens = 0, token_budget
        self.uses_gradient_cache = False

    def forward(self, features: list[dict[str, Tensor]], labels: dict[str, Any]) -> Tensor:
        """The loss of a batch.

        Args:
            features: tokens of its texts, sorted by length.
            labels: `target` (n, dim) and `plain` (n,).
        """
        vectors = cat([part for part, _ in self.embed_minibatch_iter(features[0], True, False)]).float()
        if self.content is not None:
            vectors = vectors.clone()
            vectors[:, self.content :] *= ~labels["plain"][:, None]
        distance: Tensor = (functional.normalize(vectors, dim=1) - labels["target"]).square().sum(dim=1).mean()
        return distance
