"""benchmarks/generalisation.py: the development split as one pool, and figures level by level."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest

from tart.collection import Document, Query
from tart.example import Negative, NegativeKind, TrainingExample
from tart.instruction import Instruction
from tart.manifest import write_manifest
from tart.shards import KIND, Collection, write_examples
from tart.testing import KeywordEncoder

VERBS = ("sort", "read", "open", "parse")
LEVELS = {"code": "train", "prose": "train", "title": "held-out-task", "song": "held-out-family"}


@pytest.fixture
def generalisation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    for name in ("results", "results_page", "generalisation"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("generalisation")


def text(kind: str, verb: str) -> Document:
    return Document(f"{kind}-{verb}", f"{kind} that can {verb}", "")


def example(kind: str, verb: str, others: tuple[str, ...] = ()) -> TrainingExample:
    wrong = [Negative(text(kind, one), NegativeKind.HARD, "bm25") for one in VERBS if one != verb]
    wrong += [Negative(text(one, verb), NegativeKind.UNFOLLOWING, "sibling") for one in others]
    wrong.append(Negative(Document("q", verb, ""), NegativeKind.UNFOLLOWING, "query"))
    query = Query(f"{kind}:{verb}", verb, Instruction(f"Find {kind}", unit=kind))
    return TrainingExample(f"{kind}:{verb}", kind, query, (text(kind, verb),), tuple(wrong), verb)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Four tasks that ask the same four words and want another kind of text; only two of them are trained on."""
    folder, tasks = tmp_path / "collection", {}
    folder.mkdir()
    for kind, level in LEVELS.items():
        for split in ("train", "dev"):
            others = tuple(one for one in LEVELS if one != kind)
            rows = [example(kind, verb, others) for verb in VERBS] if split == "dev" else []
            write_examples(folder / split / f"{kind}.parquet", rows)
        tasks[kind] = {
            "level": level,
            "source": "made",
            "wordings": [f"Find {kind}"],
            "held_out_wordings": [f"{kind}, please", f"Which {kind}?"],
            "compatible": ["prose"] if kind == "song" else [],
            **{"intent": "answers", "domain": "", "unit": kind},
        }
    write_manifest(folder, KIND, {"tasks": tasks})
    return folder


def test_the_pool_has_each_text_once_and_never_the_query(generalisation: ModuleType, collection: Path) -> None:
    pool = generalisation.load(Collection(collection), 50)
    corpus = pool.tasks[0].collection.corpus
    assert sorted(one.text for one in corpus.values()) == sorted(
        text(kind, verb).text for kind in LEVELS for verb in VERBS
    )
    assert all(task.collection.corpus is corpus for task in pool.tasks)
    assert {next(iter(pool.units[key])) for key in corpus} == set(LEVELS)
    assert all(len(found) == 1 for found in pool.units.values())


def test_documents_of_compatible_tasks_are_right_too(generalisation: ModuleType, collection: Path) -> None:
    tasks = {task.name: task for task in generalisation.load(Collection(collection), 50).tasks}
    right = {
        name: sorted(task.collection.corpus[key].text for key in task.collection.qrels[f"{name}:sort"])
        for name, task in tasks.items()
    }
    assert right == {
        "code": ["code that can sort"],
        "prose": ["prose that can sort"],
        "title": ["title that can sort"],
        "song": ["prose that can sort", "song that can sort"],
    }


def test_the_page_tells_each_level_apart(
    generalisation: ModuleType, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = {"minilm": KeywordEncoder(VERBS), "listener": KeywordEncoder([*VERBS, "code", "prose"])}
    monkeypatch.setattr("eval.systems.load_encoder", lambda name, **more: encoders[name])
    settings = {"model": ["minilm", "listener"], "baseline": "minilm", "max_queries": 50, "backend": "auto"}
    paths = {"out": tmp_path / "out", "page": tmp_path / "page.md", "cache": tmp_path / "cache"}
    generalisation.run(Namespace(collection=collection, **settings, **paths))
    _, trained, task, family = (tmp_path / "page.md").read_text().split("\n## ", 4)[:4]
    rows = [
        {line.split(" | ")[0][2:]: line.split(" | ") for line in part.splitlines() if line.startswith("| ")}
        for part in (part.split("###")[0] for part in (trained, task, family))
    ]
    assert rows[0]["listener"][2:4] == ["100.00", "100.00"]  # own and held-out wordings name the kind
    assert float(rows[0]["minilm"][2]) < 100
    assert rows[1]["listener"][2] == rows[1]["minilm"][2]  # it never heard of titles
    assert trained.startswith("Held-out wordings") and "2 tasks, 8 queries: code, prose." in trained
    assert task.startswith("Held-out tasks") and family.startswith("A family") and "### Against minilm" in family
