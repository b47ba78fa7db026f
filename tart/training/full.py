"""Training a cross-encoder (TART-full): a recipe and a collection in, a plain folder out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tart.files import storage_errors
from tart.models.load import load_encoder
from tart.shards import Collection
from tart.text_format import named_format
from tart.training.examples import Examples
from tart.training.full_settings import FullRecipe
from tart.training.run import Run, finished_run


def train_full(
    recipe: FullRecipe, data: str | Path, output: str | Path, *, overwrite: bool = False, verify: bool = True
) -> Path:
    """Train a cross-encoder. Killed and called again in the same way it goes on, and ends with the same bytes.

    Args:
        recipe: how.
        data: a collection, as `berri collect` writes it.
        output: the model folder to make. A folder of the same name with a dot before it keeps the checkpoints.
        overwrite: begin anew, whatever is there.
        verify: check every byte of the collection first.

    Returns:
        The model folder.

    Raises:
        ConfigError: a setting that doesn't fit the data or the machine.
        DataError: the collection is damaged or has no examples; a loss that is not a number, with step and examples.
        CheckpointError: the base doesn't fit the recipe.
        StorageError: the output was made, or begun, with another recipe or collection (the difference is named); the
            disk is full.
    """
    collection = Collection(data, verify=verify)
    run = Run.begin(Path(output), asdict(recipe), collection, overwrite=overwrite)
    if run is None:
        return Path(output)
    from transformers import set_seed

    from tart.training.development import development_of
    from tart.training.full_batches import FullBatches
    from tart.training.full_loss import FullLoss
    from tart.training.full_model import build_full
    from tart.training.full_trainer import FullTrainer
    from tart.training.trainer import newest_checkpoint, training_arguments

    set_seed(recipe.seed)
    model, reranker = build_full(recipe.base, recipe.model, named_format(recipe.text_format), recipe.name)
    examples = Examples(collection, "train", tasks=recipe.data.tasks, levels=recipe.data.levels)
    development, watch = development_of(collection, recipe.development, recipe.data.levels, recipe.seed)
    args = training_arguments(run.work, recipe.name, recipe.seed, recipe.loop, watch)
    batches = FullBatches(examples, recipe, reranker, args.world_size)
    candidates = None if development is None else development.candidates(load_encoder(recipe.first_stage))

    def evaluate() -> dict[str, float]:
        if development is None or candidates is None:
            return {}
        return development.evaluate_reranker(reranker, candidates)

    loss = FullLoss(model, recipe.loss)
    trainer = FullTrainer(model, args, batches, loss, evaluate if watch.every else None, recipe.loop, watch.patience)
    checkpoint = newest_checkpoint(run.work)
    with storage_errors(run.work):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    model.eval()
    return finished_run(run, recipe, reranker, trainer.state.log_history, evaluate())
