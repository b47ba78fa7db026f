"""The command line: tart train dual | full | steady | teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

train_app = typer.Typer(
    help="Train a model on a collection, as a recipe says; the same command goes on after a kill.", no_args_is_help=True
)

MODELS = Path("models")

Recipe = Annotated[str, typer.Option("--recipe", "-r", help="One of the project's, or a .toml file.")]
Data = Annotated[Path, typer.Option("--data", "-d", help="A collection of `berri collect`, or a folder of pairs.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The model folder to make; else models/ and the recipe's name.")
]
Changes = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values other than the recipe's.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin anew, whatever is there.")]


@train_app.command()
def dual(
    data: Data = Path("collection"),
    output: Output = None,
    recipe: Recipe = "mini",
    changes: Changes = None,
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
    recipe: Recipe = "mini-full",
    changes: Changes = None,
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
    recipe: Recipe = "mini-steady",
    changes: Changes = None,
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
