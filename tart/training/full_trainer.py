"""The trainer of a cross-encoder: a step is read part by part, so that memory grows with a part, not with the step."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch

from tart.training.trainer import TartTrainer


class FullTrainer(TartTrainer):
    """Trains on steps that come in parts; the gradient of a step is the sum of its parts'."""

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward of each part; processes exchange gradients after the last one.

        Returns:
            The loss of the step in this process, detached.
        """
        model.train()
        total = torch.zeros((), device=self.args.device)
        for number, part in enumerate(inputs["parts"], start=1):
            last = number == len(inputs["parts"])
            with nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    loss = self.compute_loss(model, self._prepare_inputs(part))
                self.accelerator.backward(loss)
            total += loss.detach()
        return total
