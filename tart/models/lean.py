"""LeanEncoder and LeanReranker: models in the lean form, which needs no torch."""

from __future__ import annotations

import numpy as np

from tart.models.lean_form import LeanForm
from tart.models.pair_reranker import PairReranker
from tart.models.text_encoder import TextEncoder
from tart.retrieval.protocols import FloatArray
from tart.text_format import TextFormat


class LeanEncoder(TextEncoder):
    """A bi-encoder in the lean form: the vectors of its original to a cosine of 0.9999, and its model hash.

    Args:
        form: of a bi-encoder.
        text_format: how instruction and query, title and text are joined.
        name: what indexes and reports call it; a folder or hub id that loads it again.
    """

    def __init__(self, form: LeanForm, text_format: TextFormat, name: str) -> None:
        super().__init__(text_format, name, form.facts["similarity"], f"lean {form.precision}")
        self._facts, self._model = form.facts, form.load()

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._facts["dim"])

    @property
    def model_hash(self) -> str:
        """That of the original."""
        return str(self._facts["model_hash"])

    @property
    def max_tokens(self) -> int:
        """Where the model stops reading, special tokens included."""
        return int(self._facts["max_tokens"])

    def _vectors(self, texts: list[str], limit: int, prompt: str) -> FloatArray:
        return self._model.run([prompt + text for text in texts], limit)

    def _tokenize(self, texts: list[str]) -> list[list[tuple[int, int]]]:
        return [one.offsets for one in self._model.tokenizer.encode_batch(texts)]


class LeanReranker(PairReranker):
    """A cross-encoder in the lean form. See `PairReranker` for what is cut.

    Args:
        form: of a cross-encoder.
        text_format: how instruction and query, title and text are joined.
        name: what reports call it; a folder or hub id that loads it again.
    """

    def __init__(self, form: LeanForm, text_format: TextFormat, name: str) -> None:
        self._facts, self._model = form.facts, form.load()
        self._limit = int(form.facts["max_tokens"])
        room = self._limit - self._model.tokenizer.num_special_tokens_to_add(True)
        super().__init__(text_format, name, f"lean {form.precision}", room)

    @property
    def model_hash(self) -> str:
        """That of the original."""
        return str(self._facts["model_hash"])

    def _scores(self, pairs: list[tuple[str, str]]) -> FloatArray:
        return np.ascontiguousarray(self._model.run(pairs, self._limit)[:, 0])

    def _token_ends(self, text: str) -> list[int]:
        return [end for _, end in self._model.tokenizer.encode(text, add_special_tokens=False).offsets]
