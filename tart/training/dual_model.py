"""The bi-encoder that a recipe trains: the base as it is, or widened by dimensions for the kind of document wanted.

Widened, the modules are stock ones: transformer, pooling, Normalize, then Dense layers that copy the base's vector and
append the kind. With a hidden layer the copy goes through a ReLU as relu(x) - relu(-x), which is x to the last bit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import nn

from tart.errors import CheckpointError
from tart.models.bi_encoder import BiEncoder
from tart.text_format import TextFormat
from tart.training.settings import ModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LAYER = re.compile(r"\blayer\.(\d+)\.")
KIND_SCALE = 0.1  # standard deviation of each dimension of the kind before training: smaller ones learn slowly


def build_dual(base: BiEncoder, settings: ModelSettings, text_format: TextFormat, name: str) -> BiEncoder:
    """The model to train; its weights are the base's own, not copies.

    Args:
        base: the model to begin with.
        settings: width of the kind, what is frozen, lengths.
        text_format: how the new model joins instruction and query.
        name: of the new model.

    Raises:
        CheckpointError: the base has no mean pooling, can't read as many tokens as are wanted, or is widened already.
    """
    model = base.model
    _check(base, settings)
    if settings.kind_dimensions:
        model = _widened(model, base.dim, settings)
    _freeze(model[0], settings)
    return BiEncoder(model, text_format, name)


def _freeze(body: nn.Module, settings: ModelSettings) -> None:
    layers = {int(found[1]) for key, _ in body.named_parameters() if (found := _LAYER.search(key))}
    for key, weight in body.named_parameters():
        found = _LAYER.search(key)
        lower = "embeddings" in key or (found is not None and int(found[1]) < len(layers) // 2)
        frozen = {"nothing": False, "embeddings": "embeddings" in key, "lower": lower, "body": True}
        weight.requires_grad_(not frozen[settings.freeze])
    for module in body.modules():
        if isinstance(module, nn.Dropout):
            module.p = settings.dropout


def _check(base: BiEncoder, settings: ModelSettings) -> None:
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling

    modules = list(base.model)
    pooling = next((module for module in modules if isinstance(module, Pooling)), None)
    if pooling is None or pooling.pooling_mode != "mean":
        found = "none" if pooling is None else pooling.pooling_mode
        raise CheckpointError(f"{base.name}: a recipe needs a base with mean pooling; found {found}")
    if settings.kind_dimensions and any(isinstance(module, Dense) for module in modules):
        raise CheckpointError(f"{base.name}: has Dense layers of its own; kind_dimensions needs a base without")
    longest = base.model.max_seq_length or 0
    for key, wanted in (("query_tokens", settings.query_tokens), ("document_tokens", settings.document_tokens)):
        if wanted > longest:
            raise CheckpointError(f"{base.name}: reads {longest} tokens, model.{key} wants {wanted}")


def _widened(base: SentenceTransformer, dim: int, settings: ModelSettings) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize

    kind, hidden = settings.kind_dimensions, settings.kind_hidden
    modules = [module for module in base if not isinstance(module, Normalize)]
    modules.append(Normalize())
    copy = torch.eye(dim)
    if hidden:
        first = torch.cat([copy, -copy, torch.randn(hidden, dim)])
        modules.append(_dense(first, nn.ReLU(), first_row=2 * dim))
        second = torch.zeros(dim + kind, 2 * dim + hidden)
        second[:dim, :dim], second[:dim, dim : 2 * dim] = copy, -copy
        second[dim:, 2 * dim :] = KIND_SCALE / hidden**0.5 * torch.randn(kind, hidden)
        modules.append(_dense(second, nn.Identity(), first_row=dim, first_column=2 * dim))
    else:
        last = torch.cat([copy, KIND_SCALE * torch.randn(kind, dim)])
        modules.append(_dense(last, nn.Identity(), first_row=dim))
    model = SentenceTransformer(modules=modules, similarity_fn_name="dot", device=str(base.device))
    model.max_seq_length = base.max_seq_length
    return model


def _dense(weight: torch.Tensor, activation: nn.Module, *, first_row: int, first_column: int = 0) -> nn.Module:
    """A Dense layer that learns from some row and column on; what stands before copies the base's vector, for ever."""
    from sentence_transformers.sentence_transformer.modules import Dense

    rows, columns = weight.shape
    layer = Dense(columns, rows, activation_function=activation, init_weight=weight, init_bias=torch.zeros(rows))
    learns = torch.zeros_like(weight)
    learns[first_row:, first_column:] = 1
    layer.linear.weight.register_hook(lambda gradient: gradient * learns.to(gradient.device))
    layer.linear.bias.register_hook(lambda gradient: gradient * learns[:, -1].to(gradient.device))
    return layer
