"""The results pages, in one command: systems on every test collection, under every instruction condition.

    python benchmarks/results.py DATA --model bm25 --model minilm --model FOLDER [--rerank NAME]
        [--collections switch,x2] [--training COLLECTION] [--out reports/results] [--page docs/results.md]

DATA holds the collections (`COLLECTIONS` below); those that it lacks are left out and named. Each system has one report
folder for each collection below --out. A folder that was made from the same data, system and settings is not made
again, and vectors stand in the embedding cache: a command that was interrupted goes on where it was, and another model
costs no more than itself. The pages tell of every folder below --out.

With --rerank each system is also measured with a cross-encoder behind it, which orders its best 100 documents. That
takes hours for all queries on a CPU, so `--rerank-queries` of each collection are asked, under `--rerank-instructions`;
these figures have a page of their own, NAME-reranked.md beside the other.
With --training (a collection that `berri collect` made) wordings that training has seen, there or among those of
`berri/wordings.toml`, are left out, and named.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args
from urllib.parse import quote

from results_page import write_pages

from eval.beir_suite import load_beir
from eval.conditions import CONDITIONS
from eval.embedding_cache import EmbeddingCache
from eval.follow_suite import FollowTask, load_follow
from eval.lotte_suite import load_lotte_suite
from eval.provenance import provenance
from eval.runner import evaluate
from eval.system import System
from eval.systems import RerankSystem, make_systems
from eval.task import Pool, Task
from eval.x2_suite import load_pool
from tart.collection import Corpus, TestCollection
from tart.errors import ConfigError, TartError
from tart.files import atomic_write, sha256_file
from tart.instruction import Instruction
from tart.models.backend import Backend
from tart.models.load import load_reranker
from tart.shards import Collection
from tart.toml import read_toml

MADE_BY = "made_by.json"  # what a report folder was made from: written last
WORDINGS = Path(__file__).with_name("wordings.toml")
FURTHER = Path(__file__).parent.parent / "berri" / "wordings.toml"

Asked = Pool | list[Task | FollowTask]


class Measured(NamedTuple):
    """A test collection.

    Args:
        path: below the data folder.
        title: on the page.
        load: from its path.
        measures: the first is the page's.
        queries: how many of each task are asked at most.
    """

    path: str
    title: str
    load: Callable[[Path], Asked]
    measures: tuple[str, ...] = ("nDCG@10",)
    queries: int | None = None


CODE = Instruction("Find Python source code that does this.", "implements", "programs", "code")
ELSEWHERE = Task("elsewhere", "beir", TestCollection("elsewhere", Corpus([]), (), {}), (CODE,), "code")
"""A task without documents or queries, whose wish is the other one where a collection has one wish only."""

COLLECTIONS = {
    "scifact": Measured("scifact", "SciFact", lambda path: [load_beir(path), ELSEWHERE], ("nDCG@10", "R@100")),
    "x2": Measured("x2.toml", "X² pool", load_pool, queries=500),
    "switch": Measured("switch.toml", "Unit-switch pool", load_pool, queries=300),
    "lotte": Measured(
        "lotte_like",
        "LoTTE's layout, written answers",
        lambda path: [*load_lotte_suite(path, ["pooled-search", "pooled-forum"]), ELSEWHERE],
        ("Success@5",),
        1000,
    ),
    "perspectrum": Measured("perspectrum_stance", "Perspectrum, for and against", lambda path: [load_follow(path)]),
    "pir-exfever": Measured("pir_demo_exfever", "PIR demo, claims", lambda path: [load_follow(path)]),
    "pir-story": Measured("pir_demo_story", "PIR demo, stories", lambda path: [load_follow(path)]),
}


def tasks_of(asked: Asked) -> list[Task]:
    """The tasks of a collection, distractors included."""
    listed = asked.tasks if isinstance(asked, Pool) else asked
    return [one.task if isinstance(one, FollowTask) else one for one in listed]


def with_wordings(asked: Asked, wordings: Mapping[str, Sequence[str]], trained: set[str]) -> Asked:
    """The same with held-out wordings: where a task's own instruction has some in the table, those instead of its own.

    Args:
        asked: what is measured on.
        wordings: instruction -> other ways to say it.
        trained: wordings that a model has seen in training, as `plain` has them; none of them stays.
    """

    def of(task: Task) -> Task:
        if not task.wordings:
            return task
        own, *others = task.wordings
        texts = wordings.get(own.text, [one.text for one in others])
        kept = [replace(own, text=text) for text in texts if plain(text) not in trained]
        return replace(task, wordings=(own, *kept))

    if isinstance(asked, Pool):
        return replace(asked, tasks=tuple(map(of, asked.tasks)))
    return [one if isinstance(one, FollowTask) else of(one) for one in asked]


def plain(text: str) -> str:
    """The words of a text alone, for comparing."""
    return " ".join(re.findall(r"\w+", text.lower()))


def read_wordings(path: Path = WORDINGS) -> dict[str, tuple[str, ...]]:
    """Instruction -> held-out wordings.

    Raises:
        DataError: naming file and key.
    """
    table, found = read_toml(path), dict[str, tuple[str, ...]]()
    for task in table.tables("tasks"):
        found[task.take("instruction", str)] = task.texts("held_out")
        task.finish()
    table.finish()
    return found


def further_wordings(path: Path = FURTHER) -> Iterator[str]:
    """Those that `tart train steady` has taught the project's own model."""
    table = read_toml(path)
    for task in table.rest():
        yield from table.table(task).texts("further")


