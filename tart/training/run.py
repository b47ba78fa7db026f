"""The folders of a training run: what was begun with what, and the finished model.

.output.work/       run.json (with what it was begun), checkpoints, TensorBoard logs: a killed run goes on from here
output/             the model folder: appears whole, with recipe.toml, training.json, curves.png and its card
"""

from __future__ import annotations

import json
import logging
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tart.errors import StorageError
from tart.files import atomic_write, new_folder, parse_json_object, refuse_taken, usable_cores
from tart.models.checkpoint import TART_JSON
from tart.processor import processor_name
from tart.shards import Collection
from tart.training.recipe import differences, recipe_text

logger = logging.getLogger(__name__)
RUN_JSON, TRAINING_JSON, RECIPE_TOML = "run.json", "training.json", "recipe.toml"
_VERSIONS = ("tart-retrieval", "torch", "transformers", "sentence-transformers")


class Run(NamedTuple):
    """A run that is not finished.

    Args:
        output: the model folder to make.
        work: its work folder.
        config: what the result depends on.
        collection: what it trains on.
        overwrite: take the place of an existing model folder.
    """

    output: Path
    work: Path
    config: dict[str, Any]
    collection: Collection
    overwrite: bool

    @classmethod
    def begin(
        cls,
        output: Path,
        recipe: Mapping[str, Any],
        collection: Collection,
        inputs: Mapping[str, str],
        *,
        overwrite: bool = False,
    ) -> Run | None:
        """Begin a run, or go on with it; None if its output is there already.

        Args:
            output: the model folder to make.
            recipe: its values.
            collection: what it trains on.
            inputs: checksums of whatever else the result depends on.
            overwrite: take the place of an existing model folder; of the runs that were begun, only one that was begun
                so too, with the same settings, goes on.

        Raises:
            StorageError: it was made or begun with other settings, and the message names what differs; or it exists and
                is no trained model.
        """
        output = output.absolute()
        work = output.with_name(f".{output.name}.work")
        facts = {"recipe": recipe, "collection": collection.manifest["sha256"], **inputs, "versions": _versions()}
        config: dict[str, Any] = json.loads(json.dumps(facts))
        begun = {**config, "overwrite": overwrite}
        if overwrite:
            refuse_taken(output, overwrite, TRAINING_JSON)
            if not (work / RUN_JSON).is_file() or _read(work / RUN_JSON) != begun:
                shutil.rmtree(work, ignore_errors=True)
        elif (output / TRAINING_JSON).is_file():
            _refuse_other(output, _read(output / TRAINING_JSON)["config"], config)
            logger.info("%s is there already, made with the same recipe and collection", output)
            return None
        elif output.exists():
            raise StorageError(f"{output}: exists and is no trained model; choose another name")
        elif any(work.glob("checkpoint-*")):  # before the first one there is nothing to lose
            _refuse_other(work, {**_read(work / RUN_JSON), "overwrite": overwrite}, begun)
        work.mkdir(parents=True, exist_ok=True)
        with atomic_write(work / RUN_JSON) as file:
            file.write(json.dumps(begun, indent=2).encode())
        return cls(output, work, config, collection, overwrite)


def finished_run(
    run: Run,
    recipe: Any,
    model: Any,
    history: Sequence[Mapping[str, Any]],
    results: Mapping[str, float],
    spent: Mapping[str, Any],
) -> Path:
    """Write the model folder and remove the work folder.

    Args:
        run: the run.
        recipe: its recipe.
        model: what was trained; has `save(folder)` and `text_format`.
        history: the trainer's log.
        results: the last development search.
        spent: seconds of all starts, processes, and the step and figure of the checkpoint that was chosen, if one was.

    Raises:
        StorageError: the disk is full, or the folder is taken.
    """
    from tart.training.curves import draw_curves
    from tart.training.model_card import model_card

    facts = {
        "config": run.config,
        "history": list(history),
        "development": dict(results),
        "machine": _machine(),
        **spent,
    }
    facts["finished"] = time.strftime("%Y-%m-%d", time.gmtime())
    with new_folder(run.output, overwrite=run.overwrite, marker=TRAINING_JSON) as folder:
        model.save(folder)
        (folder / RECIPE_TOML).write_text(recipe_text(recipe), encoding="utf-8")
        (folder / TRAINING_JSON).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        draw_curves(history, folder / "curves.png")
        family = _read(folder / TART_JSON)["family"]
        card = model_card(recipe, family, model.text_format, facts, run.collection)
        (folder / "README.md").write_text(card, encoding="utf-8")
        if (run.work / "runs").is_dir():
            shutil.copytree(run.work / "runs", folder / "runs")
    shutil.rmtree(run.work)
    return run.output


def _refuse_other(where: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    found = differences(old, new)
    if found:
        raise StorageError(
            f"{where}: was made otherwise: {'; '.join(found[:5])}; choose another name, or --overwrite to begin anew"
        )


def _read(path: Path) -> dict[str, Any]:
    return parse_json_object(path.read_text(encoding="utf-8"), path)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _VERSIONS}


def _machine() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {"processor": processor_name(), "cores": usable_cores(), "gpu": gpu, "system": platform.system()}
