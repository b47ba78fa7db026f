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
    from sentence_transformers import CrossEncoder


class CrossEncoderReranker:
    """Scores a query and a document that are read together.

    Scores are those of plain `CrossEncoder.predict` for the joined texts: with one label the model's own activation,
    with two the softmax probability of the second one, "relevant". A pair that is too long loses tokens from the end of
    its longer text.

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
        """Load a folder that sentence-transformers or transformers wrote."""
        from sentence_transformers import CrossEncoder

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
        self._notice.look_at(query for query, _ in pairs)
        texts = [(self.text_format.query_text(query), self.text_format.document_text(doc)) for query, doc in pairs]
        two_labels = self.model.num_labels == 2
        found = self.model.predict(
            texts,
            prompt="",  # never a default prompt of the model: the text format is the only joiner
            batch_size=self.batch_size,
            show_progress_bar=False,
            apply_softmax=two_labels,
        )
        scores = np.asarray(found, dtype=np.float32)
        return check_scores(scores[:, 1] if two_labels else scores, pairs, self.name)

    def save(self, folder: str | Path) -> None:
        """Write a plain sentence-transformers folder (safetensors) with `tart.json` into an empty or new folder."""
        self.model.save_pretrained(str(folder), safe_serialization=True)
        write_tart_json(Path(folder) / TART_JSON, "cross-encoder", self.text_format)


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
