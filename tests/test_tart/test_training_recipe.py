"""Recipes: those of the project hold, a wrong key or value is named, changes from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tart.cli import app
from tart.errors import ConfigError, DataError
from tart.testing import tiny_sentence_transformer
from tart.training.dual import train_dual
from tart.training.full import train_full
from tart.training.full_settings import FullRecipe
from tart.training.recipe import differences, read_recipe, recipe_names, recipe_text
from tart.training.settings import DualRecipe
from tart.training.steady_settings import SteadyRecipe
from tart.training.toy import write_toy_world

OTHER_KINDS = {"full": FullRecipe, "steady": SteadyRecipe}


@pytest.fixture
def recipe(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "own.toml"
        path.write_text('kind = "dual"\nname = "own"\n' + text)
        return path

    return write


@pytest.mark.parametrize("name", recipe_names())
def test_the_projects_recipes_are_read_and_written_back_as_they_are(name: str, tmp_path: Path) -> None:
    kind: type = OTHER_KINDS.get(name.rpartition("-")[2], DualRecipe)
    found = read_recipe(kind, name)
    (tmp_path / "copy.toml").write_text(recipe_text(found))
    assert read_recipe(kind, tmp_path / "copy.toml") == found


def test_the_help_names_all_recipes_of_a_command() -> None:
    listed: dict[str, list[str]] = {kind: [] for kind in ("dual", *OTHER_KINDS)}
    for name in recipe_names():
        kind = name.rpartition("-")[2]
        listed[kind if kind in OTHER_KINDS else "dual"].append(name)
    for kind, names in listed.items():
        shown = " ".join(CliRunner().invoke(app, ["train", kind, "--help"]).stdout.split())
        assert f"{', '.join(names)}, or a .toml file." in shown, kind


def test_changes_take_toml_values_or_bare_words_by_key_or_by_table_and_key(recipe) -> None:
    path = recipe("[loop]\nsteps = 5\n")
    found = read_recipe(DualRecipe, path, ["steps=7", "loss.temperature=0.1", "base=mpnet", 'data.tasks=["a"]'])
    assert (found.loop.steps, found.loss.temperature, found.base, found.data.tasks) == (7, 0.1, "mpnet", ("a",))
    assert found == replace(found, loop=replace(found.loop, steps=7))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[loop]\nstep = 5\n", "'loop.step': unknown key; did you mean steps"),
        ('[loop]\nsteps = "many"\n', "'loop.steps': wanted a whole number, found 'many'"),
        ("[loop]\nsteps = 0\n", "loop.steps: wanted at least 1, got 0"),
        ('[data]\nmixing = "fair"\n', "wanted proportional or temperature or uniform, found 'fair'"),
        ("[loss]\nguard = 1.5\n", "loss.guard: wanted between 0 and 1, got 1.5"),
        ('[model]\nfreeze = "body"\n', "a frozen body leaves nothing to train"),
        ("[model]\nkind_scale = 0.5\n", "model.kind_scale: a model without kind_dimensions has no kind to scale"),
        ("[loss]\nwish = 1.0\n", "loss.wish: a model without kind_dimensions has no kind"),
        ("[data]\ntasks = [1]\n", "wanted a list of str, found [1]"),
    ],
)
def test_what_is_wrong_is_named(recipe, text: str, problem: str) -> None:
    path = recipe(text)
    with pytest.raises(DataError) as caught:
        read_recipe(DualRecipe, path)
    assert str(path) in str(caught.value) and problem in str(caught.value)


def test_a_recipe_for_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('kind = "full"\nname = "own"\n')
    with pytest.raises(DataError, match="is a recipe for 'full'; this command takes those for 'dual'"):
        read_recipe(DualRecipe, tmp_path / "own.toml")


def test_unknown_names_get_near_ones() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'mimi'; did you mean mini"):
        read_recipe(DualRecipe, "mimi")
    with pytest.raises(ConfigError, match=r"unknown setting 'stepz=3'.*loop\.steps"):
        read_recipe(DualRecipe, "toy", ["stepz=3"])
    with pytest.raises(ConfigError, match="wanted key=value"):
        read_recipe(DualRecipe, "toy", ["steps"])
    with pytest.raises(DataError, match=r"command line.*wanted a whole number, found 'many'"):
        read_recipe(DualRecipe, "toy", ["steps=many"])


def test_differences_name_the_key_and_both_values() -> None:
    old, new = {"loop": {"steps": 5, "seed": 1}, "a": 1}, {"loop": {"steps": 6, "seed": 1}, "a": 1}
    assert differences(old, new) == ["loop.steps: 5 became 6"] and differences(old, old) == []


@pytest.mark.parametrize("name", ["mini", "mini-gpu", "paper-dual", "mini-full"])
def test_the_projects_recipes_train(name: str, tmp_path: Path) -> None:
    """One small step of each on a tiny model; `own-data` is trained with its pairs, `paper-full` with its EncT5."""
    write_toy_world(tmp_path / "world", train=8, dev=2)
    tiny_sentence_transformer(max_tokens=256).save(str(tmp_path / "base"))
    base = f"base={json.dumps(str(tmp_path / 'base'))}"
    changes = [base, "loop.steps=1", "batch_size=8", "development.tasks=1", "queries=1", "gpu=false"]
    if name.endswith("full"):
        full = read_recipe(FullRecipe, name, [*changes, base.replace("base", "first_stage", 1)])
        train_full(full, tmp_path / "world", tmp_path / "out")
    else:
        train_dual(read_recipe(DualRecipe, name, changes), tmp_path / "world", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "training.json").read_text())
    losses = [one["train_loss"] for one in facts["history"] if "train_loss" in one]
    assert len(losses) == 1 and 0 < losses[0] < 100 and 0 <= facts["development"]["closed_own"] <= 1
