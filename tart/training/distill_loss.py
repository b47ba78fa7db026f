"""Losses that make a bi-encoder's scores follow a teacher's, over the documents that the teacher has scored."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def kl_distillation(scores: Tensor, teacher: Tensor, scored: Tensor, temperature: float) -> Tensor:
    """KL(teacher || model) of the softmax over each query's scored documents, mean over queries.

    Args:
        scores: of the model, shape (n, m).
        teacher: log-odds or other scores that a softmax takes, shape (n, m); what it holds where nothing was scored
            doesn't matter.
        scored: bool, shape (n, m); at least one document of each query.
        temperature: both are divided by it.

    Source: the paper's code trains so from its cross-encoder's scores; arXiv 2010.11386 for the loss.
    """
    outside = ~scored
    target = (teacher / temperature).masked_fill(outside, -torch.inf).log_softmax(dim=1).masked_fill(outside, 0.0)
    found = (scores / temperature).masked_fill(outside, -torch.inf).log_softmax(dim=1).masked_fill(outside, 0.0)
    return (target.exp() * scored * (target - found)).sum(dim=1).mean()


def margin_mse(scores: Tensor, teacher: Tensor, scored: Tensor, positive: Tensor) -> Tensor:
    """Squared difference of the margins between the positive and each other scored document, mean over those.

    Args:
        scores: of the model, shape (n, m).
        teacher: shape (n, m); what it holds where nothing was scored doesn't matter.
        scored: bool, shape (n, m); the positives are.
        positive: column of each query's positive, shape (n,).

    Source: arXiv 2010.02666.
    """
    rows = torch.arange(len(positive), device=scores.device)
    others = scored.clone()
    others[rows, positive] = False
    ours = scores[rows, positive][:, None] - scores
    theirs = teacher[rows, positive][:, None] - teacher
    return functional.mse_loss(ours[others], theirs[others])
