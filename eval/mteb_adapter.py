"""mteb scores our encoders: the instruction goes where the model's text format wants it.

mteb joins a query and its instruction as "query instruction". This adapter takes the two apart again and lets the text
format join them. mteb is an optional dependency: pip install tart-retrieval[mteb].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tart.collection import Document, Query
from tart.index.dense import normalised
from tart.instruction import Instruction
from tart.retrieval.protocols import Encoder, FloatArray

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta


class MtebEncoder:
    """An `Encoder` with the methods of mteb's EncoderProtocol: `mteb.evaluate(MtebEncoder(encoder), tasks)`.

    Args:
        encoder: what encodes.
        instructions: task name -> instruction, for queries to which the data gives none of their own.
    """

    def __init__(self, encoder: Encoder, instructions: Mapping[str, Instruction] | None = None) -> None:
        self.encoder, self.instructions = encoder, dict(instructions or {})

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb files the results under."""
        from mteb.models.model_meta import ModelMeta

        name = self.encoder.name if "/" in self.encoder.name else f"tart-retrieval/{self.encoder.name}"
        return ModelMeta.create_empty({"name": name, "revision": self.encoder.model_hash})

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **_: Any) -> FloatArray:
        """Encode mteb's batches.

        Args:
            inputs: batches (dicts of columns): "text"; documents also "title" and "body", queries "query" and
                "instruction".
            task_metadata: its name looks up `instructions`.
            prompt_type: "document" for documents; anything else is a query.

        Returns:
            float32, shape (number of texts, dim).
        """
        vectors = [np.empty((0, self.encoder.dim), dtype=np.float32)]
        for batch in inputs:
            if str(getattr(prompt_type, "value", prompt_type)) == "document":
                vectors.append(self.encoder.encode_documents(_documents(batch)))
            else:
                vectors.append(self.encoder.encode_queries(_queries(batch, self.instructions.get(task_metadata.name))))
        return np.concatenate(vectors)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> FloatArray:
        """Scores of every pair, shape (n, m); higher is better."""
        first, second = self._scored(embeddings1), self._scored(embeddings2)
        return np.asarray(first @ second.T, dtype=np.float32)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> FloatArray:
        """Scores of corresponding rows, shape (n,); higher is better."""
        return np.asarray((self._scored(embeddings1) * self._scored(embeddings2)).sum(axis=1), dtype=np.float32)

    def _scored(self, embeddings: Any) -> FloatArray:
        vectors = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
        return normalised(vectors) if self.encoder.similarity == "cosine" else vectors


def _documents(batch: Mapping[str, list[str]]) -> list[Document]:
    bodies = batch.get("body", batch["text"])
    titles = batch.get("title") or [""] * len(bodies)
    return [Document("document", body, title or "") for body, title in zip(bodies, titles, strict=True)]


def _queries(batch: Mapping[str, list[str]], default: Instruction | None) -> list[Query]:
    texts = batch.get("query", batch["text"])
    wishes: list[Any] = batch.get("instruction") or [None] * len(texts)
    return [
        Query(str(row), text, Instruction(wish) if wish else default)
        for row, (text, wish) in enumerate(zip(texts, wishes, strict=True))
    ]
