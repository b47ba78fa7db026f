"""The cross-encoder that a recipe trains, in the form that sentence-transformers' trainer takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules.module import Module
from transformers import AutoConfig, T5Config
from transformers.utils import logging as transformers_logging

from tart.errors import CheckpointError, ConfigError
from tart.models.checkpoint import FirstStage, check_format
from tart.models.cross_encoder import CrossEncoderReranker
from tart.models.enc_t5 import EncT5, EncT5Reranker
from tart.models.hub import hub_folder
from tart.models.load import load_errors, load_torch_reranker, model_family
from tart.models.registry import locate
from tart.text_format import PRESETS, TextFormat
from tart.training.dual_model import freeze, set_dropout
from tart.training.full_settings import FullModelSettings


class EncT5Module(Module):
    """EncT5 as a module of sentence-transformers, for its trainer and its checkpoints alone."""

    def __init__(self, model: EncT5) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model

    def forward(self, features: dict[str, torch.Tensor], **more: Any) -> dict[str, torch.Tensor]:
        """Adds "scores", shape (pairs, 2)."""
        features["scores"] = self.model(features["input_ids"], features["attention_mask"])
        return features

    def save(self, output_path: str, *arguments: Any, **more: Any) -> None:
        """Weights and the body's config."""
        (Path(output_path) / "t5.json").write_text(json.dumps(self.model.body.config.to_dict()), encoding="utf-8")
        self.save_torch_weights(output_path)

    @classmethod
    def load(  # type: ignore[override]
        cls, model_name_or_path: str, subfolder: str = "", **more: Any
    ) -> EncT5Module:
        """What `save` wrote."""
        folder = Path(model_name_or_path) / subfolder
        config = T5Config(**json.loads((folder / "t5.json").read_text(encoding="utf-8")))
        return cls.load_torch_weights(  # type: ignore[no-any-return]
            model_name_or_path=model_name_or_path, subfolder=subfolder, model=cls(EncT5(config))
        )


def build_full(
    base: str, settings: FullModelSettings, text_format: TextFormat, name: str, *, first_stage: str = ""
) -> tuple[CrossEncoder, CrossEncoderReranker | EncT5Reranker]:
    """The model to train, and the reranker that scores and saves it; they share their weights.

    Args:
        base: short name, folder or hub id.
        settings: what it reads.
        text_format: how instruction and query are joined.
        name: of the new model.
        first_stage: to whose score its score is added, if `settings` have a weight for it.

    Raises:
        CheckpointError: the base doesn't read as many tokens as are wanted, can't be loaded, or was trained with
            instructions in another text format.
        ConfigError: unknown base, or one of two labels, whose score is a probability, where scores are to be added.
    """
    loaded = _with_a_head(base) if model_family(base) == "bi-encoder" else load_torch_reranker(base)
    check_format(loaded.text_format, text_format, base)
    if isinstance(loaded, EncT5Reranker):
        model = CrossEncoder(modules=[EncT5Module(loaded.model)], device=str(loaded.device))
        reranker: CrossEncoderReranker | EncT5Reranker
        reranker = EncT5Reranker(loaded.model, loaded.tokenizer, text_format, name, device=str(loaded.device))
        longest, reranker.max_tokens = reranker.max_tokens, settings.tokens
    else:
        model = loaded.model
        longest, model.max_seq_length = model.max_seq_length or 0, settings.tokens
        reranker = CrossEncoderReranker(model, text_format, name)
    if settings.first_stage_weight:
        if isinstance(reranker, EncT5Reranker) or model.num_labels != 1:
            raise ConfigError(f"model.first_stage_weight: {base} scores by probabilities, which can't be added to")
        model.activation_fn = torch.nn.Identity()
        reranker.first_stage = FirstStage(locate(first_stage)[0], settings.final_weight)
    if settings.tokens > longest:
        raise CheckpointError(f"{base}: reads {longest} tokens, model.tokens wants {settings.tokens}")
    freeze(model, settings.freeze)
    set_dropout(model, settings.dropout)
    return model, reranker


def _with_a_head(base: str) -> CrossEncoderReranker | EncT5Reranker:
    """The body of a bi-encoder, or the encoder of a plain T5, with a new head from torch's generator."""
    name, _, folder = locate(base)
    folder = folder or hub_folder(name)
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # that the head is new is meant
    try:
        with load_errors(folder):
            if AutoConfig.from_pretrained(folder).model_type == "t5":
                return EncT5Reranker.of_t5(folder, PRESETS["plain"], name)
            model = CrossEncoder(str(folder), num_labels=1, local_files_only=True)
            return CrossEncoderReranker(model, PRESETS["plain"], name)
    finally:
        transformers_logging.set_verbosity(level)
