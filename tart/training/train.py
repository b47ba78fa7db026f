"""A training run from its recipe to its folder: what bi-encoders and cross-encoders have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tart.errors import ConfigError
from tart.files import sha256_once, storage_errors
from tart.models.hub import hub_folder
from tart.models.registry import locate
from tart.seeded import text_hash
from tart.training.examples import Examples
from tart.training.full_settings import FullRecipe
from tart.training.pairs import collection_at
from tart.training.run import Run, finished_run
from tart.training.settings import DualRecipe
from tart.training.steady_settings import SteadyRecipe

if TYPE_CHECKING:
    from torch import nn

    from tart.training.batches import Batches
    from tart.training.development import DevelopmentSearch
    from tart.training.trainer import TartTrainer


class Parts(NamedTuple):
    """What a run trains, with what.

    Args:
        trainer: the class.
        trained: the model as sentence-transformers' trainer takes it.
        model: the same weights, in the form that is searched with and saved.
        batches: item i is the batch of step i.
        loss: called with features and labels of a batch.
        evaluate: gives the development measures of the model as it is.
        finish: makes the trained weights plain ones.
    """

    trainer: type[TartTrainer]
    trained: Any
    model: Any
    batches: Batches
    loss: nn.Module
    evaluate: Callable[[], dict[str, float]]
    finish: Callable[[], None] = lambda: None


Build = Callable[[Examples, "DevelopmentSearch | None", int], Parts]


def train(
    recipe: DualRecipe | FullRecipe | SteadyRecipe,
    data: str | Path,
    output: str | Path,
    build: Build,
    inputs: Mapping[str, str],
    *,
    overwrite: bool,
    verify: bool,
) -> Path:
    """Train a model, or go on with a run that was killed.

    Args:
        recipe: how.
        data: a collection, or a folder of pairs.
        output: the model folder to make.
        build: gives the parts, of the examples, the development search (None without development examples) and the
            number of processes; torch's generator is seeded when it is called.
        inputs: checksums of what the result depends on beside recipe, collection and base.
        overwrite: take the place of an existing model folder.
        verify: check every byte of the collection first.

    Returns:
        The model folder.

    Raises:
        ConfigError: the base is the folder that is to be made.
    """
    _refuse_as_output(recipe.base, Path(output))
    collection = collection_at(data, verify=verify)
    inputs = {"base": weights_checksum(recipe.base), **inputs}
    run = Run.begin(Path(output), asdict(recipe), collection, inputs, overwrite=overwrite)
    if run is None:
        return Path(output)
    from transformers import set_seed

    from tart.training.development import development_of
    from tart.training.trainer import newest_checkpoint, training_arguments

    examples = Examples(collection, "train", tasks=recipe.data.tasks, levels=recipe.data.levels)
    development, watch = development_of(collection, recipe.development, recipe.data.levels, recipe.seed)
    args = training_arguments(run.work, recipe.name, recipe.seed, recipe.loop, watch)
    set_seed(recipe.seed)
    parts = build(examples, development, args.world_size)
    evaluate = parts.evaluate if watch.every else None
    trainer = parts.trainer(parts.trained, args, parts.batches, parts.loss, evaluate, recipe.loop, watch.patience)
    checkpoint = newest_checkpoint(run.work)
    with storage_errors(run.work):
        seconds = trainer.run(checkpoint)
    first = trainer.is_world_process_zero()
    if args.world_size > 1:
        trainer.part()
    if first:
        parts.finish()
        parts.trained.eval()
        spent = {"seconds": round(seconds, 1), "processes": args.world_size}
        if watch.every:
            spent |= {"best_step": trainer.state.best_global_step, "best": trainer.state.best_metric}
        finished_run(run, recipe, parts.model, trainer.state.log_history, parts.evaluate(), spent)
    return Path(output)


def _refuse_as_output(base: str, output: Path) -> None:
    folder = locate(base)[2]
    if folder is not None and folder.resolve() == output.resolve():
        raise ConfigError(f"base: {base} is the folder that is to be made; choose another output")


def weights_checksum(name: str) -> str:
    """What changes with the weights of a model, whatever its kind: a hash over the files that hold them.

    Args:
        name: short name, folder or hub id.
    """
    name, _, folder = locate(name)
    folder = folder or hub_folder(name)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".bin", ".pth"))
    return f"{text_hash(*(sha256_once(path) for path in files)):016x}"
