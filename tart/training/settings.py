"""What a bi-encoder is trained with: the tables of a recipe, each with its defaults."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Literal, get_args

from tart.errors import ConfigError
from tart.shards import Level

CONDITIONS = ("own", "held_out", "other", "plain")  # of the development search
MEASURES = (
    *(f"{search}_{condition}" for search in ("closed", "pooled") for condition in CONDITIONS),
    *(f"wrong_{condition}" for condition in CONDITIONS),
)
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Freeze = Literal["nothing", "embeddings", "lower", "body"]
Mixing = Literal["proportional", "temperature", "uniform"]
DistillForm = Literal["kl", "margin-mse"]


def _within(name: str, value: float, low: float, high: float = float("inf")) -> None:
    if not low <= value <= high:
        wanted = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise ConfigError(f"{name}: wanted {wanted}, got {value:g}")


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Which examples are seen, in which batches, with which negatives.

    Args:
        tasks: names of the tasks to train on; all if empty.
        levels: which levels of the cards are trained on.
        mixing: how many examples an epoch takes of a task: "proportional" all up to `cap`; "temperature" the share
            (n / m) ** (1 / temperature) of the cap for n examples where the largest task has m; "uniform" the same
            count of each, by repeating those of small tasks.
        cap: most examples of one task in an epoch.
        temperature: of "temperature" mixing.
        family_share: share of the sibling groups (one query under several instructions) that stay together in batches.
        task_share: share of the other examples that stand in batches of one task; the rest is mixed.
        hard: hard negatives of an example, at most.
        unfollowing: unfollowing negatives of an example, at most.
        random: random negatives of an example, at most.
        copies: share of the examples whose unfollowing negatives may be a copy of the query. More of them drown all
            else: nothing is as near to a query as its copy, and what pushes it away pushes the content away.
        without_instruction: share of the examples that are asked without their instruction.
        wordings: how many wordings of a task are used; 0 means all. Held-out ones never are.

    Raises:
        ConfigError: a value out of its range.
    """

    tasks: tuple[str, ...] = ()
    levels: tuple[str, ...] = ("train",)
    mixing: Mixing = "proportional"
    cap: int = 5_000
    temperature: float = 2.0
    family_share: float = 0.5
    task_share: float = 0.5
    hard: int = 2
    unfollowing: int = 1
    random: int = 0
    copies: float = 0.1
    without_instruction: float = 0.1
    wordings: int = 0

    def __post_init__(self) -> None:
        for level in self.levels:
            if level not in get_args(Level):
                raise ConfigError(f"data.levels: unknown level {level!r}; there are {', '.join(get_args(Level))}")
        _within("data.cap", self.cap, 1)
        _within("data.temperature", self.temperature, 1)
        for name in ("family_share", "task_share", "copies", "without_instruction"):
            _within(f"data.{name}", getattr(self, name), 0, 1)
        for name in ("hard", "unfollowing", "random", "wordings"):
            _within(f"data.{name}", getattr(self, name), 0)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What the model is.

    Args:
        kind_dimensions: dimensions beside those of the base, for the kind of document that is wanted; 0 trains a plain
            bi-encoder. With them the vector is the base's content, then the kind, brought to length 1 together: a
            score is the sum of the two.
        kind_scale: by which the kind is multiplied once training is over: below 1 the content counts more.
        freeze: which part of the base stays as it is: "nothing", "embeddings", "lower" (they and the lower half of the
            layers), or "body" (all of it).
        lora_rank: rank of the adapters that are trained in place of the base's own weights, and added to them at the
            end; 0 trains the weights themselves. Adapters want a learning rate about ten times as high.
        dropout: probability, in all layers of the base.
        query_tokens: tokens of a query that are read.
        document_tokens: tokens of a document that are read while training.

    Raises:
        ConfigError: a value out of its range.
    """

    kind_dimensions: int = 0
    kind_scale: float = 1.0
    freeze: Freeze = "nothing"
    lora_rank: int = 0
    dropout: float = 0.1
    query_tokens: int = 64
    document_tokens: int = 256

    def __post_init__(self) -> None:
        _within("model.kind_dimensions", self.kind_dimensions, 0)
        _within("model.kind_scale", self.kind_scale, 0)
        _within("model.lora_rank", self.lora_rank, 0)
        _within("model.query_tokens", self.query_tokens, 8)
        _within("model.document_tokens", self.document_tokens, 8)
        _within("model.dropout", self.dropout, 0, 0.9)
        if self.lora_rank and self.freeze != "nothing":
            raise ConfigError(f"model.lora_rank: freezes the whole base by itself; leave out freeze = {self.freeze!r}")
        if self.kind_scale != 1 and not self.kind_dimensions:
            raise ConfigError("model.kind_scale: a model without kind_dimensions has no kind to scale")
        if self.freeze == "body" and not self.kind_dimensions:
            raise ConfigError("model.freeze: a frozen body leaves nothing to train without kind_dimensions")


@dataclass(frozen=True, slots=True)
class LossSettings:
    """What is minimised: a sum of terms, each with its weight.

    Args:
        temperature: scores are divided by it before the softmax.
        choose_query: weight of the contrast in the other direction: a document chooses among queries.
        wish: weight of the contrast of kinds: the kind part of an instructed query against those of documents of the
            right and of wrong kinds. Needs `model.kind_dimensions`.
        level: weight of the distance of the kind's length from the content's, in documents and instructed queries, and
            from 0 in queries without instruction, which want no kind. Needs `model.kind_dimensions`.
        leash: weight of the divergence from the base's own order among documents of the right kind (for queries
            without instruction: among all).
        leash_temperature: that of the leash.
        pin: weight of the distance between the content part of a vector and the base's vector; an instructed query's
            content is pinned to the query's without its instruction.
        guard: an in-batch document of the query's own task that the base scores more than this share of the positive's
            score may be right, and is masked; 0 masks none.
        matryoshka: shorter vectors, as first dimensions, that are trained along.
        teacher: folder of a cross-encoder's scores, as `tart train teacher` writes it, for `distill`.
        distill: weight of following a teacher's scores of a query's own documents; ours are divided by `temperature`.
        distill_form: "kl" follows their softmax, "margin-mse" how far the positive is ahead of each.
        distill_temperature: divides both sides of "kl" once more.

    Raises:
        ConfigError: a value out of its range.
    """

    temperature: float = 0.05
    choose_query: float = 0.0
    wish: float = 0.0
    level: float = 0.0
    leash: float = 0.0
    leash_temperature: float = 0.05
    pin: float = 0.0
    guard: float = 0.0
    matryoshka: tuple[int, ...] = ()
    teacher: str = ""
    distill: float = 0.0
    distill_form: DistillForm = "kl"
    distill_temperature: float = 1.0

    def __post_init__(self) -> None:
        _within("loss.temperature", self.temperature, 1e-4)
        _within("loss.leash_temperature", self.leash_temperature, 1e-4)
        _within("loss.distill_temperature", self.distill_temperature, 1e-4)
        for name in ("choose_query", "wish", "level", "leash", "pin", "distill"):
            _within(f"loss.{name}", getattr(self, name), 0)
        _within("loss.guard", self.guard, 0, 1)
        for dim in self.matryoshka:
            _within("loss.matryoshka", dim, 1)
        if len(set(self.matryoshka)) < len(self.matryoshka):
            raise ConfigError(f"loss.matryoshka: {list(self.matryoshka)} holds a width twice")
        if bool(self.distill) != bool(self.teacher):
            raise ConfigError("loss.distill and loss.teacher, a folder that `tart train teacher` made, need each other")

    @property
    def needs_base(self) -> bool:
        """Whether a term compares with the base's vectors."""
        return bool(self.leash or self.pin or self.guard)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long and how fast.

    Args:
        steps: optimizer steps.
        batch_size: examples of a step, over all devices.
        learning_rate: peak, of the base's weights; linear warm-up, then linear decay to 0.
        head_learning_rate: the same for the layers above the base.
        warmup: share of the steps.
        weight_decay: as AdamW's.
        beta2: as AdamW's.
        max_grad_norm: gradients are clipped to this norm; 0: not at all.
        token_budget: tokens encoded together, texts sorted by length.
        grad_cache: encode twice and keep no activations: memory doesn't grow with the batch.
        gpu: the recipe is made for a GPU, and refused without one.
        precision: "auto" takes bf16 where the processor multiplies it, else fp32.
        save_every: steps between checkpoints.
        log_every: steps between lines of the log.

    Raises:
        ConfigError: a value out of its range.
    """

    steps: int = 1_000
    batch_size: int = 64
    learning_rate: float = 2e-5
    head_learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    beta2: float = 0.98
    max_grad_norm: float = 1.0
    token_budget: int = 4_096
    grad_cache: bool = False
    gpu: bool = False
    precision: Precision = "auto"
    save_every: int = 200
    log_every: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every", "log_every", "token_budget"):
            _within(f"loop.{name}", getattr(self, name), 1)
        for name in ("learning_rate", "head_learning_rate", "weight_decay", "max_grad_norm"):
            _within(f"loop.{name}", getattr(self, name), 0)
        _within("loop.warmup", self.warmup, 0, 1)
        _within("loop.beta2", self.beta2, 0, 1)


@dataclass(frozen=True, slots=True)
class DevelopmentSettings:
    """The search on the collection's development split that is made while training.

    Args:
        every: steps between two; 0: only at the end.
        tasks: how many tasks, the same ones each time; 0: all.
        queries: of each task, at most.
        measure: which figure picks the best checkpoint; of those called "wrong" the lowest is the best.
        patience: stop after so many searches without a better figure; 0: never.

    Raises:
        ConfigError: a value out of its range.
    """

    every: int = 200
    tasks: int = 40
    queries: int = 50
    measure: str = "pooled_own"
    patience: int = 0

    def __post_init__(self) -> None:
        for name in ("every", "tasks", "patience"):
            _within(f"development.{name}", getattr(self, name), 0)
        _within("development.queries", self.queries, 1)
        if self.measure not in MEASURES:
            near = difflib.get_close_matches(self.measure, MEASURES, n=3) or list(MEASURES)
            raise ConfigError(f"development.measure: unknown measure {self.measure!r}; did you mean {', '.join(near)}?")
        if self.patience and not self.every:
            raise ConfigError("development.patience: needs development.every, the steps between two searches")


@dataclass(frozen=True, slots=True)
class DualRecipe:
    """A recipe for a bi-encoder (TART-dual): `kind = "dual"`.

    Args:
        name: what the model is called.
        base: the model to begin with: short name, folder or hub id.
        text_format: preset that joins instruction and query.
        license: of the trained model, for its card.
        seed: of every random choice.
        data: which examples.
        model: what is trained.
        loss: what is minimised.
        loop: how long and how fast.
        development: how it is watched.
    """

    name: str
    base: str = "minilm"
    text_format: str = "tart-dual"
    license: str = ""
    seed: int = 1
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    development: DevelopmentSettings = field(default_factory=DevelopmentSettings)

    def __post_init__(self) -> None:
        for name in ("wish", "level"):
            if getattr(self.loss, name) and not self.model.kind_dimensions:
                raise ConfigError(f"loss.{name}: a model without kind_dimensions has no kind")
