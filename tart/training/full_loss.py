"""The losses of a cross-encoder. A batch is a row of lists; the first pair of a list is right, the others are wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tart.training.full_settings import FullLossSettings


class FullLoss(nn.Module):
    """Scores the pairs of some lists and gives their share of a step's loss, the mean over its lists.

    A list counts the same however many pairs it has, so that a step may be cut anywhere between lists, and be shared
    by processes, and the loss stays the same.

    Args:
        model: anything that puts "scores" into its features, of shape (pairs, 1) or (pairs, 2).
        settings: which form.
    """

    def __init__(self, model: nn.Module, settings: FullLossSettings) -> None:
        super().__init__()
        self.model, self.settings = model, settings

    def forward(self, features: list[dict[str, Tensor]], labels: dict[str, Any]) -> Tensor:
        """The loss of a part of a step.

        Args:
            features: the tokens of all pairs, in groups of like length.
            labels: `sizes`: pairs of each list; `place`, shape (pairs,): where each stands in the groups, put one after
                the other; `lists`: how many lists the whole step has in this process; `first`, where it is there:
                what is added to each pair's score.
        """
        scores = torch.cat([self.model(dict(group))["scores"].float() for group in features])[labels["place"]]
        if "first" in labels:
            added = torch.zeros_like(scores)
            added[:, -1] = torch.tensor(labels["first"], device=scores.device)
            scores = scores + added
        form = pointwise if self.settings.form == "pointwise" else listwise
        share: Tensor = form(scores, labels["sizes"]).sum() / labels["lists"]
        return share


def pointwise(scores: Tensor, sizes: list[int]) -> Tensor:
    """Cross-entropy of "relevant" against "not relevant", mean over the pairs of each list.

    Args:
        scores: logits; shape (pairs, 1), or (pairs, 2) with "relevant" second.
        sizes: pairs of each list.

    Returns:
        shape (lists,).
    """
    relevant = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    relevant[_starts(sizes)] = 1
    if scores.shape[1] == 2:
        each = functional.cross_entropy(scores, relevant, reduction="none")
    else:
        each = functional.binary_cross_entropy_with_logits(scores[:, 0], relevant.float(), reduction="none")
    return torch.stack([part.mean() for part in torch.split(each, sizes)])


def listwise(scores: Tensor, sizes: list[int]) -> Tensor:
    """Cross-entropy of choosing the positive in its list; of two classes the log-odds are chosen by.

    Args:
        scores: as for `pointwise`.
        sizes: pairs of each list.

    Returns:
        shape (lists,).
    """
    score = scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores[:, 0]
    return torch.stack([-part.log_softmax(dim=0)[0] for part in torch.split(score, sizes)])


def _starts(sizes: list[int]) -> list[int]:
    return [sum(sizes[:number]) for number in range(len(sizes))]
