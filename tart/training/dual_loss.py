"""The loss of a bi-encoder: what a batch's vectors are pushed towards.

Terms, each with a weight of the recipe:

1. contrast: a query chooses its positive among its candidates (InfoNCE).
2. choose_query: a positive chooses its query among those for which it is wrong; the same query under another wish is
   one of them (arXiv 2505.21439).
3. wish: by the kind part alone, an instructed query tells documents of the right kind from those of a wrong one, and a
   document the queries that want its kind from those that don't.
4. level: the kind is as long as the content, and of a query without instruction nothing.
5. leash: the order among documents of the right kind stays the base's (KL divergence).
6. pin: the content part of a vector stays the base's vector.
7. distill: the scores of a query's own documents follow a cross-encoder's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from torch import Tensor, nn
from torch.nn import functional

from tart.retrieval.protocols import Similarity
from tart.training.distill_loss import kl_distillation, margin_mse
from tart.training.settings import LossSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


WISH_TEMPERATURE = 0.1


class DualLoss(CachedLossMixin, nn.Module):
    """Encodes the queries and documents of a batch, length bucket by length bucket, and weighs the terms.

    Args:
        model: the bi-encoder.
        settings: terms and weights.
        similarity: of the model: "cosine" or "dot".
        content: how many first dimensions are the base's content; the whole vector for a plain bi-encoder.
        token_budget: tokens encoded together.
        grad_cache: encode twice instead of keeping activations: equal gradients, memory that doesn't grow.

    Source: GradCache is arXiv 2101.06983, as sentence-transformers implements it.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        settings: LossSettings,
        *,
        similarity: Similarity,
        content: int,
        token_budget: int,
        grad_cache: bool,
    ) -> None:
        super().__init__()
        self.model, self.settings, self.similarity, self.content = model, settings, similarity, content
        self.mini_batch_size, self.mini_batch_num_tokens = 0, token_budget
        self.uses_gradient_cache = grad_cache

    def forward(self, features: list[dict[str, Tensor]], labels: dict[str, Any]) -> Tensor | dict[str, Tensor]:
        """The loss of a batch: its terms, which the trainer logs and adds up; with GradCache their sum.

        Args:
            features: tokens of the queries, then of the documents, each sorted by length; of this process's share.
            labels: what `tart.training.batches` gives with them: relations and base vectors of the whole batch.
        """
        if self.uses_gradient_cache:
            return self.forward_cached(features, labels)  # type: ignore[arg-type]
        reps = [[part for part, _ in self.embed_minibatch_iter(one, True, False)] for one in features]
        return self._terms_of(reps, labels)

    def calculate_loss(  # type: ignore[override]
        self, reps: list[list[Tensor]], labels: dict[str, Any], *, with_backward: bool = False
    ) -> Tensor:
        """The loss of the vectors of all length buckets; with `with_backward` also its gradient, detached."""
        loss = torch.stack(list(self._terms_of(reps, labels).values())).sum()
        if with_backward:
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        return loss

    def _terms_of(self, reps: list[list[Tensor]], labels: dict[str, Any]) -> dict[str, Tensor]:
        queries, documents = (_gathered(torch.cat(parts).float(), labels) for parts in reps)
        return self.terms(queries[: len(labels["positive"])], documents[: labels["candidate"].shape[1]], labels)

    def terms(self, queries: Tensor, documents: Tensor, labels: dict[str, Any]) -> dict[str, Tensor]:
        """Each term, weighted.

        Args:
            queries: shape (n, dim).
            documents: shape (m, dim).
            labels: `positive`, `instructed` (n,), `candidate`, `right_kind`, `wrong_kind` (n, m); `base_queries` (n,
                base dim) and `base_documents` (m, base dim), of length 1, where a term needs them; so `teacher` and
                `scored` (n, m).
        """
        settings, widths = self.settings, (queries.shape[1], *self.settings.matryoshka)
        found: dict[str, Tensor] = {}
        for width in widths:
            scores = self._scores(queries[:, :width], documents[:, :width]) / settings.temperature
            for name, value in self._contrast(scores, labels).items():
                found[name] = found.get(name, torch.zeros_like(value)) + value / len(widths)
            if width == queries.shape[1] and settings.distill:
                found["distill"] = settings.distill * self._distill(scores, labels)
            if width == queries.shape[1] and settings.leash:
                found["leash"] = settings.leash * self._leash(scores * settings.temperature, labels)
        if settings.wish:
            asked, answers = (functional.normalize(one[:, self.content :], dim=1) for one in (queries, documents))
            found["wish"] = settings.wish * self._wish(asked, answers, labels)
        if settings.level:
            found["level"] = settings.level * self._level(queries, documents, labels["instructed"])
        if settings.pin:
            pinned = zip((queries, documents), (labels["base_queries"], labels["base_documents"]), strict=True)
            apart = [1 - functional.cosine_similarity(one[:, : self.content], base) for one, base in pinned]
            found["pin"] = settings.pin * torch.stack([one.mean() for one in apart]).sum()
        return found

    def _scores(self, queries: Tensor, documents: Tensor) -> Tensor:
        if self.similarity == "cosine":
            queries, documents = functional.normalize(queries, dim=1), functional.normalize(documents, dim=1)
        return queries @ documents.T

    def _contrast(self, scores: Tensor, labels: dict[str, Any]) -> dict[str, Tensor]:
        positive, candidate = labels["positive"], labels["candidate"]
        chosen = scores.masked_fill(~candidate, -torch.inf)
        found = {"contrast": functional.cross_entropy(chosen, positive)}
        if self.settings.choose_query:
            wrong = candidate[:, positive] & (positive[:, None] != positive[None, :])
            wrong.fill_diagonal_(True)
            asked = scores[:, positive].masked_fill(~wrong, -torch.inf).T  # row i: positive i over the queries
            rows = torch.arange(len(positive), device=scores.device)
            found["choose_query"] = self.settings.choose_query * functional.cross_entropy(asked, rows)
        return found

    def _wish(self, queries: Tensor, documents: Tensor, labels: dict[str, Any]) -> Tensor:
        """-log of the share of each right kind against all wrong ones, mean over right ones, rows, and both sides."""
        scores, wrong = queries @ documents.T / WISH_TEMPERATURE, labels["wrong_kind"]
        right = labels["right_kind"] & wrong.any(dim=1, keepdim=True)  # without an instruction all kinds are right
        sides = []
        for one, fits, fails in ((scores, right, wrong), (scores.T, right.T, wrong.T)):
            against = one.masked_fill(~fails, -1e4).logsumexp(dim=1, keepdim=True)
            apart, known = functional.softplus(against - one) * fits, fits.any(dim=1) & fails.any(dim=1)
            sides.append((apart.sum(dim=1) / fits.sum(dim=1).clamp_min(1) * known).sum() / known.sum().clamp_min(1))
        return torch.stack(sides).mean()

    def _level(self, queries: Tensor, documents: Tensor, instructed: Tensor) -> Tensor:
        """Squared distance of the kind's length, by the content's, from 1 or 0; the mean of each side, added up."""
        asked, answers = (
            one[:, self.content :].norm(dim=1) / one[:, : self.content].norm(dim=1) for one in (queries, documents)
        )
        off: Tensor = (asked - instructed.float()).square().mean() + (answers - 1).square().mean()
        return off

    def _distill(self, scores: Tensor, labels: dict[str, Any]) -> Tensor:
        if self.settings.distill_form == "kl":
            return kl_distillation(scores, labels["teacher"], labels["scored"], self.settings.distill_temperature)
        return margin_mse(scores, labels["teacher"], labels["scored"], labels["positive"])

    def _leash(self, scores: Tensor, labels: dict[str, Any]) -> Tensor:
        """KL(base || model) over the documents of the right kind, mean over queries."""
        outside, heat = ~labels["right_kind"], self.settings.leash_temperature
        base = labels["base_queries"] @ labels["base_documents"].T
        target = (base / heat).masked_fill(outside, -torch.inf).softmax(dim=1)
        order = (scores / heat).masked_fill(outside, -torch.inf).log_softmax(dim=1).masked_fill(outside, 0.0)
        wanted = target.clamp_min(1e-12).log().masked_fill(outside, 0.0)
        leash: Tensor = (target * (wanted - order)).sum(dim=1).mean()
        return leash


def _gathered(vectors: Tensor, labels: dict[str, Any]) -> Tensor:
    """The vectors of all processes, with gradient, in the order of the whole batch."""
    if labels["world"] == 1:
        return vectors
    from torch.distributed.nn.functional import all_gather

    parts = torch.stack(all_gather(vectors))  # type: ignore[no-untyped-call]
    return parts.transpose(0, 1).reshape(-1, vectors.shape[1])  # row r of process p is row r * world + p
