"""A picture of a training run: the loss, and what the development search found, over the steps."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tart.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = {
    "pooled_own": "pooled, own instruction",
    "pooled_held_out": "pooled, held-out wording",
    "pooled_plain": "pooled, no instruction",
    "pooled_other": "pooled, another task's",
    "closed_own": "closed, own instruction",
    "wrong_own": "wrong kind in the top 10",
}


def series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one entry of a trainer's log.

    >>> series([{"step": 1, "loss": 2.0}, {"step": 2, "eval_x": 1.0}, {"step": 3, "loss": 1.5}], "loss")
    ([1, 3], [2.0, 1.5])
    """
    found = [(int(entry["step"]), float(entry[key])) for entry in history if key in entry]
    return [step for step, _ in found], [value for _, value in found]


def draw_curves(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw the curves as a PNG; the development panel is left out where nothing was searched.

    Args:
        history: the log of a transformers trainer: entries with "step", and "loss" or "eval_...".
        path: the file to write.

    Raises:
        StorageError: the disk is full.
    """
    from matplotlib.figure import Figure  # not pyplot, which would choose a screen

    searched = [name for name in _SHOWN if series(history, f"eval_{name}")[0]]
    figure = Figure(figsize=(12 if searched else 6, 4), layout="constrained")
    panels = figure.subplots(1, 2 if searched else 1, squeeze=False)[0]
    steps, losses = series(history, "loss")
    panels[0].plot(steps, losses, color="#444444", linewidth=1)
    panels[0].set_ylabel("loss")
    if searched:
        _draw_searches(panels[1], history, searched)
    for panel in panels:
        panel.set_xlabel("step")
        panel.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    with atomic_write(path) as file:
        file.write(content.getvalue())


def _draw_searches(panel: Axes, history: Sequence[Mapping[str, Any]], searched: Sequence[str]) -> None:
    for name in searched:
        style = "--" if name.startswith("wrong") else "-"
        panel.plot(*series(history, f"eval_{name}"), style, marker="o", markersize=3, label=_SHOWN[name])
    panel.set_ylim(0, 1)
    panel.set_ylabel("nDCG@10, share")
    panel.legend(frameon=False, fontsize=8)
