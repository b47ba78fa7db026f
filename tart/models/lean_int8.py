"""The int8 form of a lean model: linear layers multiply 8-bit integers, faster and less precisely.

Weights are rounded for each output by itself, and what a layer reads within the range that it had on a sample. What
this costs is measured as the form is made, on text that every machine has: finding the code of a function by its
docstring in Python's own standard library. No torch is needed.

Source: Xiao et al. 2022 (SmoothQuant, arXiv 2211.10438), section 4: weights take over a part of the range of what is
read.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import openvino  # type: ignore[import-untyped]
from openvino import opset13 as ops
from tokenizers import Tokenizer

from tart.demo.stdlib_corpus import stdlib_documents
from tart.index.dense import normalised
from tart.models.lean_form import LeanForm, NoLeanForm
from tart.models.lean_runtime import GRAPH, TOKENIZER, LeanModel, Text
from tart.retrieval.protocols import FloatArray

SMOOTHING = 0.7
CALIBRATION_TEXTS = 64
QUERIES, DOCUMENTS = 300, 1000
CANDIDATES = 20  # of each query, for a cross-encoder
NOT_OF_THE_MODEL = {"kind", "key", "openvino", "parts", "sha256"}


class Sample(NamedTuple):
    """Docstrings, functions without them, and for each docstring the row of its function."""

    docstrings: list[str]
    functions: list[str]
    wanted: npt.NDArray[np.int64]


def quantize(form: LeanForm, folder: Path) -> dict[str, Any]:
    """Write the int8 form of a lean model into an empty folder.

    Returns:
        Facts for the manifest: those of the lean form, how the scores correlate with its scores, and the nDCG of both.

    Raises:
        NoLeanForm: if it has no linear layer.
    """
    graph = openvino.Core().read_model(form.folder / GRAPH)
    _quantize_layers(graph, _ranges(form))
    openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)
    shutil.copyfile(form.folder / TOKENIZER, folder / TOKENIZER)
    facts = form.facts
    small = LeanModel(folder, "int8", facts["pad_id"], facts["truncation_side"])
    sample = _sample()
    (exact, before), (rounded, after) = (_scores(model, facts, sample) for model in (form.load(), small))
    return {
        **{name: facts[name] for name in facts if name not in NOT_OF_THE_MODEL},
        "agreement": {**facts["agreement"], "int8": float(np.corrcoef(exact.ravel(), rounded.ravel())[0, 1])},
        "ndcg": {form.precision: before, "int8": after},
    }


def _linear_layers(graph: Any) -> list[Any]:
    """Products with a matrix of weights, (outputs, inputs)."""
    return [
        node
        for node in graph.get_ordered_ops()
        if node.get_type_name() == "MatMul"
        and node.input_value(1).get_node().get_type_name() == "Constant"
        and node.get_attributes()["transpose_b"]
        and not node.get_attributes()["transpose_a"]
    ]


def _source(node: Any) -> tuple[str, int]:
    """What a layer reads; query, key and value of attention read the same."""
    port = node.input_value(0)
    return port.get_node().get_friendly_name(), port.get_index()


def _ranges(form: LeanForm) -> dict[tuple[str, int], tuple[FloatArray, FloatArray]]:
    """Smallest and largest value of each input of each layer on a sample, shape (inputs,)."""
    core = openvino.Core()
    graph = core.read_model(form.folder / GRAPH)
    ports = {_source(node): node.input_value(0) for node in _linear_layers(graph)}
    if not ports:
        raise NoLeanForm("it has no linear layer that int8 could make faster")
    outputs = []
    for port in ports.values():
        axes = ops.constant(np.arange(len(port.get_partial_shape()) - 1))
        outputs += [ops.reduce_min(port, axes).output(0), ops.reduce_max(port, axes).output(0)]
    run = core.compile_model(
        openvino.Model(outputs, graph.get_parameters()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    tokenizer = Tokenizer.from_file(str(form.folder / TOKENIZER))
    tokenizer.enable_truncation(form.facts["max_tokens"])
    found: dict[tuple[str, int], tuple[FloatArray, FloatArray]] = {}
    for one in tokenizer.encode_batch(
        _calibration_texts(pairs="dim" not in form.facts)
    ):  # one by one: padding isn't part of the range
        given = {"input_ids": one.ids, "attention_mask": one.attention_mask, "token_type_ids": one.type_ids}
        named = {
            name: np.asarray([given[name]], dtype=np.int64) for name in (port.get_any_name() for port in run.inputs)
        }
        values = [np.array(value) for value in run(named).to_tuple()]
        for source, low, high in zip(ports, values[::2], values[1::2], strict=True):
            lowest, highest = found.get(source, (low, high))
            found[source] = np.minimum(lowest, low), np.maximum(highest, high)
    return found


def _calibration_texts(pairs: bool) -> list[Text]:
    """Texts of one to eight paragraphs, for a cross-encoder each with another paragraph as the query."""
    paragraphs = [document.text for document in stdlib_documents()]
    rows = np.random.default_rng(0).integers(len(paragraphs), size=(CALIBRATION_TEXTS, 9))
    texts = [" ".join(paragraphs[row] for row in some[1 : number % 8 + 2]) for number, some in enumerate(rows)]
    return [(paragraphs[some[0]], text) if pairs else text for some, text in zip(rows, texts, strict=True)]


def _quantize_layers(graph: Any, ranges: dict[tuple[str, int], tuple[FloatArray, FloatArray]]) -> None:
    """Let each linear layer read rounded values and rounded weights."""
    readers: dict[tuple[str, int], list[Any]] = {}
    for node in _linear_layers(graph):
        readers.setdefault(_source(node), []).append(node)
    for source, nodes in readers.items():
        low, high = ranges[source]
        weights = [np.array(node.input_value(1).get_node().data, dtype=np.float32) for node in nodes]
        widest = np.maximum(np.max([np.abs(one).max(axis=0) for one in weights], axis=0), 1e-5)
        scale = np.maximum(np.maximum(-low, high), 1e-5) ** SMOOTHING / widest ** (1 - SMOOTHING)
        low, high = (low / scale).min(), (high / scale).max()
        smoothed = ops.multiply(nodes[0].input_value(0), ops.constant((1 / scale).astype(np.float32)))
        edges = [ops.constant(np.float32(min(low, 0))), ops.constant(np.float32(max(high, 0)))]
        read = ops.fake_quantize(smoothed, *edges, *edges, 256)
        for node, matrix in zip(nodes, weights, strict=True):
            matrix = matrix * scale
            step = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-10).astype(np.float32) / 127
            whole = ops.constant(np.round(matrix / step).astype(np.int8))
            rounded = ops.multiply(ops.convert(whole, np.float32), ops.constant(step))
            node.input(0).replace_source_output(read.output(0))
            node.input(1).replace_source_output(rounded.output(0))
    graph.validate_nodes_and_infer_types()


def _sample() -> Sample:
    code: dict[str, str] = {}
    first: dict[str, str] = {}
    for document in stdlib_documents():
        name = document.doc_id.partition(":")[2].partition("#")[0]
        (code if document.doc_id.startswith("code:") else first).setdefault(name, document.text)
    names = [name for name in code if name in first]
    functions = names[:: max(len(names) // DOCUMENTS, 1)][:DOCUMENTS]
    asked = range(0, len(functions), max(len(functions) // QUERIES, 1))
    wanted = np.asarray(list(asked)[:QUERIES])
    return Sample([first[functions[row]] for row in wanted], [code[name] for name in functions], wanted)


def _scores(model: LeanModel, facts: dict[str, Any], sample: Sample) -> tuple[FloatArray, float]:
    """Scores of a sample, and their nDCG@10."""
    limit = facts["max_tokens"]
    if "dim" in facts:
        asked, found = model.run(sample.docstrings, limit), model.run(sample.functions, limit)
        if facts["similarity"] == "cosine":
            asked, found = normalised(asked), normalised(found)
        scores, wanted = asked @ found.T, sample.wanted
    else:
        some = slice(None, None, 5)
        steps = np.arange(CANDIDATES) * (len(sample.functions) // CANDIDATES)
        rows = (sample.wanted[some, None] + steps) % len(sample.functions)
        pairs = [(sample.docstrings[5 * one], sample.functions[row]) for one, found in enumerate(rows) for row in found]
        scores, wanted = model.run(pairs, limit)[:, 0].reshape(rows.shape), np.zeros(len(rows), dtype=np.int64)
    ranks = (scores >= scores[np.arange(len(scores)), wanted][:, None]).sum(axis=1)
    return scores, float(np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0).mean())
