"""LeanModel: an OpenVINO graph with its tokenizer, without torch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from tart.models.batches import NO_LIMIT, Budget, run_in_batches
from tart.retrieval.protocols import FloatArray

GRAPH, TOKENIZER = "model.xml", "tokenizer.json"
Precision = Literal["float32", "bfloat16"]
Text = str | tuple[str, str]

BATCH_TOKENS = 2048  # what a layer makes of so many fits a core's cache
_WIDTHS = 8  # batches are padded to a multiple of it: OpenVINO prepares itself for each new shape
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class LeanModel:
    """Texts, or pairs of texts, to rows of numbers. Any number of threads may use one.

    Args:
        folder: holds the graph and the tokenizer.
        precision: of the products.
        pad_id: token that fills up shorter texts.
        truncation_side: "right" or "left": where a text that is too long is cut.
    """

    def __init__(self, folder: Path, precision: Precision, pad_id: int, truncation_side: str = "right") -> None:
        import openvino  # type: ignore[import-untyped]

        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # a neighbour on the same core would stop all threads
        }
        self._graph = openvino.Core().compile_model(folder / GRAPH, "CPU", settings)
        self.inputs = [port.get_any_name() for port in self._graph.inputs]
        self._tokenizer_text = (folder / TOKENIZER).read_text(encoding="utf-8")
        self.tokenizer: Tokenizer = Tokenizer.from_str(self._tokenizer_text)
        self._cutting: dict[int, Tokenizer] = {NO_LIMIT: self.tokenizer}
        self._pad_id, self._side = pad_id, truncation_side
        self._budget = Budget(BATCH_TOKENS)
        self._requests = threading.local()

    def run(self, texts: Sequence[Text], limit: int) -> FloatArray:
        """What the graph gives for each text.

        Args:
            texts: at least one, all strings or all pairs.
            limit: tokens that are read, special ones included; of a pair, the longer text is cut first.

        Returns:
            float32, shape (len(texts), width of the graph's output).
        """
        encoded = self._tokenizer(limit).encode_batch_fast(list(texts))
        lengths = [len(one.ids) for one in encoded]

        def prepare(rows: list[int]) -> dict[str, npt.NDArray[np.int64]]:
            width = -(-max(lengths[row] for row in rows) // _WIDTHS) * _WIDTHS
            filled = {name: np.zeros((len(rows), min(width, limit)), dtype=np.int64) for name in self.inputs}
            filled["input_ids"][:] = self._pad_id
            for place, row in enumerate(rows):
                one, length = encoded[row], lengths[row]
                filled["input_ids"][place, :length] = one.ids
                filled["attention_mask"][place, :length] = 1
                if "token_type_ids" in filled:
                    filled["token_type_ids"][place, :length] = one.type_ids
            return filled

        found: FloatArray | None = None
        for rows, output in run_in_batches(lengths, self._budget, prepare, self._infer):
            if found is None:
                found = np.empty((len(texts), output.shape[1]), dtype=np.float32)
            found[rows] = output
        if found is None:
            raise ValueError("wanted at least one text")
        return found

    def _infer(self, inputs: dict[str, npt.NDArray[np.int64]]) -> FloatArray:
        if not hasattr(self._requests, "own"):
            self._requests.own = self._graph.create_infer_request()
        output: Any = self._requests.own.infer(inputs, share_inputs=True)[0]
        return np.asarray(output, dtype=np.float32)

    def _tokenizer(self, limit: int) -> Tokenizer:
        """A tokenizer that cuts there; each has its own, because it is a setting that threads would share."""
        if limit not in self._cutting:
            tokenizer: Tokenizer = Tokenizer.from_str(self._tokenizer_text)
            tokenizer.enable_truncation(limit, strategy="longest_first", direction=self._side)
            self._cutting[limit] = tokenizer
        return self._cutting[limit]
