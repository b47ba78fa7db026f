"""How far listening carries: held-out wordings, held-out tasks of known families, a held-out family.

    python benchmarks/generalisation.py COLLECTION --model minilm --model FOLDER [--max-queries 50]
        [--out reports/generalisation] [--page docs/generalisation.md]

COLLECTION is what `berri collect` made; its development split is searched. All documents of the queries that are
asked, right and wrong ones, of all tasks, make one pool, each text once; a query of any level searches the whole pool,
under no instruction, one of the wordings that training uses ("own"), the held-out wordings, another task's, and one
that says nothing. The test collections are not touched. Interrupted, it goes on where it was, as results.py does.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from results import measure, systems_of
from results_page import AGAINST, HELD_OUT, System, Values, difference, difference_table, made_with, systems_in

from eval.embedding_cache import EmbeddingCache
from eval.measures import wrong_share
from eval.report_markdown import clean, markdown_table, show
from eval.task import Task
from tart.collection import Corpus, Document, Query, TestCollection
from tart.errors import ConfigError, TartError
from tart.example import TrainingExample
from tart.files import atomic_write
from tart.instruction import Instruction
from tart.models.backend import Backend
from tart.shards import SPLITS, Collection

MEASURE, WRONG = "nDCG@10", "wrong kind@10"
LEVELS = {
    "train": "Held-out wordings: tasks that training sees",
    "held-out-task": "Held-out tasks of families that training sees",
    "held-out-family": "A family that training doesn't see",
}
INTRODUCTION = """# Generalisation

