"""What a search is put together from: anything with these methods fits in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tart.collection import Document, Query
from tart.run import Run
from tart.text_format import TextFormat

FloatArray = npt.NDArray[np.float32]
Similarity = Literal["cosine", "dot"]


class Scored(NamedTuple):
    """Rows of an index with their scores, score falling; both of shape (n,)."""

    scores: FloatArray
    rows: npt.NDArray[np.int64]


class EncodedText(NamedTuple):
    """What a model really read of a text.

    Args:
        text: the joined text, up to where the model stopped reading.
        tokens: how many tokens were read, special ones included.
        cut_tokens: how many tokens at the end were not read.
    """

    text: str
    tokens: int
    cut_tokens: int


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors: what a bi-encoder does."""

    name: str
    text_format: TextFormat
    similarity: Similarity
    backend: str
    """What computes the vectors, and how precisely: "torch float32", "lean bfloat16", or a name of its own."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def model_hash(self) -> str:
        """Changes whenever the same text could get another vector."""

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Vectors of shape (len(queries), dim), each query joined with its own instruction."""

    def encode_documents(self, documents: Sequence[Document | str]) -> FloatArray:
        """Vectors of shape (len(documents), dim)."""

    def read_queries(self, queries: Sequence[Query]) -> list[EncodedText]:
        """What the model reads of each query."""

    def read_documents(self, documents: Sequence[Document | str]) -> list[EncodedText]:
        """What the model reads of each document."""


@runtime_checkable
class Reranker(Protocol):
    """Scores pairs of a query, instruction included, and a document: what a cross-encoder does."""

    name: str
    text_format: TextFormat

    def score(self, pairs: Sequence[tuple[Query, Document]]) -> FloatArray:
        """Scores of shape (len(pairs),); higher is better."""


@runtime_checkable
class Retriever(Protocol):
    """Queries to ranked documents."""

    def retrieve(self, queries: Sequence[Query], k: int) -> Run:
        """The best k documents for each query, or all if there are fewer."""
