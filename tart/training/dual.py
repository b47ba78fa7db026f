"""Training a bi-encoder (TART-dual): a recipe and a collection in, a plain sentence-transformers folder out."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tart.collection import Document, Query
from tart.files import storage_errors
from tart.models.load import load_encoder, load_torch_encoder
from tart.models.packaged import cache_folder
from tart.progress import progress
from tart.seeded import text_hash
from tart.shards import Collection
from tart.text_format import named_format
from tart.text_vectors import TextVectors, encode_texts
from tart.training.examples import Examples
from tart.training.model_card import stored_prompts
from tart.training.run import Run, finished_run
from tart.training.settings import DualRecipe
from tart.training.teacher import TeacherScores

if TYPE_CHECKING:
    from tart.training.dual_batches import BaseVectors, DualBatches

logger = logging.getLogger(__name__)


def train_dual(
    recipe: DualRecipe, data: str | Path, output: str | Path, *, overwrite: bool = False, verify: bool = True
) -> Path:
    """Train a bi-encoder. Killed and called again in the same way it goes on, and ends with the same bytes.

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
        DataError: the collection is damaged or has no examples; the teacher's scores are missing or of another one; a
            loss that is not a number, with step and examples.
        CheckpointError: the base doesn't fit the recipe.
        StorageError: the output was made, or begun, with another recipe or collection (the difference is named); the
            disk is full.
    """
    collection = Collection(data, verify=verify)
    run = Run.begin(Path(output), asdict(recipe), collection, overwrite=overwrite)
    if run is None:
        return Path(output)
    import torch
    from transformers import set_seed

    from tart.training.development import development_of
    from tart.training.dual_batches import DualBatches
    from tart.training.dual_loss import DualLoss
    from tart.training.dual_model import build_dual
    from tart.training.trainer import TartTrainer, newest_checkpoint, training_arguments

    set_seed(recipe.seed)
    base = load_torch_encoder(recipe.base)
    model = build_dual(base, recipe.model, named_format(recipe.text_format), recipe.name)
    examples = Examples(collection, "train", tasks=recipe.data.tasks, levels=recipe.data.levels)
    development, watch = development_of(collection, recipe.development, recipe.data.levels, recipe.seed)
    args = training_arguments(run.work, recipe.name, recipe.seed, recipe.loop, watch)
    batches = DualBatches(examples, recipe, model.text_format, model.model.tokenizer, args.world_size)
    if recipe.loss.distill:
        batches.teacher = TeacherScores(recipe.loss.teacher, collection, examples.tasks)
    if recipe.loss.needs_base:
        batches.base = _base_vectors(recipe, batches, collection)
    loss = DualLoss(
        model.model,
        recipe.loss,
        similarity=model.similarity,
        content=base.dim,
        token_budget=recipe.loop.token_budget,
        grad_cache=recipe.loop.grad_cache,
    )

    def evaluate() -> dict[str, float]:
        return {} if development is None else development.evaluate(model)

    trainer = TartTrainer(
        model.model, args, batches, loss, evaluate if watch.every else None, recipe.loop, watch.patience
    )
    checkpoint = newest_checkpoint(run.work)
    with storage_errors(run.work):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if not trainer.is_world_process_zero():
        return Path(output)
    model.model.prompts.update(stored_prompts(model.text_format))
    with torch.inference_mode():
        return finished_run(run, recipe, model, trainer.state.log_history, evaluate())


def _base_vectors(recipe: DualRecipe, batches: DualBatches, collection: Collection) -> BaseVectors:
    """The base's vectors of every text that the run will see; kept in the cache folder for other runs."""
    import torch

    from tart.training.dual_batches import BaseVectors
    from tart.training.trainer import chosen_precision

    base, limits = load_encoder(recipe.base), (recipe.model.query_tokens, recipe.model.document_tokens)
    base.text_format = replace(base.text_format, max_query_tokens=limits[0], max_document_tokens=limits[1])
    queries, documents = dict[int, Query](), dict[int, Document]()
    for step in range(recipe.loop.steps):
        for one in batches.drawn(step):
            queries.setdefault(text_hash(one.query.text), one.query.plain())
            documents.update({text_hash(each.title, each.text): each for each in one.documents})
    name = "-".join(map(str, (recipe.seed, *limits)))
    folder = cache_folder() / "base-vectors" / collection.manifest["sha256"][:16] / name
    bf16 = torch.cuda.is_available() and chosen_precision(recipe.loop.precision) == "bf16"
    autocast = torch.autocast("cuda", dtype=torch.bfloat16, enabled=bf16)
    with autocast, progress("Encoding with the base", len(queries) + len(documents), "texts") as advance:
        encode_texts(folder / "queries", queries, base.encode_queries, base.model_hash, advance)
        encode_texts(folder / "documents", documents, base.encode_documents, base.model_hash, advance)
    return BaseVectors(TextVectors.open(folder / "queries"), TextVectors.open(folder / "documents"))
