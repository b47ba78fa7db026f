"""LeanModel: an OpenVINO graph with its tokenizer, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from tart.files import usable_cores
from tart.models.backend import lean_precision
from tart.models.batches import NO_LIMIT, Budget, run_in_batches
from tart.retrieval.protocols import FloatArray

GRAPH, TOKENIZER = "model.xml", "tokenizer.json"
Precision = Literal["float32", "bfloat16", "int8"]
Text = str | tuple[str, str]

BATCH_TOKENS = 2048  # what a layer makes of so many fits a core's cache
_WIDTHS = 8  # batches are padded to a multiple of it: OpenVINO prepares itself for each new shape
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class LeanModel:
    """Texts, or pairs of texts, to rows of numbers. Any number of threads may use one.

    Args:
        folder: holds the graph and the tokenizer.
        precision: of the products; those that a graph of "int8" leaves are as precise as this processor is fast at.
        pad_id: token that fills up shorter texts.
        truncation_side: "right" or "left": where a text that is too long is cut.
    """

    def __init__(self, folder: Path, precision: Precision, pad_id: int, truncation_side: str = "right") -> None:
        import openvino  # type: ignore[import-untyped]

        self._streams = usable_cores()
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[lean_precision()[0] if precision == "int8" else precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            # A batch for each core, and no core waits for another at each layer: a neighbour slows one, not all.
            "NUM_STREAMS": self._streams,
            "INFERENCE_NUM_THREADS": self._streams,
            "ENABLE_CPU_PINNING": False,
        }
        self._graph = openvino.Core().compile_model(folder / GRAPH, "CPU", settings)
        self.inputs = [port.get_any_name() for port in self._graph.inputs]
        self._tokenizer_text = (folder / TOKENIZER).read_text(encoding="utf-8")
        self.tokenizer: Tokenizer = Tokenizer.from_str(self._tokenizer_text)
        self._cutting: dict[int, Tokenizer] = {NO_LIMIT: self.tokenizer}
        self._pad_id, self._side = pad_id, truncation_side
        self._budget = Budget(BATCH_TOKENS)
        self._idle: SimpleQueue[Any] = SimpleQueue()

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

        def compute(rows: list[int]) -> FloatArray:
            width = -(-max(lengths[row] for row in rows) // _WIDTHS) * _WIDTHS
            filled = {name: np.zeros((len(rows), min(width, limit)), dtype=np.int64) for name in self.inputs}
            filled["input_ids"][:] = self._pad_id
            for place, row in enumerate(rows):
                one, length = encoded[row], lengths[row]
                filled["input_ids"][place, :length] = one.ids
                filled["attention_mask"][place, :length] = 1
                if "token_type_ids" in filled:
                    filled["token_type_ids"][place, :length] = one.type_ids
            return self._infer(filled)

        found: FloatArray | None = None
        for rows, output in run_in_batches(lengths, self._budget, compute, lambda done: done, workers=self._streams):
            if found is None:
                found = np.empty((len(texts), output.shape[1]), dtype=np.float32)
            found[rows] = output
        if found is None:
            raise ValueError("wanted at least one text")
        return found

    def _infer(self, inputs: dict[str, npt.NDArray[np.int64]]) -> FloatArray:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._graph.create_infer_request()
        output: Any = request.infer(inputs, share_inputs=True)[0]
        self._idle.put(request)
        return np.asarray(output, dtype=np.float32)

    def _tokenizer(self, limit: int) -> Tokenizer:
        """A tokenizer that cuts there; each has its own, because it is a setting that threads would share."""
        if limit not in self._cutting:
            tokenizer: Tokenizer = Tokenizer.from_str(self._tokenizer_text)
            tokenizer.enable_truncation(limit, strategy="longest_first", direction=self._side)
            self._cutting[limit] = tokenizer
        return self._cutting[limit]
