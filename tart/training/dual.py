"""Training a bi-encoder (TART-dual): a recipe and a collection in, a plain sentence-transformers folder out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.models.load import load_encoder, load_torch_encoder
from tart.models.packaged import cache_folder
from tart.seeded import text_hash
from tart.text_format import named_format
from tart.text_vectors import encode_both
from tart.training.examples import Examples
from tart.training.model_card import stored_prompts
from tart.training.settings import DualRecipe
from tart.training.teacher import TeacherScores, scores_checksum
from tart.training.train import Parts, train

if TYPE_CHECKING:
    from tart.training.development import DevelopmentSearch
    from tart.training.dual_batches import BaseVectors, DualBatches


def train_dual(
    recipe: DualRecipe, data: str | Path, output: str | Path, *, overwrite: bool = False, verify: bool = True
) -> Path:
    """Train a bi-encoder. Killed and called again in the same way it goes on, and ends with the same bytes.

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
        DataError: the collection is damaged or has no examples; the teacher's scores are missing or of another one; a
            loss that is not a number, with step and examples.
        CheckpointError: the base doesn't fit the recipe.
        StorageError: the output was made, or begun, with another recipe, collection, base or teacher's scores (the
            difference is named); the disk is full.
    """
    inputs = {"teacher_scores": scores_checksum(recipe.loss.teacher)} if recipe.loss.teacher else {}
    return train(recipe, data, output, partial(_parts, recipe), inputs, overwrite=overwrite, verify=verify)


def _parts(recipe: DualRecipe, examples: Examples, development: DevelopmentSearch | None, world: int) -> Parts:
    from tart.training.dual_batches import DualBatches
    from tart.training.dual_loss import DualLoss
    from tart.training.dual_model import build_dual, scale_kind
    from tart.training.lora import merge_adapter
    from tart.training.trainer import TartTrainer

    base = load_torch_encoder(recipe.base)
    model = build_dual(base, recipe.model, named_format(recipe.text_format), recipe.name)
    if any(width >= model.dim for width in recipe.loss.matryoshka):
        raise ConfigError(f"loss.matryoshka: {max(recipe.loss.matryoshka)} is no part of {model.dim} dimensions")
    model.model.prompts.update(stored_prompts(model.text_format))
    batches = DualBatches(examples, recipe, model.text_format, model.model.tokenizer, world)
    if recipe.loss.distill:
        batches.teacher = TeacherScores(recipe.loss.teacher, examples.collection, examples.tasks)
    if recipe.loss.needs_base:
        batches.base = _base_vectors(recipe, batches, examples)
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

    def finish() -> None:
        if recipe.model.lora_rank:
            merge_adapter(model.model)
        if recipe.model.kind_dimensions:
            scale_kind(model.model, recipe.model.kind_scale)

    return Parts(TartTrainer, model.model, model, batches, loss, evaluate, finish)


def _base_vectors(recipe: DualRecipe, batches: DualBatches, examples: Examples) -> BaseVectors:
    """The base's vectors of every text that the run will see; kept in the cache folder for other runs."""
    import torch

    from tart.training.dual_batches import BaseVectors
    from tart.training.trainer import chosen_precision

    base, limits = load_encoder(recipe.base), (recipe.model.query_tokens, recipe.model.document_tokens)
    base.text_format = replace(base.text_format, max_query_tokens=limits[0], max_document_tokens=limits[1])
    queries, documents = _texts_seen(recipe, batches, examples)
    folder = cache_folder() / "base-vectors" / examples.collection.manifest["sha256"][:16]
    bf16 = torch.cuda.is_available() and chosen_precision(recipe.loop.precision) == "bf16"
    autocast = torch.autocast("cuda", dtype=torch.bfloat16, enabled=bf16)
    with autocast:
        return BaseVectors(*encode_both(folder, base, queries, documents, "Encoding with the base"))


def _texts_seen(
    recipe: DualRecipe, batches: DualBatches, examples: Examples
) -> tuple[dict[int, Query], dict[int, Document]]:
    """Queries and documents of a run by their hashes; of a run over all examples, all that they have."""
    queries, documents = dict[int, Query](), dict[int, Document]()
    if recipe.loop.steps * recipe.loop.batch_size >= len(examples):
        for text in examples.queries():
            queries.setdefault(text_hash(text), Query("query", text))
        for title, text in examples.documents():
            if (key := text_hash(title, text)) not in documents:
                documents[key] = Document("document", text, title)
        return queries, documents
    for step in range(recipe.loop.steps):
        for one in batches.drawn(step):
            queries.setdefault(text_hash(one.query.text), one.query.plain())
            documents.update({text_hash(each.title, each.text): each for each in one.documents})
    return queries, documents
