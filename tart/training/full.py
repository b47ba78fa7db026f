"""Training a cross-encoder (TART-full): a recipe and a collection in, a plain folder out."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from tart.models.load import load_encoder
from tart.models.summed import SummedReranker
from tart.retrieval.protocols import Reranker
from tart.text_format import named_format
from tart.training.examples import Examples
from tart.training.full_settings import FullRecipe
from tart.training.train import Parts, train, weights_checksum

if TYPE_CHECKING:
    from tart.training.development import DevelopmentSearch


def train_full(
    recipe: FullRecipe, data: str | Path, output: str | Path, *, overwrite: bool = False, verify: bool = True
) -> Path:
    """Train a cross-encoder. Killed and called again in the same way it goes on, and ends with the same bytes.

    Args:
        recipe: how.
        data: a collection, as `berri collect` writes it, or a folder of pairs (`tart.training.pairs`).
        output: the model folder to make. A folder of the same name with a dot before it keeps the checkpoints.
        overwrite: take the place of an existing model folder; a run that was begun so and killed goes on all the same.
        verify: check every byte of the collection first.

    Returns:
        The model folder.

    Raises:
        ConfigError: a setting that doesn't fit the data or the machine.
        DataError: the collection is damaged or has no examples; a loss that is not a number, with step and examples.
        CheckpointError: the base doesn't fit the recipe.
        StorageError: the output was made, or begun, with another recipe, collection, base or first stage (the
            difference is named); the disk is full.
    """
    inputs = {"first_stage": weights_checksum(recipe.first_stage)}
    return train(recipe, data, output, partial(_parts, recipe), inputs, overwrite=overwrite, verify=verify)


def _parts(recipe: FullRecipe, examples: Examples, development: DevelopmentSearch | None, world: int) -> Parts:
    from tart.training.first_stage import first_stage_scores
    from tart.training.full_batches import FullBatches
    from tart.training.full_loss import FullLoss
    from tart.training.full_model import build_full
    from tart.training.full_trainer import FullTrainer

    model, reranker = build_full(
        recipe.base, recipe.model, named_format(recipe.text_format), recipe.name, first_stage=recipe.first_stage
    )
    batches = FullBatches(examples, recipe, reranker, world)
    if recipe.needs_first_stage:
        batches.first_stage = first_stage_scores(recipe, batches, examples.collection.manifest["sha256"])
    first_stage = cache(lambda: load_encoder(recipe.first_stage))
    candidates = None if development is None else development.candidates(first_stage())
    judged: Reranker = reranker
    if weight := recipe.model.final_weight:
        judged = SummedReranker(reranker, recipe.first_stage, weight, first_stage)

    def evaluate() -> dict[str, float]:
        if development is None or candidates is None:
            return {}
        return development.evaluate_reranker(judged, candidates)

    return Parts(FullTrainer, model, reranker, batches, FullLoss(model, recipe.loss), evaluate)