def systems_of(names: Sequence[str], rerank: str | None, cache: EmbeddingCache, backend: Backend) -> list[System]:
    """The systems of some names, each alone and with the cross-encoder behind it; a folder is called by its name."""
    systems = make_systems(names, cache=cache, backend=backend)
    for name, system in zip(names, systems, strict=True):
        if Path(name).is_dir():
            system.name = Path(name).resolve().name
    if rerank is None:
        return systems
    reranker = load_reranker(rerank, backend=backend)
    reranked: list[System] = []
    for system in systems:
        one = RerankSystem(system, reranker)
        one.name = f"{system.name}+{Path(rerank).name}"
        reranked.append(one)
    return systems + reranked


def reranker_hash(rerank: str | None) -> str:
    """What changes with the files of a cross-encoder's folder; its name if it is no folder."""
    if rerank is None or not Path(rerank).is_dir():
        return rerank or ""
    files = sorted(path for path in Path(rerank).rglob("*") if path.is_file())
    return " ".join(sha256_file(path)[:16] for path in files)


def measure(
    asked: Asked,
    system: System,
    folder: Path,
    settings: Mapping[str, Any],
    reranker: str,
    cache: EmbeddingCache,
) -> bool:
    """Measure one system on one collection, unless its folder holds just that.

    Args:
        asked: the tasks.
        system: what is measured.
        folder: of the report.
        settings: instructions, measures, max_queries.
        reranker: changes with the cross-encoder.
        cache: of embeddings.

    Returns:
        Whether it was made now.
    """
    facts = provenance(tasks_of(asked), [system.facts()])
    wanted = {"data": facts["data"], "systems": facts["systems"], "settings": settings}
    if "+rerank" in system.retrieval:
        wanted["reranker"] = reranker
    text = json.dumps(wanted, indent=1, sort_keys=True)
    made_by = folder / MADE_BY
    if made_by.is_file() and made_by.read_text(encoding="utf-8") == text:
        return False
    made_by.unlink(missing_ok=True)
    evaluate(asked, [system], **settings, out=folder, overwrite=True, cache=cache, command="benchmarks/results.py")
    with atomic_write(made_by) as file:
        file.write(text.encode())
    return True


def run(options: argparse.Namespace) -> None:
    """Measure what isn't measured yet, and write the page."""
    cache = EmbeddingCache(options.cache, show_progress=True)
    systems = systems_of(options.model, options.rerank, cache, options.backend)
    trained, notes = set[str](), list[str]()
    if options.training:
        tasks = Collection(options.training).tasks.values()
        trained = {plain(text) for task in tasks if task["level"] == "train" for text in task["wordings"]}
        trained |= {plain(text) for text in further_wordings()}
        notes.append(f"none of the {len(trained):,} wordings that training has seen is among the held-out ones")
    hashed, wordings = reranker_hash(options.rerank), read_wordings()
    for name in options.collections.split(","):
        if name not in COLLECTIONS:
            raise ConfigError(f"unknown collection {name!r}; wanted some of {', '.join(COLLECTIONS)}")
        one = COLLECTIONS[name]
        if not (options.data / one.path).exists():
            print(f"{name}: {options.data / one.path} isn't there; left out", file=sys.stderr)
            continue
        asked = with_wordings(one.load(options.data / one.path), wordings, trained)
        seen = [task.name for task in tasks_of(asked) if task.wordings and plain(task.wordings[0].text) in trained]
        if seen:
            notes.append(f"{one.title}: the own instruction of {', '.join(seen)} was seen in training")
        count = sum(bool(task.collection.queries) for task in tasks_of(asked))
        for system in systems:
            conditions, queries = options.instructions, options.max_queries or one.queries
            if "+rerank" in system.retrieval:
                conditions, share = options.rerank_instructions, max(1, options.rerank_queries // count)
                queries = min(share, queries or share)
            settings = {
                "instructions": conditions.split(","),
                "measures": list(one.measures),
                "max_queries": queries,
            }
            folder = options.out / name / quote(f"{system.name} {system.retrieval}", safe=" +")
            new = measure(asked, system, folder, settings, hashed, cache)
            print(f"{folder}: {'measured' if new else 'there already'}", file=sys.stderr)
    titles = {name: (one.title, one.measures[0]) for name, one in COLLECTIONS.items()}
    for page in write_pages(options.out, options.page, titles, options.baseline, notes, seed=0):
        print(page)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", "-m", action="append", required=True, help="bm25, a model, a folder; several times")
    parser.add_argument("--rerank", help="a cross-encoder, by name or folder")
    parser.add_argument("--baseline", default="minilm", help="with which the others are compared")
    parser.add_argument("--collections", default=",".join(COLLECTIONS))
    parser.add_argument("--instructions", default=",".join(CONDITIONS))
    parser.add_argument("--max-queries", type=int, help="of each task, instead of the collection's own number")
    parser.add_argument("--rerank-queries", type=int, default=450, help="of each collection, shared among its tasks")
    parser.add_argument("--rerank-instructions", default="none,own")
    parser.add_argument("--training", type=Path, help="the training collection")
    parser.add_argument("--out", type=Path, default=Path("reports/results"))
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--cache", type=Path, help="folder of the embedding cache")
    parser.add_argument("--backend", default="auto", choices=get_args(Backend), help="what models run on")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        run(parser.parse_args())
    except TartError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
