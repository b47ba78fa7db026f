"""The command line: tart train dual | full | steady | teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

train_app = typer.Typer(
    help="Train a model on a collection, as a recipe says; the same command goes on after a kill.", no_args_is_help=True
)

MODELS = Path("models")


def _recipe(names: str) -> Any:
    return typer.Option("--recipe", "-r", help=f"{names}, or a .toml file.")


def _changes(module: str) -> Any:
    described = f"`python -m pydoc tart.training.{module}` describes all keys"
    return typer.Argument(metavar="[KEY=VALUE]...", help=f"Values other than the recipe's; {described}.")


DualRecipes = Annotated[str, _recipe("mini, mini-gpu, own-data, paper-dual, toy")]
FullRecipes = Annotated[str, _recipe("mini-full, paper-full, toy-full")]
SteadyRecipes = Annotated[str, _recipe("mini-steady")]
Data = Annotated[Path, typer.Option("--data", "-d", help="A collection of `berri collect`, or a folder of pairs.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The model folder to make; else models/ and the recipe's `name`: mini, mini-gpu, mini-steady share it.",
    ),
]
DualChanges = Annotated[list[str] | None, _changes("settings")]
FullChanges = Annotated[list[str] | None, _changes("full_settings tart.training.settings")]
SteadyChanges = Annotated[list[str] | None, _changes("steady_settings tart.training.settings")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Take the place of an existing folder; a killed --overwrite goes on, too.")
]


@train_app.command()
def dual(
    data: Data = Path("collection"),
    output: Output = None,
    recipe: DualRecipes = "mini",
    changes: DualChanges = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a bi-encoder (TART-dual)."""
    from tart.training.dual import train_dual
    from tart.training.recipe import read_recipe
    from tart.training.settings import DualRecipe

    chosen = read_recipe(DualRecipe, recipe, changes or ())
    print(train_dual(chosen, data, output or MODELS / chosen.name, overwrite=overwrite))


@train_app.command()
def full(
    data: Data = Path("collection"),
    output: Output = None,
    recipe: FullRecipes = "mini-full",
    changes: FullChanges = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a cross-encoder (TART-full)."""
    from tart.training.full import train_full
    from tart.training.full_settings import FullRecipe
    from tart.training.recipe import read_recipe

    chosen = read_recipe(FullRecipe, recipe, changes or ())
    print(train_full(chosen, data, output or MODELS / chosen.name, overwrite=overwrite))


@train_app.command()
def steady(
    data: Data = Path("collection"),
    output: Output = None,
    recipe: SteadyRecipes = "mini-steady",
    changes: SteadyChanges = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a bi-encoder steady under further wordings (further=FILE), as `berri expand` proposes them."""
    from tart.training.recipe import read_recipe
    from tart.training.steady import train_steady
    from tart.training.steady_settings import SteadyRecipe

    chosen = read_recipe(SteadyRecipe, recipe, changes or ())
    print(train_steady(chosen, data, output or MODELS / chosen.name, overwrite=overwrite))


@train_app.command()
def teacher(
    model: Annotated[str, typer.Option("--model", "-m", help="A cross-encoder: name, folder or hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of scores to make.")],
    data: Data = Path("collection"),
    task: Annotated[list[str] | None, typer.Option("--task", help="Score this task alone; repeatable.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score the documents of the examples with a cross-encoder, for `tart train dual` with loss.distill to follow."""
    from tart.models.load import load_reranker
    from tart.progress import progress
    from tart.training.pairs import collection_at
    from tart.training.teacher import write_teacher_scores

    collection = collection_at(data, verify=True)
    with progress("Scoring", collection.manifest["examples"]["train"], "examples") as advance:
        reranker = load_reranker(model)
        write_teacher_scores(output, reranker, collection, tasks=task or (), overwrite=overwrite, advance=advance)
    print(output)
