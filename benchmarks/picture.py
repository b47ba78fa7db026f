"""One picture of what the benchmarks measured: how many times faster than what one would use otherwise.

    python benchmarks/picture.py FOLDER docs/speed.svg

FOLDER holds the JSON files of the other scripts, as `make bench` writes them: encode.json, start.json, search.json,
build.json, evaluate.json. One that is missing is left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rcParams
from matplotlib.figure import Figure

OURS, REST = "#2a6f97", "#a9b4bc"


class Bar(NamedTuple):
    """How many times faster ours is, lowest and highest by the spread of both."""

    label: str
    times: float
    low: float
    high: float


def bar(label: str, ours: list[float], theirs: list[float]) -> Bar:
    """A bar of two lists of seconds."""
    middle = statistics.median(theirs) / statistics.median(ours)
    return Bar(label, middle, min(theirs) / max(ours), max(theirs) / min(ours))


def clock(outcomes: dict[str, Any], name: str) -> list[float]:
    """Seconds of one contender, which is called by how its name begins."""
    found = next(value for key, value in outcomes.items() if key.startswith(name))
    if isinstance(found, dict):
        return list(found["seconds"])
    return [one["seconds"] if isinstance(one, dict) else one[0] if isinstance(one, list) else one for one in found]


def bars(folder: Path) -> Iterator[Bar]:
    """What the JSON files say."""
    wanted = [
        ("encode", "encode", "tart, lean bf", "sentence", "Encoding, bfloat16, against sentence-transformers"),
        ("encode", "encode", "tart, lean int8", "sentence", "Encoding, int8, against sentence-transformers"),
        ("encode", "rerank", "tart, lean bf", "sentence", "Reranking, bfloat16, against sentence-transformers"),
        ("encode", "rerank", "tart, lean int8", "sentence", "Reranking, int8, against sentence-transformers"),
        ("start", "seconds", "tart search", "import sentence", "A search, against `import sentence_transformers`"),
        ("search", "outcome/exact", "batch, tart", "batch, faiss as", "Exact search, batch of 256, against faiss"),
        ("search", "outcome/exact", "one, tart", "one, faiss as", "Exact search, one query, against faiss"),
        ("build", "outcomes", "tart", "sentence", "Building an index, against the parts put together by hand"),
        ("evaluate", "outcomes", "tart", "beir", "Search and scoring, against beir"),
        ("evaluate", "outcomes", "tart", "sentence", "Search and scoring, against sentence-transformers"),
    ]
    for file, place, ours, theirs, label in wanted:
        path = folder / f"{file}.json"
        if not path.exists():
            continue
        outcomes = json.loads(path.read_text(encoding="utf-8"))
        for key in place.split("/"):
            outcomes = outcomes[key]
        if any(key.startswith(ours) for key in outcomes):
            yield bar(label, clock(outcomes, ours), clock(outcomes, theirs))


def draw(found: list[Bar], path: Path) -> None:
    """Draw the bars on a logarithmic axis."""
    figure = Figure(figsize=(9, 0.42 * len(found) + 1), layout="constrained")
    axes = figure.subplots()
    rows = range(len(found))[::-1]
    axes.barh(list(rows), [one.times for one in found], color=OURS, height=0.6)
    for row, one in zip(rows, found, strict=True):
        axes.plot([one.low, one.high], [row, row], color="black", linewidth=1)
        axes.annotate(f"{one.times:.1f}", (one.high, row), (4, 0), textcoords="offset points", va="center")
    axes.axvline(1, color=REST)
    axes.set_xscale("log", base=2)
    axes.set_xlim(0.5, 2 * max(one.high for one in found))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(list(rows), [one.label for one in found])
    axes.set_xlabel("times faster (black: spread of the rounds)")
    axes.spines[["top", "right"]].set_visible(False)
    rcParams["svg.hashsalt"] = "tart"  # the same picture from the same figures
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    found = list(bars(options.folder))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(found, options.picture)
    print(options.picture)


if __name__ == "__main__":
    main()
