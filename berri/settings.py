"""What a collection is made with."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from berri.card import TaskCard
from berri.split import DEV_SHARE
from tart.errors import ConfigError
from tart.models.backend import Backend

PER_TASK = 5_000


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of `collect`.

    Args:
        seed: of every random choice.
        mirror: a folder with one folder of files for each source; None to download.
        download: whether files that the mirror lacks are fetched from their address.
        license: "open" takes only sources of free licenses, "any" all.
        tasks: names of the tasks to take; all if empty.
        per_task: most examples of one task.
        temperature: None takes the same cap for every task; else a task with n examples of at most m gets the share
            (n / m) ** (1 / temperature) of it, so 1 keeps the proportions.
        against: folders of test collections to be kept out.
        without: names of test collections that aren't at hand: sources whose card lists one as an overlap are left out.
        model: a bi-encoder that mines negatives too, besides BM25; None: BM25 alone.
        reranker: a cross-encoder that judges hard negatives, none that adds to a bi-encoder's score; None: the margin
            to the positive's score alone.
        backend: what model and reranker run on, as `load_encoder` takes it.
        dev_share: share of the queries kept for development.
        on_error: "stop" at the first bad row or file; or "skip": pass the row over and count it, leave out the source
            of the file.
        workers: processes.

    Raises:
        ConfigError: a value out of its range.
    """

    seed: int = 1
    mirror: Path | None = None
    download: bool = True
    license: Literal["open", "any"] = "any"
    tasks: tuple[str, ...] = ()
    per_task: int = PER_TASK
    temperature: float | None = None
    against: tuple[Path, ...] = ()
    without: tuple[str, ...] = ()
    model: str | None = "minilm"
    reranker: str | None = None
    backend: Backend = "auto"
    dev_share: float = DEV_SHARE
    on_error: Literal["stop", "skip"] = "stop"
    workers: int = 1

    def __post_init__(self) -> None:
        if self.per_task < 1 or self.workers < 1:
            raise ConfigError(f"per_task and workers must be at least 1, got {self.per_task} and {self.workers}")
        if not 0 < self.dev_share < 1:
            raise ConfigError(f"dev_share must be between 0 and 1, got {self.dev_share}")
        if self.temperature is not None and self.temperature < 1:
            raise ConfigError(f"temperature must be at least 1, got {self.temperature}")
        for name, known in (("license", ("open", "any")), ("on_error", ("stop", "skip"))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}")

    def config(self) -> dict[str, Any]:
        """What the outcome depends on, JSON-able: neither where files lie nor what works on it."""
        return {
            "seed": self.seed,
            "license": self.license,
            "tasks": list(self.tasks),
            "per_task": self.per_task,
            "temperature": self.temperature,
            "against": sorted(path.resolve().name for path in self.against),
            "without": list(self.without),
            "model": self.model,
            "reranker": self.reranker,
            "dev_share": self.dev_share,
            "on_error": self.on_error,
        }

    def choose(self, cards: Mapping[str, TaskCard]) -> dict[str, TaskCard]:
        """The tasks that are wanted.

        Raises:
            ConfigError: unknown task (near names are suggested), or none is left.
        """
        for name in self.tasks:
            if name not in cards:
                near = difflib.get_close_matches(name, cards, n=3)
                raise ConfigError(
                    f"unknown task {name!r}; {'did you mean ' + ', '.join(near) if near else 'see berri list'}"
                )
        chosen = {
            name: card
            for name, card in cards.items()
            if (not self.tasks or name in self.tasks) and (self.license == "any" or card.source.license_class == "open")
        }
        if not chosen:
            raise ConfigError("no task is left; see berri list for names and licenses")
        return chosen

    def quota(self, available: int, largest: int) -> int:
        """How many examples a task gives.

        Args:
            available: how many it has.
            largest: how many the largest task has.
        """
        share = 1.0 if self.temperature is None else (available / largest) ** (1 / self.temperature)
        return min(available, max(1, round(self.per_task * share)))
