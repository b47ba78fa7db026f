"""The bi-encoder that a recipe trains: the base as it is, or widened by dimensions for the kind of document wanted.

Widened, the modules are stock ones: transformer, pooling of the first token beside the mean, and a Dense layer that
copies the mean, which is the base's vector, and learns the kind from both. The first token hardly counts in a mean of
many: it is free to learn what the mean, held to the base's vector, has no room for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from tart.errors import CheckpointError
from tart.models.bi_encoder import BiEncoder
from tart.models.checkpoint import check_format
from tart.text_format import TextFormat
from tart.training.lora import add_adapter
from tart.training.settings import Freeze, ModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LAYER = re.compile(r"\blayer\.(\d+)\.")
KIND_NORM = 0.3  # length of the kind before training, by that of what it reads


def build_dual(base: BiEncoder, settings: ModelSettings, text_format: TextFormat, name: str) -> BiEncoder:
    """The model to train; its weights are the base's own, not copies.

    Args:
        base: the model to begin with.
        settings: width of the kind, what is trained, lengths.
        text_format: how the new model joins instruction and query.
        name: of the new model.

    Raises:
        CheckpointError: the base has no mean pooling, can't read as many tokens as are wanted, is widened already, or
            was trained with instructions in another text format.
    """
    model = base.model
    check_format(base.text_format, text_format, base.name)
    _check(base, settings)
    if settings.kind_dimensions:
        model = _widened(model, base.dim, settings)
        text_format = replace(text_format, plain_dims=base.dim)
    freeze(model[0], settings.freeze)
    set_dropout(model[0], settings.dropout)
    if settings.lora_rank:
        add_adapter(model, settings.lora_rank)
    return BiEncoder(model, text_format, name)


def scale_kind(model: SentenceTransformer, by: float) -> None:
    """Multiply the kind part of a widened model's vectors, before they are brought to length 1."""
    layer = cast("nn.Linear", model[2].linear)
    content = layer.in_features // 2  # it reads the first token and the mean, each as long as the content
    with torch.no_grad():
        layer.weight[content:] *= by
        layer.bias[content:] *= by


def freeze(body: nn.Module, part: Freeze) -> None:
    """Leave a part of a transformer as it is, and train the rest."""
    layers = {int(found[1]) for key, _ in body.named_parameters() if (found := _LAYER.search(key))}
    for key, weight in body.named_parameters():
        found = _LAYER.search(key)
        lower = "embeddings" in key or (found is not None and int(found[1]) < len(layers) // 2)
        frozen = {"nothing": False, "embeddings": "embeddings" in key, "lower": lower, "body": True}
        weight.requires_grad_(not frozen[part])


def set_dropout(model: nn.Module, probability: float) -> None:
    """The same in all layers."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


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
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

    kind = settings.kind_dimensions
    weight = torch.zeros(dim + kind, 2 * dim)
    weight[:dim, dim:] = torch.eye(dim)
    weight[dim:] = KIND_NORM / kind**0.5 * torch.randn(kind, 2 * dim)
    bias = torch.zeros(dim + kind)
    layer = Dense(2 * dim, dim + kind, activation_function=nn.Identity(), init_weight=weight, init_bias=bias)
    learns = torch.zeros(dim + kind, 1)
    learns[dim:] = 1  # the rows before copy the base's vector, for ever
    _mask_gradient(layer.linear.weight, learns)
    _mask_gradient(layer.linear.bias, learns[:, 0])
    model = SentenceTransformer(
        modules=[base[0], Pooling(dim, ("cls", "mean")), layer, Normalize()],
        similarity_fn_name="cosine",
        device=str(base.device),
    )
    model.max_seq_length = base.max_seq_length
    return model


def _mask_gradient(weight: torch.Tensor, learns: torch.Tensor) -> None:
    weight.register_hook(  # type: ignore[no-untyped-call]
        lambda gradient: gradient * learns.to(gradient.device)
    )
