"""CrossEncoderReranker: a sentence-transformers cross-encoder that reads the instruction with the query."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tart.collection import Document, Query
from tart.errors import CheckpointError
from tart.models.batches import NO_LIMIT, is_out_of_memory
from tart.models.checkpoint import TART_JSON, FirstStage, state_hash, uncut_tokenizer, write_tart_json
from tart.models.pair_reranker import PairReranker, TokenEnds
from tart.retrieval.protocols import FloatArray
from tart.text_format import TextFormat

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class CrossEncoderReranker(PairReranker):
    """Scores pairs with a `CrossEncoder`, on torch. See `PairReranker` for what is cut. Threads take turns.

    Scores are those of plain `CrossEncoder.predict` for the joined texts: with one label after the model's own
    activation, with two as the softmax probability of the second one, "relevant".

    Args:
        model: a loaded `CrossEncoder` with one or two labels.
        text_format: how instruction and query, title and text are joined.
        name: what reports call it; a folder or hub id that loads it again.
        first_stage: the bi-encoder to whose score these scores are to be added, if there is one.
        batch_size: pairs per forward pass; halved where memory runs out.

    Raises:
        CheckpointError: if the model has another number of labels.
    """

    def __init__(
        self,
        model: CrossEncoder,
        text_format: TextFormat,
        name: str,
        *,
        first_stage: FirstStage | None = None,
        batch_size: int = 32,
    ) -> None:
        if model.num_labels not in (1, 2):
            raise CheckpointError(f"{name}: has {model.num_labels} labels; a reranker has one or two")
        special = model.tokenizer.num_special_tokens_to_add(pair=True)
        super().__init__(text_format, name, "torch float32", (model.max_seq_length or NO_LIMIT) - special)
        self.model, self.first_stage, self.batch_size = model, first_stage, batch_size
        self._predicting = threading.Lock()  # where to cut is a setting of the model's tokenizer
        self._token_ends_of = token_ends_of(model.tokenizer)

    @classmethod
    def load(
        cls,
        folder: Path,
        text_format: TextFormat,
        name: str,
        *,
        first_stage: FirstStage | None = None,
        device: str | None = None,
    ) -> CrossEncoderReranker:
        """Load a folder that sentence-transformers or transformers wrote.

        Raises:
            CheckpointError: if its weights lack the head that makes the score: it would be a random one.
        """
        from safetensors import safe_open
        from sentence_transformers import CrossEncoder

        weights = folder / "model.safetensors"
        if weights.is_file():
            with safe_open(weights, framework="np") as file:
                if not any("classifier" in name or "score" in name for name in file.keys()):  # noqa: SIM118
                    raise CheckpointError(f"{weights}: holds no classification head, so it can't score pairs")
        return cls(CrossEncoder(str(folder), device=device), text_format, name, first_stage=first_stage)

    @cached_property
    def model_hash(self) -> str:
        """sha256 over the weights, computed once."""
        return state_hash(self.model)

    def _scores(self, pairs: list[tuple[str, str]]) -> FloatArray:
        import torch

        two_labels = self.model.num_labels == 2
        while True:
            try:
                with self._predicting:
                    found = self.model.predict(
                        pairs,
                        prompt="",  # never a default prompt of the model: the text format is the only joiner
                        batch_size=self.batch_size,
                        show_progress_bar=False,
                        # A stored activation would precede the softmax.
                        activation_fn=torch.nn.Identity() if two_labels else None,
                        apply_softmax=two_labels,
                    )
                break
            except (RuntimeError, MemoryError) as error:
                if self.batch_size == 1 or not is_out_of_memory(error):
                    raise
                self.batch_size //= 2
                logger.warning("out of memory; going on with batches of %d pairs", self.batch_size)
        scores = np.asarray(found, dtype=np.float32)
        return scores[:, 1] if two_labels else scores

    def _token_ends(self, text: str) -> list[int]:
        return self._token_ends_of(text)

    def tokens(self, pairs: Sequence[tuple[Query, Document]]) -> dict[str, list[list[int]]]:
        """What the model reads of pairs, as `score` does: for each of its inputs the values, a list for each pair."""
        asked, texts = zip(*(self._texts(query, document) for query, document in pairs), strict=True)
        limit = self.model.max_seq_length
        found = self.model.tokenizer(
            list(asked), list(texts), truncation="longest_first", max_length=limit, padding=False, verbose=False
        )
        return dict(found)

    def padded(self, tokens: dict[str, list[list[int]]]) -> dict[str, torch.Tensor]:
        """Tokens as tensors of shape (pairs, longest)."""
        return dict(self.model.tokenizer.pad(tokens, return_tensors="pt"))

    def save(self, folder: str | Path) -> None:
        """Write a plain sentence-transformers folder (safetensors) with `tart.json` into an empty or new folder."""
        self.model.save_pretrained(str(folder), safe_serialization=True)
        write_tart_json(Path(folder) / TART_JSON, "cross-encoder", self.text_format, self.first_stage)


def token_ends_of(tokenizer: PreTrainedTokenizerBase) -> TokenEnds:
    """Where the tokens of a text end, told by a tokenizer of transformers; a query comes with each of its documents."""
    uncut = uncut_tokenizer(tokenizer)

    @lru_cache(maxsize=1024)
    def token_ends(text: str) -> list[int]:
        return [end for _, end in uncut.encode(text, add_special_tokens=False).offsets]

    return token_ends
