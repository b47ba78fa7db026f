"""What the parts of the training are worth: the recipe `mini`, shortened, with one part of it taken away at a time.

    python benchmarks/ablation.py COLLECTION [--seeds 1 2 3] [--steps 80] [--out reports/ablation]

COLLECTION is what `berri collect` made. Every arm has the same number of examples and the same seeds; a seed draws the
examples, the order, the kind's first weights and, where an arm has fewer tasks, the tasks. All are judged on the
collection's development split (`tart.training.development`); the test collections are not touched. A model takes some
seven minutes of one core and is not kept, its figures are: interrupted, the command goes on where it was, and commands
with different seeds may run side by side.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from eval.report_markdown import markdown_table
from tart.errors import TartError
from tart.files import atomic_write
from tart.models.load import load_encoder
from tart.seeded import seeded, text_hash
from tart.shards import Collection
from tart.training.development import DevelopmentSearch
from tart.training.dual import train_dual
from tart.training.recipe import read_recipe, recipe_text
from tart.training.settings import DualRecipe

STOCK, WHOLE = "all-MiniLM-L6-v2", "everything"
TOKENS = 64  # of a document
SETTINGS = (f"model.document_tokens={TOKENS}", "model.kind_scale=0.8", "development.tasks=1", "development.queries=1")
LEVELS = {"": ("train",), "held-out tasks: ": ("held-out-task", "held-out-family")}
QUERIES = {"": 10, "held-out tasks: ": 60}
FIGURES = {
    "closed, own": "closed_own",
    "pooled, own": "pooled_own",
    "wrong kind": "wrong_own",
    "pooled, held-out wording": "pooled_held_out",
    "held-out tasks: closed, own": "held-out tasks: closed_own",
    "held-out tasks: pooled, own": "held-out tasks: pooled_own",
}

Sources = Sequence[Sequence[str]]
"""The tasks of each source, which are siblings; both in an order drawn by the seed."""


def first(sources: Sources, count: int) -> list[str]:
    """So many tasks, source by source."""
    return [task for source in sources for task in source][:count]


ARMS: dict[str, tuple[Callable[[Sources], list[str]] | None, tuple[str, ...]]] = {
    WHOLE: (None, ()),
    "without unfollowing negatives": (None, ("data.unfollowing=0",)),
    "without instructions": (None, ("data.without_instruction=1",)),
    "without siblings and twins: one task of each source": (lambda sources: [one[0] for one in sources], ()),
    "as many tasks, with siblings": (lambda sources: first(sources, len(sources)), ()),
    "30 tasks, with siblings": (lambda sources: first(sources, 30), ()),
    "10 tasks, with siblings": (lambda sources: first(sources, 10), ()),
    "one wording of each task": (None, ("data.wordings=1",)),
    "without what keeps the base (leash, pin)": (None, ("loss.leash=0", "loss.pin=0")),
}


def recipe_of(arm: str, collection: Collection, seed: int, steps: int) -> DualRecipe:
    """What an arm is trained with."""
    choose, changes = ARMS[arm]
    sources = defaultdict[str, list[str]](list)
    for name, facts in collection.tasks.items():
        if facts["level"] == "train" and facts["examples"]["train"]:
            sources[facts["source"]].append(name)
    random, listed = seeded(seed, "ablation"), [sorted(sources[source]) for source in sorted(sources)]
    for tasks in listed:
        random.shuffle(tasks)
    random.shuffle(listed)
    if choose:
        changes = (*changes, f"data.tasks={json.dumps(choose(listed))}")
    return read_recipe(DualRecipe, "mini", (*SETTINGS, f"seed={seed}", f"loop.steps={steps}", *changes))


class Judge:
    """The development searches: of the tasks that are trained on, and of those that are held out."""

    def __init__(self, collection: Collection) -> None:
        self._searches = {
            name: DevelopmentSearch(collection, tasks=0, queries=QUERIES[name], documents=40, levels=levels)
            for name, levels in LEVELS.items()
        }

    def figures(self, model: str | Path) -> dict[str, float]:
        """All figures of a model, from 0 to 1; it reads as much of a document as in training."""
        encoder = load_encoder(model)
        encoder.text_format = replace(encoder.text_format, max_document_tokens=TOKENS)
        found = {name: search.evaluate(encoder) for name, search in self._searches.items()}
        return {f"{name}{key}": value for name, figures in found.items() for key, value in figures.items()}

    def __str__(self) -> str:
        counts = [f"{len(one.queries):,} queries of {len(one.tasks)} tasks" for one in self._searches.values()]
        return f"{counts[0]}, of the held-out tasks {counts[1]}"


def measure(collection: Collection, judge: Judge, arm: str, seed: int, steps: int, out: Path) -> dict[str, float]:
    """The figures of one model, which is trained if they aren't there."""
    recipe = recipe_of(arm, collection, seed, steps)
    hashed = text_hash(collection.manifest["sha256"], recipe_text(recipe)) % 16**8
    model = out / f"{list(ARMS).index(arm)}-{seed}-{hashed:08x}"
    file = model.with_suffix(".json")
    if not file.exists():
        train_dual(recipe, collection.folder, model, verify=False)
        facts = {"arm": arm, "seed": seed, "tasks": list(recipe.data.tasks), "figures": judge.figures(model)}
        with atomic_write(file) as stream:
            stream.write(json.dumps(facts, indent=1).encode())
        shutil.rmtree(model)
    print(file, file=sys.stderr, flush=True)
    figures: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))["figures"]
    return figures


def table(stock: dict[str, float], found: dict[str, dict[int, dict[str, float]]]) -> list[str]:
    """A row for each arm: means over the seeds, and by seed how far its pooled figure is from that of the whole."""
    rows = [[STOCK, *(f"{100 * stock[key]:.1f}" for key in FIGURES.values()), ""]]
    for arm, seeds in found.items():
        row = [arm]
        for key in FIGURES.values():
            values = [100 * one[key] for one in seeds.values()]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            row.append(f"{statistics.mean(values):.1f}{spread}")
        apart = [100 * (one["pooled_own"] - found[WHOLE][seed]["pooled_own"]) for seed, one in seeds.items()]
        rows.append([*row, ", ".join(f"{one:+.1f}" for one in apart) if arm != WHOLE else ""])
    return list(markdown_table(["model", *FIGURES, "pooled, own, against everything, by seed"], rows))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=80, help="of 64 examples")
    parser.add_argument("--out", type=Path, default=Path("reports/ablation"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        collection = Collection(options.collection)
        judge = Judge(collection)
        options.out.mkdir(parents=True, exist_ok=True)
        found: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in ARMS}
        for seed, arm in product(options.seeds, ARMS):
            found[arm][seed] = measure(collection, judge, arm, seed, options.steps, options.out)
        print(f"{judge}; nDCG@10 x 100; mean and standard deviation over the seeds.\n")
        print("\n".join(table(judge.figures("minilm"), found)))
    except TartError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
