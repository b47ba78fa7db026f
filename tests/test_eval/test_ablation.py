"""benchmarks/ablation.py: what each arm is trained with, and figures that are made once."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tart.shards import Collection
from tart.testing import KeywordEncoder
from tart.training.toy import write_toy_world

SOURCES = {"paper": ("title", "abstract", "summary"), "law": ("section", "heading"), "talk": ("reply",)}


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("ablation")


@pytest.fixture
def tasks() -> Any:
    """Six tasks of three sources; one that is held out, and one without examples."""
    facts = {
        f"{source}-{unit}": {"source": source, "level": "train", "examples": {"train": 9}}
        for source, units in SOURCES.items()
        for unit in units
    }
    facts["law-song"] = {"source": "law", "level": "held-out-task", "examples": {"train": 9}}
    facts["talk-empty"] = {"source": "talk", "level": "train", "examples": {"train": 0}}
    return SimpleNamespace(tasks=facts)


def test_arms_without_siblings_and_with_are_of_one_size(ablation: ModuleType, tasks: Any) -> None:
    alone = ablation.recipe_of("without siblings and twins: one task of each source", tasks, 1, 80).data.tasks
    beside = ablation.recipe_of("as many tasks, with siblings", tasks, 1, 80).data.tasks
    assert sorted(name.split("-")[0] for name in alone) == ["law", "paper", "talk"]
    assert len(beside) == 3
    assert len({name.split("-")[0] for name in beside}) < 3


def test_a_seed_draws_the_tasks_and_never_one_that_is_held_out(ablation: ModuleType, tasks: Any) -> None:
    drawn = {ablation.recipe_of("as many tasks, with siblings", tasks, seed, 80).data.tasks for seed in range(20)}
    assert len(drawn) > 3
    assert not {"law-song", "talk-empty"} & {name for names in drawn for name in names}
    recipe = ablation.recipe_of("everything", tasks, 7, 80)
    assert (recipe.seed, recipe.loop.steps, recipe.data.tasks) == (7, 80, ())


def test_all_arms_have_the_same_budget(ablation: ModuleType, tasks: Any) -> None:
    recipes = [ablation.recipe_of(arm, tasks, 1, 80) for arm in ablation.ARMS]
    assert {(one.loop, one.model) for one in recipes} == {(recipes[0].loop, recipes[0].model)}
    assert all(one != recipes[0] for one in recipes[1:])


def test_figures_are_made_once(ablation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def train(recipe: Any, data: Path, output: Path, *, verify: bool) -> None:
        trained.append(recipe.loop.steps)
        output.mkdir(parents=True)

    monkeypatch.setattr(ablation, "train_dual", train)
    encoder = KeywordEncoder(["def", "class", "how"])
    monkeypatch.setattr(ablation, "load_encoder", lambda name: encoder)
    collection: Collection = write_toy_world(tmp_path / "toy", train=4, dev=4)
    monkeypatch.setattr(ablation, "LEVELS", {"": ("train",), "held-out tasks: ": ("train",)})
    judge = ablation.Judge(collection)
    for steps in (80, 80, 90):
        figures = ablation.measure(collection, judge, "everything", 1, steps, tmp_path / "out")
    assert trained == [80, 90]
    assert set(ablation.FIGURES.values()) < set(figures)
    assert encoder.text_format.max_document_tokens == 64  # as much as was trained with
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".json", ".json"]


def test_the_table_compares_seed_by_seed(ablation: ModuleType) -> None:
    def all_at(value: float) -> dict[str, float]:
        return dict.fromkeys(ablation.FIGURES.values(), value)

    found = {ablation.WHOLE: {1: all_at(0.7), 2: all_at(0.8)}, "without": {1: all_at(0.6), 2: all_at(0.75)}}
    rows = [[cell.strip() for cell in line.split("|")] for line in ablation.table(all_at(0.5), found) if line]
    assert rows[2][1:3] == [ablation.STOCK, "50.0"]
    assert [rows[3][2], rows[3][-2]] == ["75.0 ± 7.1", ""]
    assert [rows[4][2], rows[4][-2]] == ["67.5 ± 10.6", "-10.0, -5.0"]
