"""Making the lean form: the whole of a torch model traced into one OpenVINO graph, and compared with the original."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openvino  # type: ignore[import-untyped]
import torch

from tart.models.backend import lean_precision
from tart.models.batches import NO_LIMIT
from tart.models.bi_encoder import BiEncoder
from tart.models.cross_encoder import CrossEncoderReranker
from tart.models.lean_form import AGREES, NoLeanForm
from tart.models.lean_graph import keep_first_token
from tart.models.lean_runtime import GRAPH, TOKENIZER, LeanModel, Precision
from tart.retrieval.protocols import FloatArray

MODULES = {"Transformer", "Pooling", "Dense", "Normalize"}
"""Parts of a sentence-transformers model that need no more than ids, a mask and types of tokens."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MOST_PARAMETERS = 1_000_000_000  # larger ones don't fit the memory twice

SAMPLE = (
    "",
    "a",
    "How do I read a file line by line?",
    "été, 中文, שלום, 🎉: words of several scripts",
    "def merge(first, second):\n    return sorted(first + second)\n",
    "The boiling point of water falls with the pressure, which is why eggs take longer in the mountains.",
    "Find a paragraph of documentation that explains this: open a socket and wait for a connection.",
    "Ships were weighed by the water that they displace. " * 6,
    "A text that is longer than what the model reads loses its end, here and in the original. " * 120,
)
"""Texts of many lengths, in one batch, so that padding and cutting are part of the comparison."""


def export_lean(original: BiEncoder | CrossEncoderReranker, folder: Path) -> dict[str, Any]:
    """Write graph and tokenizer of a model into an empty folder.

    Args:
        original: on the CPU.
        folder: where they go.

    Returns:
        Facts for the manifest; "agreement": for each precision that this processor has, the least cosine of a text's
        vectors, or, of a cross-encoder, the correlation of the scores.

    Raises:
        NoLeanForm: if the model can't be taken, or the graph disagrees with it.
    """
    _check_kind(original)
    model = original.model
    tokenizer = model.tokenizer
    text = tokenizer.backend_tokenizer.to_str()
    settings = json.loads(text)
    settings["truncation"] = settings["padding"] = None  # state of the last call, not of the model
    (folder / TOKENIZER).write_text(json.dumps(settings), encoding="utf-8")
    openvino.save_model(_graph(original), folder / GRAPH, compress_to_fp16=False)
    facts = {
        "model_hash": original.model_hash,
        "pad_id": tokenizer.pad_token_id or 0,
        "truncation_side": tokenizer.truncation_side,
        "max_tokens": model.max_seq_length or NO_LIMIT,
    }
    if isinstance(original, BiEncoder):
        facts |= {
            "dim": original.dim,
            "similarity": original.similarity,
            "prompts": dict(model.prompts),
        }
    wanted: set[Precision] = {"float32", lean_precision()[0]}
    facts["agreement"] = {precision: _agreement(original, folder, precision, facts) for precision in sorted(wanted)}
    if facts["agreement"]["float32"] < AGREES:
        raise NoLeanForm(f"its lean form disagrees with it: {facts['agreement']['float32']:.6f}, wanted {AGREES}")
    return facts


def _check_kind(original: BiEncoder | CrossEncoderReranker) -> None:
    """Refuse what a graph of ids, mask and types can't be."""
    model = original.model
    names = [type(module).__name__ for module in model]
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        raise NoLeanForm(f"it has a module {unknown[0]}; the lean form takes {', '.join(sorted(MODULES))}")
    if isinstance(original, BiEncoder) and not original._pools_prompt:
        raise NoLeanForm("it leaves a prompt out of the mean")
    if not getattr(model.tokenizer, "is_fast", False):
        raise NoLeanForm("its tokenizer is none of the tokenizers package")
    if model.tokenizer.padding_side != "right":
        raise NoLeanForm("its tokenizer pads on the left")
    parameters = sum(weights.numel() for weights in model.parameters())
    if parameters > MOST_PARAMETERS:
        raise NoLeanForm(f"it has {parameters:,} parameters, more than {MOST_PARAMETERS:,}")
    if unknown := sorted(name for name, value in _features(original).items() if name not in INPUTS):
        raise NoLeanForm(f"it reads {', '.join(unknown)} beside {', '.join(INPUTS)}")


def _features(original: BiEncoder | CrossEncoderReranker) -> dict[str, torch.Tensor]:
    texts: list[Any] = list(SAMPLE[1:3])
    if isinstance(original, CrossEncoderReranker):
        texts = [(text, text) for text in texts]
    features = original.model.preprocess(texts)
    return {name: value for name, value in features.items() if isinstance(value, torch.Tensor)}


class _Vectors(torch.nn.Module):
    def __init__(self, model: Any, inputs: list[str], dim: int) -> None:
        super().__init__()
        self.model, self.inputs, self.dim = model, inputs, dim

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.model(dict(zip(self.inputs, tensors, strict=True)))["sentence_embedding"]
        return vectors[:, : self.dim]


class _Scores(torch.nn.Module):
    def __init__(self, model: Any, inputs: list[str]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(dict(zip(self.inputs, tensors, strict=True)))["scores"]
        if self.model.num_labels == 2:
            return logits.softmax(dim=1)[:, 1:]
        scores: torch.Tensor = self.model.activation_fn(logits)
        return scores


def _graph(original: BiEncoder | CrossEncoderReranker) -> openvino.Model:
    features = _features(original)
    inputs = [name for name in INPUTS if name in features]
    wrapped: torch.nn.Module
    if isinstance(original, BiEncoder):
        wrapped = _Vectors(original.model, inputs, original.dim)
    else:
        wrapped = _Scores(original.model, inputs)
    wrapped.eval()  # of the wrapper: tracing restores its mode, and would switch dropout on
    try:
        with _quiet(), torch.inference_mode(False), torch.no_grad():
            graph = openvino.convert_model(wrapped, example_input=tuple(features[name] for name in inputs))
            for port, name in zip(graph.inputs, inputs, strict=True):
                port.get_tensor().set_names({name})
            graph.reshape({name: openvino.PartialShape([-1, -1]) for name in inputs})
            keep_first_token(graph)
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise NoLeanForm(f"its graph can't be traced: {reason}") from error
    return graph


def _agreement(
    original: BiEncoder | CrossEncoderReranker, folder: Path, precision: Precision, facts: dict[str, Any]
) -> float:
    try:
        lean = LeanModel(folder, precision, facts["pad_id"], facts["truncation_side"])
        if isinstance(original, BiEncoder):
            texts = list(SAMPLE)
            reference = original._vectors(texts, original.max_tokens, "")
            return _least_cosine(reference, lean.run(texts, facts["max_tokens"]))
        pairs = [(asked, text) for asked in SAMPLE[2:5] for text in SAMPLE[1:]]
        scores = np.stack([original._scores(pairs), lean.run(pairs, facts["max_tokens"])[:, 0]])
        scores -= scores.mean(axis=1, keepdims=True)
        return _least_cosine(scores[:1], scores[1:])
    except RuntimeError as error:
        raise NoLeanForm(f"its graph doesn't run: {' '.join(str(error).split())[:160]}") from error


def _least_cosine(first: FloatArray, second: FloatArray) -> float:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first.astype(np.float64) * second).sum(axis=1) / np.maximum(lengths, 1e-30)
    return float(np.nan_to_num(cosines).min())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what tracing says about every branch of the model off the screen."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
