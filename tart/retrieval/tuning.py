"""`tart tune`: settings of approximate search tried on an index, shown, and the chosen one saved with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tart.collection import Query
from tart.errors import ConfigError
from tart.index.build import KIND
from tart.index.dense import DenseIndex
from tart.index.tune import Asked, Trial, choose, default_factories, held_out, save_setting, try_settings
from tart.manifest import read_manifest
from tart.models.backend import Backend
from tart.progress import progress, silent
from tart.retrieval.index_model import encoder_of
from tart.retrieval.protocols import Encoder

if TYPE_CHECKING:
    from rich.table import Table

MEASURED = 400  # queries at most: recall is then known to about a hundredth


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was tried and chosen.

    Args:
        trials: in the order in which they were measured; the first is the exact search.
        chosen: the one that was saved.
        recall: that was asked for.
        k: the depth at which it was measured.
        source: what stood in for queries, in words.
    """

    trials: tuple[Trial, ...]
    chosen: Trial
    recall: float
    k: int
    source: str

    def table(self) -> Table:
        """All trials as a rich table, the chosen one marked."""
        from rich.table import Table

        table = Table(title=f"{self.source}; * the fastest with a recall of {self.recall}", title_justify="left")
        for name in ("index", "searched with", f"recall@{self.k}", "p50, ms", "p99, ms", "MiB", "built, s"):
            right = name not in ("index", "searched with")
            table.add_column(name, justify="right" if right else "left", no_wrap=right)
        for trial in self.trials:
            mark = "* " if trial is self.chosen else ""
            numbers = f"{trial.recall:.3f}", f"{trial.p50:.2f}", f"{trial.p99:.2f}", f"{trial.mebibytes:,.1f}"
            built = f"{trial.build_seconds:.0f}" if trial.setting else ""
            table.add_row(mark + trial.factory, trial.setting.effort if trial.setting else "", *numbers, built)
        return table

    def plot(self, path: str | Path) -> None:
        """Draw recall against time and against memory.

        Raises:
            ConfigError: if matplotlib isn't installed, or doesn't know the kind of file.
        """
        figure_class = load_matplotlib()
        figure = figure_class(figsize=(10, 4), layout="constrained")
        axes: Any = figure.subplots(1, 2, sharey=True)
        for factory in dict.fromkeys(trial.factory for trial in self.trials):
            part = [trial for trial in self.trials if trial.factory == factory]
            recalls = [trial.recall for trial in part]
            axes[0].plot([trial.p50 for trial in part], recalls, "o", label=factory)
            axes[1].plot([trial.mebibytes for trial in part], recalls, "o", label=factory)
        chosen = {"one query, p50, ms": self.chosen.p50, "index, MiB": self.chosen.mebibytes}
        for ax, (label, x) in zip(axes, chosen.items(), strict=True):
            ax.plot([x], [self.chosen.recall], "o", markersize=14, markerfacecolor="none", color="black")
            ax.axhline(self.recall, color="grey", linewidth=0.8)
            ax.set(xscale="log", xlabel=label)
        axes[0].set_ylabel(f"recall@{self.k}")
        axes[0].legend()
        figure.suptitle(self.source)
        try:
            figure.savefig(path)
        except ValueError as error:
            raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from None


def load_matplotlib() -> Any:
    """Its figure, which draws without a screen.

    Raises:
        ConfigError: if it isn't installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("a plot needs matplotlib: pip install 'tart-retrieval[train]'") from None
    return Figure


def tune(
    folder: str | Path,
    queries: Sequence[Query] | None = None,
    *,
    recall: float = 0.95,
    k: int = 10,
    factories: Sequence[str] = (),
    encoder: Encoder | None = None,
    backend: Backend = "auto",
    show_progress: bool = False,
) -> Tuning:
    """Find the fastest setting with a wanted recall, and save it in the index; searches use it from then on.

    Args:
        folder: an index folder.
        queries: those that are usually asked, with their instructions; None takes documents in place of them. Of more
            than 400, 400 are taken, spread evenly.
        recall: the wanted share of the exact search's k best, above 0 and at most 1.
        k: how many documents a search wants.
        factories: faiss's names of the indexes to try; a few that suit the size if empty.
        encoder: the model that made the index; None loads it, if there are queries.
        backend: what `load_encoder` takes, if the model is loaded.
        show_progress: show bars on stderr.

    Raises:
        ConfigError: a bad factory string, a recall or k out of range.
        IndexMismatch: if the model, where it is loaded, has another text format since.
        StorageError: if somebody else is writing the folder, or has built it anew in the meantime.
    """
    folder = Path(folder)
    if not 0 < recall <= 1:
        raise ConfigError(f"recall must be above 0 and at most 1, got {recall}")
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
    manifest = read_manifest(folder, KIND)
    index = DenseIndex.open(folder, manifest["similarity"], manifest.get("rounding"))
    factories = factories or default_factories(*index.vectors.shape)
    encoder = encoder if encoder or queries is None else encoder_of(folder, manifest, backend)
    asked = _encoded(queries, encoder, index) if queries is not None and encoder else held_out(index, MEASURED)
    trials: list[Trial] = []
    kept: Any = None  # of the index objects only that of the best setting so far stays in memory
    with progress("Building", len(factories) * len(index.vectors)) if show_progress else nullcontext(silent) as advance:
        for trial, built in try_settings(index, asked, factories, k, recall, advance):
            trials.append(trial)
            if choose(trials, recall) is trial:
                kept = built
    chosen = choose(trials, recall)
    measured = {f"recall@{k}": chosen.recall, "p50_ms": chosen.p50, "p99_ms": chosen.p99}
    save_setting(folder, manifest, chosen, kept, {**measured, "measured_on": asked.source})
    return Tuning(tuple(trials), chosen, recall, k, asked.source)


def _encoded(queries: Sequence[Query], encoder: Encoder, index: DenseIndex) -> Asked:
    if not queries:
        raise ConfigError("there is no query to tune with")
    rows = np.linspace(0, len(queries) - 1, min(MEASURED, len(queries))).astype(int)
    vectors = index.prepared(encoder.encode_queries([queries[row] for row in rows]))
    return Asked(vectors, np.full(len(rows), -1), f"{len(rows)} queries")
