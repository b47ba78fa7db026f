"""Making a bi-encoder steady: new wordings of an instruction get the vector that the known ones have.

A model that was trained with a few wordings of each task reads others less well: what it wants differs, and the words
of the instruction move the content of the query. Here it learns from itself, from queries alone: asked in a new wording
it should say what it says in a known one, and another task's instruction should change the kind, not the content. Its
weights in the end are the mean of those before and after, which keeps what it did well (arXiv 2109.01903).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.files import sha256_file
from tart.models.load import load_encoder, load_torch_encoder
from tart.models.packaged import cache_folder
from tart.text_vectors import encode_both
from tart.training.examples import Examples
from tart.training.steady_settings import SteadyRecipe
from tart.training.train import Parts, train

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from tart.training.development import DevelopmentSearch
    from tart.training.steady_batches import SteadyBatches, Targets


def train_steady(
    recipe: SteadyRecipe, data: str | Path, output: str | Path, *, overwrite: bool = False, verify: bool = True
) -> Path:
    """Make a bi-encoder steady. Killed and called again in the same way it goes on, and ends with the same bytes.

    Args:
        recipe: how.
        data: a collection, as `berri collect` writes it, or a folder of pairs (`tart.training.pairs`).
        output: the model folder to make. A folder of the same name with a dot before it keeps the checkpoints.
        overwrite: take the place of an existing model folder; a run that was begun so and killed goes on all the same.
        verify: check every byte of the collection first.

    Returns:
        The model folder.

    Raises:
        ConfigError: a setting that doesn't fit the base, the data or the machine.
        DataError: the collection is damaged or has no examples; the wordings are none, or held out of training; a loss
            that is not a number, with step and examples.
        CheckpointError: the base can't be loaded.
        StorageError: the output was made, or begun, with another recipe, collection, base or wordings (the difference
            is named); the disk is full.
    """
    further = Path(recipe.steady.further)
    if not further.is_file():
        problem = f"wanted a file of further wordings, as `berri expand` writes one; got {recipe.steady.further!r}"
        raise ConfigError(f"steady.further: {problem}")
    inputs = {"wordings": sha256_file(further)}
    return train(recipe, data, output, partial(_parts, recipe), inputs, overwrite=overwrite, verify=verify)


def _parts(recipe: SteadyRecipe, examples: Examples, development: DevelopmentSearch | None, world: int) -> Parts:
    from tart.models.bi_encoder import BiEncoder
    from tart.training.dual_model import freeze, set_dropout
    from tart.training.steady_batches import SteadyBatches, further_wordings
    from tart.training.steady_loss import SteadyLoss
    from tart.training.trainer import TartTrainer

    base = load_torch_encoder(recipe.base)
    if base.similarity != "cosine":
        raise ConfigError(f"base: {recipe.base} doesn't compare by cosine, which is wanted here")
    if recipe.steady.foreign and base.text_format.plain_dims is None:
        raise ConfigError(f"steady.foreign: {recipe.base} has no dimensions for the kind; wanted 0")
    model = BiEncoder(base.model, base.text_format, recipe.name)
    freeze(model.model[0], recipe.model.freeze)
    set_dropout(model.model[0], 0.0)
    wordings = further_wordings(recipe.steady.further, examples.collection, examples.tasks)
    batches = SteadyBatches(examples, recipe, wordings, base.text_format, model.model.tokenizer, world)
    batches.targets = _targets(recipe, batches, examples.collection.manifest["sha256"])
    loss = SteadyLoss(model.model, content=base.text_format.plain_dims, token_budget=recipe.loop.token_budget)

    def evaluate() -> dict[str, float]:
        return {} if development is None else development.evaluate(model)

    def finish() -> None:
        mix(model.model, load_torch_encoder(recipe.base).model, recipe.steady.base_share)

    return Parts(TartTrainer, model.model, model, batches, loss, evaluate, finish)


def mix(model: SentenceTransformer, base: SentenceTransformer, share: float) -> None:
    """Make each weight of a model the mean of its own and the base's, which counts so much."""
    import torch

    before: dict[str, Any] = dict(base.named_parameters())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.lerp_(before[name].to(weight.device), share)


def _targets(recipe: SteadyRecipe, batches: SteadyBatches, collection: str) -> Targets:
    """The base's vectors of all that the run will see; kept in the cache folder for other runs."""
    from tart.training.steady_batches import Targets, key_of

    base, limits = load_encoder(recipe.base), (recipe.model.query_tokens, recipe.model.document_tokens)
    text_format = base.text_format
    base.text_format = replace(text_format, max_query_tokens=limits[0], max_document_tokens=limits[1])
    queries, documents = dict[int, Query](), dict[int, Document]()
    for row in batches.all_rows():
        for one in (row.like, row.content):
            if isinstance(one, Query):
                queries[key_of(one, text_format)] = one
            elif one is not None:
                documents[key_of(one, text_format)] = one
    folder = cache_folder() / "base-vectors" / collection[:16]
    return Targets(*encode_both(folder, base, queries, documents, "Encoding with the base"), text_format)
