"""SummedReranker: a cross-encoder that was trained to mend a bi-encoder's order, with that bi-encoder's score."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np

from tart.collection import Document, Query
from tart.index.dense import normalised
from tart.retrieval.protocols import Encoder, FloatArray, Reranker

T = TypeVar("T")


class SummedReranker:
    """Scores pairs with the sum of a cross-encoder's score and a bi-encoder's, which is weighted.

    Where the hits that are ranked anew have the bi-encoder's scores already, `add` takes them, and nothing is encoded.

    Args:
        cross_encoder: what was trained to add to the bi-encoder's score.
        first_stage: the bi-encoder's name.
        weight: by which its score is multiplied.
        load: loads the bi-encoder; called when its scores are first needed.

    Attributes:
        name, text_format, backend: those of the cross-encoder.
    """

    def __init__(self, cross_encoder: Reranker, first_stage: str, weight: float, load: Callable[[], Encoder]) -> None:
        self.cross_encoder, self.first_stage, self.weight, self._load = cross_encoder, first_stage, weight, load
        self.name, self.text_format = cross_encoder.name, cross_encoder.text_format
        self.backend: str | None = getattr(cross_encoder, "backend", None)

    @property
    def model_hash(self) -> str:
        """Changes with the cross-encoder, the weight, and the first stage, which is loaded for it."""
        first = getattr(self._encoder, "model_hash", self.first_stage)
        parts = (getattr(self.cross_encoder, "model_hash", self.name), f"{self.weight:g}", first)
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()

    @cached_property
    def _encoder(self) -> Encoder:
        return self._load()

    def score(self, pairs: Sequence[tuple[Query, Document]]) -> FloatArray:
        """Score pairs, as `PairReranker.score` does; each text is encoded once."""
        if not pairs:
            return np.empty(0, dtype=np.float32)
        encoder = self._encoder
        queries, asked = _distinct((query for query, _ in pairs), lambda one: (one.text, one.instruction))
        documents, answers = _distinct((document for _, document in pairs), lambda one: (one.title, one.text))
        left, right = encoder.encode_queries(queries), encoder.encode_documents(documents)
        if encoder.similarity == "cosine":
            left, right = normalised(left), normalised(right)
        return self.add(pairs, np.einsum("nd,nd->n", left[asked], right[answers]))

    def add(self, pairs: Sequence[tuple[Query, Document]], first: FloatArray) -> FloatArray:
        """Score pairs of which the bi-encoder's scores are known.

        Args:
            pairs: queries with their instructions, and documents.
            first: the bi-encoder's scores, shape (len(pairs),).
        """
        return np.asarray(self.cross_encoder.score(pairs) + np.float32(self.weight) * first, dtype=np.float32)


def _distinct(items: Iterable[T], key: Callable[[T], Hashable]) -> tuple[list[T], list[int]]:
    """Each item once, and for each item its place there."""
    place: dict[Hashable, int] = {}
    kept: list[T] = []
    places: list[int] = []
    for item in items:
        number = place.setdefault(key(item), len(kept))
        if number == len(kept):
            kept.append(item)
        places.append(number)
    return kept, places
