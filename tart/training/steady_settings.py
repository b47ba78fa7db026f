"""What makes a bi-encoder steady under other wordings: the tables of a recipe that differ from its training's."""

from __future__ import annotations

from dataclasses import dataclass, field

from tart.errors import ConfigError
from tart.training.settings import DataSettings, DevelopmentSettings, Freeze, LoopSettings


@dataclass(frozen=True, slots=True)
class SteadySettings:
    """What is asked, and how far the model goes.

    Args:
        further: file of further wordings of the collection's tasks: TOML tables of lists, as `berri expand` writes.
        known: share of the queries that are asked in a wording that the base knows: their vector stays.
        foreign: share that is asked under the instruction of another task: the kind is that task's, the content that
            of the query without instruction. Needs a base with dimensions for the kind.
        documents: documents in a batch, by the number of its queries: their vectors stay.
        base_share: share of the base's weights in the finished model, which is the mean of both.

    Raises:
        ConfigError: a value out of its range.
    """

    further: str = ""
    known: float = 0.3
    foreign: float = 0.2
    documents: float = 0.1
    base_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("known", "foreign", "documents", "base_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"steady.{name}: wanted between 0 and 1, got {getattr(self, name):g}")
        if self.known + self.foreign > 1:
            raise ConfigError(f"steady.known and foreign: are {self.known + self.foreign:g} together; wanted at most 1")


@dataclass(frozen=True, slots=True)
class SteadyModelSettings:
    """What is trained, and what it reads while it is.

    Args:
        freeze: which part stays as it is, as for a bi-encoder.
        query_tokens: tokens of a query that are read, its instruction included.
        document_tokens: tokens of a document.

    Raises:
        ConfigError: a value out of its range.
    """

    freeze: Freeze = "lower"
    query_tokens: int = 64
    document_tokens: int = 128

    def __post_init__(self) -> None:
        for name in ("query_tokens", "document_tokens"):
            if getattr(self, name) < 8:
                raise ConfigError(f"model.{name}: wanted at least 8, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class SteadyRecipe:
    """A recipe that makes a bi-encoder steady: `kind = "steady"`.

    Args:
        name: what the model is called.
        base: the bi-encoder to begin with: short name, folder or hub id.
        license: of the trained model, for its card.
        seed: of every random choice.
        steady: what is asked.
        data: which queries, and in which of the wordings that the base knows; negatives are of no use here.
        model: what is trained.
        loop: how long and how fast.
        development: how it is watched.
    """

    name: str
    base: str = "tart-mini-dual"
    license: str = ""
    seed: int = 1
    steady: SteadySettings = field(default_factory=SteadySettings)
    data: DataSettings = field(default_factory=DataSettings)
    model: SteadyModelSettings = field(default_factory=SteadyModelSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    development: DevelopmentSettings = field(default_factory=DevelopmentSettings)

    def __post_init__(self) -> None:
        if self.loop.grad_cache:
            raise ConfigError("loop.grad_cache: this training needs none, its texts are few")
