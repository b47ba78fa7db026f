"""What a cross-encoder is trained with: the tables of a recipe that differ from a bi-encoder's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tart.errors import ConfigError
from tart.training.settings import DataSettings, DevelopmentSettings, LoopSettings


@dataclass(frozen=True, slots=True)
class FullModelSettings:
    """What the model reads.

    Args:
        tokens: of a pair of query and document, special ones included; also of the finished model.
        dropout: probability, in all layers.
        freeze: which part of the base stays as it is: "nothing", "embeddings", or "lower" (they and the lower half of
            the layers).
        first_stage_weight: the score of the recipe's `first_stage`, times this, is added to the model's, which learns
            what that one gets wrong; the finished model comes with it. 0: the model scores alone.
        first_stage_scale: by which that weight is multiplied once training is over: above 1 the first stage counts
            more, which costs less on tasks that the model doesn't know.

    Raises:
        ConfigError: a value out of its range.
    """

    tokens: int = 256
    first_stage_weight: float = 0.0
    first_stage_scale: float = 1.0
    dropout: float = 0.1
    freeze: Literal["nothing", "embeddings", "lower"] = "nothing"

    def __post_init__(self) -> None:
        if self.tokens < 16:
            raise ConfigError(f"model.tokens: wanted at least 16, got {self.tokens}")
        if not 0 <= self.dropout <= 0.9:
            raise ConfigError(f"model.dropout: wanted between 0 and 0.9, got {self.dropout:g}")
        if not 0 <= self.first_stage_weight < float("inf"):
            raise ConfigError(f"model.first_stage_weight: wanted at least 0, got {self.first_stage_weight:g}")
        if not 0 < self.first_stage_scale < float("inf"):
            raise ConfigError(f"model.first_stage_scale: wanted more than 0, got {self.first_stage_scale:g}")
        if self.first_stage_scale != 1 and not self.first_stage_weight:
            raise ConfigError("model.first_stage_scale: without first_stage_weight there is nothing to scale")

    @property
    def final_weight(self) -> float:
        """By which the first stage's score is multiplied in the finished model."""
        return self.first_stage_weight * self.first_stage_scale


@dataclass(frozen=True, slots=True)
class FullLossSettings:
    """What is minimised.

    Args:
        form: "pointwise": each pair is relevant or not (cross-entropy of two classes, the paper's; of one logit where
            the model has one); "listwise": a positive is chosen among its negatives (softmax over the list).
        in_batch: of the other documents of a step, those that the recipe's `first_stage` scores highest are negatives
            too: this many for each query. What may be right is left out, as in a bi-encoder's batch.

    Raises:
        ConfigError: a value out of its range.

    Source: arXiv 2211.09260, section 4 (pointwise).
    """

    form: Literal["pointwise", "listwise"] = "listwise"
    in_batch: int = 0

    def __post_init__(self) -> None:
        if self.in_batch < 0:
            raise ConfigError(f"loss.in_batch: wanted at least 0, got {self.in_batch}")


@dataclass(frozen=True, slots=True)
class FullRecipe:
    """A recipe for a cross-encoder (TART-full): `kind = "full"`.

    Args:
        name: what the model is called.
        base: the model to begin with: short name, folder or hub id of a bi-encoder (it gets a new head), a
            cross-encoder, or an EncT5.
        text_format: preset that joins instruction and query.
        license: of the trained model, for its card.
        seed: of every random choice.
        first_stage: bi-encoder whose candidates are ordered anew in the development search, and whose scores count
            where `model.first_stage_weight` or `loss.in_batch` say so.
        data: which examples, and how many negatives of each kind.
        model: what it reads.
        loss: what is minimised.
        loop: how long and how fast; `token_budget` bounds the tokens whose gradients are made at once, whole examples.
        development: how it is watched.
    """

    name: str
    base: str = "minilm"
    text_format: str = "tart-dual"
    license: str = ""
    seed: int = 1
    first_stage: str = "minilm"
    data: DataSettings = field(default_factory=DataSettings)
    model: FullModelSettings = field(default_factory=FullModelSettings)
    loss: FullLossSettings = field(default_factory=FullLossSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    development: DevelopmentSettings = field(default_factory=lambda: DevelopmentSettings(tasks=10, queries=10))

    def __post_init__(self) -> None:
        if not self.data.hard + self.data.unfollowing + self.data.random + self.loss.in_batch:
            raise ConfigError("data: a cross-encoder needs negatives; give hard, unfollowing, random or loss.in_batch")
        if self.loop.grad_cache:
            raise ConfigError("loop.grad_cache: a cross-encoder needs none, its memory doesn't grow with the batch")

    @property
    def needs_first_stage(self) -> bool:
        """Whether training reads the first stage's scores."""
        return bool(self.model.first_stage_weight or self.loss.in_batch)
