"""CrossEncoderReranker: a sentence-transformers cross-encoder that reads the instruction with the query."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tart.collection import Document, Query
from tart.errors import CheckpointError
from tart.models.checkpoint import TART_JSON, write_tart_json
from tart.models.notice import InstructionNotice
from tart.retrieval.protocols import FloatArray
from tart.text_format import TextFormat

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import PreTrainedTokenizerBase


class CrossEncoderReranker:
    """Scores a query and a document that are read together.

    Scores are those of plain `CrossEncoder.predict` for the joined texts: with one label after the model's own
    activation, with two as the softmax probability of the second one, "relevant". A pair that is too long loses tokens
    from the end of its longer text; an instruction that stands there stays, and the query before it is cut.

    Args:
        model: a loaded `CrossEncoder` with one or two labels.
        text_format: how instruction and query, title and text are joined.
        name: what reports call it; a folder or hub id that loads it again.
        batch_size: pairs per forward pass.

    Raises:
        CheckpointError: if the model has another number of labels.
    """

    def __init__(self, model: CrossEncoder, text_format: TextFormat, name: str, *, batch_size: int = 32) -> None:
        if model.num_labels not in (1, 2):
            raise CheckpointError(f"{name}: has {model.num_labels} labels; a reranker has one or two")
        self.model, self.text_format, self.name, self.batch_size = model, text_format, name, batch_size
        self._notice = InstructionNotice(name, text_format)

    @classmethod
    def load(
        cls, folder: Path, text_format: TextFormat, name: str, *, device: str | None = None
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
        return cls(CrossEncoder(str(folder), device=device), text_format, name)

    def score(self, pairs: Sequence[tuple[Query, Document]]) -> FloatArray:
        """Score pairs.

        Args:
            pairs: queries with their instructions, and documents.

        Returns:
            float32, shape (len(pairs),); higher is better.

        Raises:
            CheckpointError: if a score is NaN.
        """
        if not pairs:
            return np.empty(0, dtype=np.float32)
        import torch

        self._notice.look_at(query for query, _ in pairs)
        two_labels = self.model.num_labels == 2
        found = self.model.predict(
            [self._texts(query, document) for query, document in pairs],
            prompt="",  # never a default prompt of the model: the text format is the only joiner
            batch_size=self.batch_size,
            show_progress_bar=False,
            activation_fn=torch.nn.Identity() if two_labels else None,  # a stored one would come before the softmax
            apply_softmax=two_labels,
        )
        scores = np.asarray(found, dtype=np.float32)
        return check_scores(scores[:, 1] if two_labels else scores, pairs, self.name)

    def _texts(self, query: Query, document: Document) -> tuple[str, str]:
        """The two texts; the tokenizer cuts what is still too long, at the end of the longer one."""
        form, tokenizer = self.text_format, self.model.tokenizer
        asked, text = form.query_text(query), form.document_text(document)
        if form.instruction_first and form.max_query_tokens is None and form.max_document_tokens is None:
            return asked, text
        room = (self.model.max_seq_length or 10**9) - tokenizer.num_special_tokens_to_add(pair=True)
        if form.max_document_tokens is not None:
            text = _cut(tokenizer, text, form.max_document_tokens - 1)  # its [SEP]
        asked_room = max(room - len(_token_ends(tokenizer, text)), room // 2)  # what that cutting would leave
        if form.max_query_tokens is not None:
            asked_room = min(asked_room, form.max_query_tokens - 2)  # [CLS] and its [SEP]
        return fitting_query(tokenizer, form, query, asked_room), text

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
        write_tart_json(Path(folder) / TART_JSON, "cross-encoder", self.text_format)


def fitting_query(tokenizer: PreTrainedTokenizerBase, text_format: TextFormat, query: Query, room: int) -> str:
    """A query's joined text of at most `room` tokens: its own words are cut, the instruction stays wherever it stands.

    Only an instruction that alone has more than `room` tokens leaves a longer text.
    """
    before, text, after = text_format.query_parts(query)
    if len(_token_ends(tokenizer, before + text + after)) <= room:
        return before + text + after
    return before + _cut(tokenizer, text, room - len(_token_ends(tokenizer, before + after))) + after


def _cut(tokenizer: PreTrainedTokenizerBase, text: str, tokens: int) -> str:
    ends = _token_ends(tokenizer, text)
    if len(ends) <= tokens:
        return text
    return text[: ends[tokens - 1]] if tokens > 0 else ""


def _token_ends(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Where each token of a text ends, special tokens of the model not counted."""
    encoded = tokenizer(text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)
    return [end for _, end in encoded["offset_mapping"]]


def check_scores(scores: FloatArray, pairs: Sequence[tuple[Query, Document]], name: str) -> FloatArray:
    """The scores, if none of them is NaN.

    Raises:
        CheckpointError: naming the first pair that has no score.
    """
    bad = np.flatnonzero(np.isnan(scores))
    if len(bad):
        query, document = pairs[bad[0]]
        raise CheckpointError(
            f"{name}: the score of {len(bad)} of {len(pairs)} pairs is NaN, the first is that of query "
            f"{query.query_id!r} and document {document.doc_id!r}"
        )
    return scores