Made by `benchmarks/generalisation.py` from the development split of the training collection; {measure} times 100, mean
over tasks, at most {queries} queries each. All tasks search one pool of {documents:,} documents. **own**: one of the
wordings that training uses; **held-out**: the mean over wordings that it doesn't; **other**: another task's;
**generic**: one that says nothing; **wrong kind**: share of the first ten that is another unit of text (or of a unit
that nothing tells: {unknown:,} documents).
"""
COLUMNS = ("none", "own", HELD_OUT, "other", "generic")


@dataclass
class Pool:
    """The development queries and all their documents.

    Args:
        tasks: that have queries, siblings next to each other.
        level: task -> key of `LEVELS`.
        units: document id -> units of text that it is; a document that no example calls its own has none.
    """

    tasks: list[Task] = field(default_factory=list)
    level: dict[str, str] = field(default_factory=dict)
    units: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def load(collection: Collection, max_queries: int) -> Pool:
    """The development split as tasks over one corpus.

    A document that is right for the same query under a compatible task is right here too. The query itself, which
    serves as a negative in training, is left out: no corpus holds it.

    Raises:
        ConfigError: if no task has a development query.
        DataError: a damaged file.
    """
    facts = collection.tasks
    names = sorted(facts, key=lambda name: (list(LEVELS).index(facts[name]["level"]), facts[name]["source"], name))
    asked = {name: [*islice(collection.examples("dev", name), max_queries)] for name in names}
    right = {
        (name, example.group): [doc_id(one) for one in example.positives]
        for name, examples in asked.items()
        for example in examples
    }
    pool, documents = Pool(), dict[str, Document]()
    for example in (one for examples in asked.values() for one in examples):
        for document, _ in _documents(example):
            key = doc_id(document)
            documents.setdefault(key, Document(key, document.text, document.title))
    for split, name in product(SPLITS, names):  # what a sibling's document is, only the sibling's examples tell
        for example in collection.examples(split, name):
            for document, is_own in _documents(example):
                if is_own and (key := doc_id(document)) in documents:
                    pool.units[key].add(facts[name]["unit"])
    corpus = Corpus(documents.values())
    for name, examples in asked.items():
        if examples:
            pool.tasks.append(_task(name, examples, facts[name], right, corpus))
            pool.level[name] = facts[name]["level"]
    if not pool.tasks:
        raise ConfigError(f"{collection.folder}: no task has a development query")
    return pool


def doc_id(document: Document) -> str:
    """The same for equal texts."""
    return hashlib.blake2b(f"{document.title}\0{document.text}".encode(), digest_size=12).hexdigest()


def _documents(example: TrainingExample) -> Iterator[tuple[Document, bool]]:
    """Each document, and whether it is of the kind that the task wants."""
    yield from ((one, True) for one in example.positives)
    for negative in example.negatives:
        if negative.origin != "query":
            yield negative.document, negative.kind.value in ("hard", "random")


def _task(
    name: str,
    examples: Sequence[TrainingExample],
    facts: Mapping[str, Any],
    right: Mapping[tuple[str, str], list[str]],
    corpus: Corpus,
) -> Task:
    wishes = [facts["wordings"][0], *facts["held_out_wordings"]]
    wordings = tuple(Instruction(text, facts["intent"], facts["domain"], facts["unit"]) for text in wishes)
    qrels = {
        example.example_id: dict.fromkeys(
            [found for task in (name, *facts["compatible"]) for found in right.get((task, example.group), ())], 1
        )
        for example in examples
    }
    queries = tuple(Query(one.example_id, one.query.text, one.query.instruction) for one in examples)
    return Task(name, "dev", TestCollection(name, corpus, queries, qrels), wordings, facts["unit"])


def write_page(pool: Pool, reports: Path, page: Path, baseline: str, queries: int) -> None:
    """Write the page from the report folders."""
    systems = list(systems_in(reports, baseline))
    documents = pool.tasks[0].collection.corpus
    counts = {"documents": len(documents), "unknown": sum(not pool.units.get(key) for key in documents)}
    lines = INTRODUCTION.format(measure=MEASURE, queries=queries, **counts).splitlines()
    for level, title in LEVELS.items():
        names = [task.name for task in pool.tasks if pool.level[task.name] == level]
        if names:
            lines += ["", f"## {title}", "", *_level(pool, systems, names, baseline)]
    lines += ["## How this was made", "", *(f"- {clean(line)}" for line in made_with(systems))]
    with atomic_write(page) as file:
        file.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))


def _level(pool: Pool, systems: Sequence[System], names: Sequence[str], baseline: str) -> Iterator[str]:
    asked = sum(len(task.collection.queries) for task in pool.tasks if task.name in names)
    yield from (f"{len(names)} tasks, {asked:,} queries: {', '.join(names)}.", "")
    levels = [_Level(one, pool, set(names)) for one in systems]
    yield from markdown_table(
        ["system", *COLUMNS, "wrong kind, none", "wrong kind, own", f"wrong kind, {HELD_OUT}"],
        [
            [
                one.system.name,
                *(show(one.figure(MEASURE, name)) for name in COLUMNS),
                *(show(one.figure(WRONG, name)) for name in ("none", "own", HELD_OUT)),
            ]
            for one in levels
        ],
    )
    rows = []
    for one in levels:
        for right in ("own", HELD_OUT) if one.system.reads_instructions else ():
            for wrong in AGAINST:
                if found := difference(one.values(MEASURE, right), one.values(MEASURE, wrong), 0):
                    rows.append(([one.system.name, right, wrong], found[1]))
    yield from difference_table("Is the right instruction better?", ["system", "instruction", "against"], rows)
    base = next((one for one in levels if one.system.name == baseline), None)
    rows = []
    for one in levels:
        for name in (MEASURE, WRONG) if base and one is not base else ():
            for condition in ("none", "own", HELD_OUT):
                if base and (found := difference(one.values(name, condition), base.values(name, condition), 0)):
                    rows.append(([one.system.name, name, condition], found[1]))
    yield from difference_table(f"Against {clean(baseline)}", ["system", "measure", "instruction"], rows)


@dataclass(frozen=True)
class _Level:
    """One system on the tasks of a level."""

    system: System
    pool: Pool
    names: set[str]

    def values(self, measure: str, condition: str) -> Values:
        """As `System.values`; also for the share of the wrong kind."""
        if measure != WRONG:
            found = self.system.values(measure, condition, "closed")
            return {task: values for task, values in found.items() if task in self.names}
        units = {task.name: task.unit for task in self.pool.tasks}
        by_task: dict[str, list[dict[str, float]]] = defaultdict(list)
        for cell in self.system.report.cells:
            label = (
                HELD_OUT if cell.instruction[:8] == "wording-" and cell.instruction != "wording-1" else cell.instruction
            )
            if label == condition and cell.task in self.names:
                unit = units[cell.task]
                shares = wrong_share(cell.run, 10, lambda _, key, unit=unit: unit not in self.pool.units[key])  # type: ignore[misc]
                by_task[cell.task].append(shares)
        return {
            task: {query: sum(one[query] for one in found) / len(found) for query in found[0]}
            for task, found in by_task.items()
        }

    def figure(self, measure: str, condition: str) -> float | None:
        """The mean over the tasks."""
        values = self.values(measure, condition)
        return sum(sum(one.values()) / len(one) for one in values.values()) / len(values) if values else None


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--model", "-m", action="append", required=True, help="bm25, a model, a folder; several times")
    parser.add_argument("--baseline", default="minilm", help="with which the others are compared")
    parser.add_argument("--max-queries", type=int, default=50, help="of each task")
    parser.add_argument("--out", type=Path, default=Path("reports/generalisation"))
    parser.add_argument("--page", type=Path, default=Path("docs/generalisation.md"))
    parser.add_argument("--cache", type=Path, help="folder of the embedding cache")
    parser.add_argument("--backend", default="auto", choices=get_args(Backend), help="what models run on")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        run(parser.parse_args())
    except TartError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    """Measure what isn't measured yet, and write the page."""
    pool = load(Collection(options.collection), options.max_queries)
    cache = EmbeddingCache(options.cache, show_progress=True)
    conditions = ["none", "own", "wordings", "other", "generic"]
    settings = {"instructions": conditions, "measures": [MEASURE], "max_queries": options.max_queries}
    for system in systems_of(options.model, None, cache, options.backend):
        folder = options.out / quote(f"{system.name} {system.retrieval}", safe=" +")
        new = measure([*pool.tasks], system, folder, settings, "", cache)
        print(f"{folder}: {'measured' if new else 'there already'}", file=sys.stderr)
    write_page(pool, options.out, options.page, options.baseline, options.max_queries)
    print(options.page)


if __name__ == "__main__":
    main()
