"""Plots of what `stats` counts, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tart.errors import ConfigError

MOST_BARS = 30
_ORIGINS = (  # as they are stacked; the manifest's counts are called "kind: origin"
    "hard: given", "hard: bm25", "hard: dense", "unfollowing: sibling", "unfollowing: opposite", "unfollowing: query",
    "unfollowing: other-task", "random: random",
)  # fmt: skip
_LENGTHS = ("mean query characters", "mean document characters")


def plot_stats(facts: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Draw the statistics of cards or of a collection.

    Args:
        facts: what `card_stats` or `collection_stats` gave.
        folder: gets one file a plot; what has the same name is replaced.

    Returns:
        The files.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise ConfigError("plots want matplotlib: pip install 'tart-retrieval[train]'") from None
    matplotlib.use("Agg")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(facts["tasks"], Mapping):
        names = ("by domain", "by intent", "by unit", "by family")
        return [_bars(folder / f"{name.replace(' ', '_')}.png", f"tasks {name}", facts[name]) for name in names]
    tasks: Mapping[str, Mapping[str, Any]] = facts["tasks"]
    examples = {name: max(int(one.get("train", 0)) + int(one.get("dev", 0)), 1) for name, one in tasks.items()}
    negatives = {key: {name: one.get(key, 0) / examples[name] for name, one in tasks.items()} for key in _ORIGINS}
    lengths = {key: {name: float(one[key]) for name, one in tasks.items()} for key in _LENGTHS}
    counted = [key for key in facts if key.startswith("by ")]
    return [
        *(_bars(folder / f"{key.replace(' ', '_')}.png", f"examples {key}", facts[key]) for key in counted),
        _stacked(folder / "negatives.png", "negatives an example, by kind and origin", tasks, negatives),
        _stacked(folder / "lengths.png", "characters", tasks, lengths),
    ]


def _bars(path: Path, title: str, counts: Mapping[str, int]) -> Path:
    import matplotlib.pyplot as plt

    names = list(counts)[:MOST_BARS]
    figure, axes = plt.subplots(figsize=(8, 1 + 0.25 * len(names)), layout="constrained")
    axes.barh(names[::-1], [counts[name] for name in names[::-1]])
    axes.set_title(title if len(names) == len(counts) else f"{title}, the {len(names)} largest of {len(counts)}")
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path


def _stacked(path: Path, title: str, tasks: Mapping[str, Any], parts: Mapping[str, Mapping[str, float]]) -> Path:
    import matplotlib.pyplot as plt

    names = list(tasks)[::-1]
    figure, axes = plt.subplots(figsize=(10, 1.5 + 0.2 * len(names)), layout="constrained")
    left = [0.0] * len(names)
    for label, values in parts.items():
        widths = [values[name] for name in names]
        if any(widths):
            axes.barh(names, widths, left=left, label=label)
            left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_title(title)
    axes.margins(y=0.01)
    axes.legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=80)
    plt.close(figure)
    return path
