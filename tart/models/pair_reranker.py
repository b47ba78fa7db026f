"""PairReranker: how query, instruction and document are joined, cut and scored, whatever runtime makes the scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from tart.collection import Document, Query
from tart.errors import CheckpointError
from tart.models.notice import InstructionNotice
from tart.retrieval.protocols import FloatArray
from tart.text_format import TextFormat

TokenEnds = Callable[[str], list[int]]
"""Where each token of a text ends, nothing cut, special tokens of the model not counted."""


class PairReranker(ABC):
    """Scores a query and a document that are read together.

    A pair that is too long loses tokens from the end of its longer text; an instruction that stands there stays, and
    the query before it is cut.

    Args:
        text_format: how instruction and query, title and text are joined.
        name: what reports call it; a folder or hub id that loads it again.
        backend: what computes the scores, and how precisely: "torch float32", "lean bfloat16", ...
        room: tokens of query and document together, special ones not counted.
    """

    def __init__(self, text_format: TextFormat, name: str, backend: str, room: int) -> None:
        self.text_format, self.name, self.backend, self._room = text_format, name, backend, room
        self._notice = InstructionNotice(name, text_format)

    @property
    @abstractmethod
    def model_hash(self) -> str:
        """sha256 over the weights, whatever runtime makes the scores."""

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
        return check_scores(self._scores([self._texts(*pair) for pair in pairs]), pairs, self.name)

    @abstractmethod
    def _scores(self, pairs: list[tuple[str, str]]) -> FloatArray:
        """Scores of shape (len(pairs),) for at least one pair; what is still too long is cut at its longer text."""

    @abstractmethod
    def _token_ends(self, text: str) -> list[int]:
        """See `TokenEnds`."""

    def _texts(self, query: Query, document: Document) -> tuple[str, str]:
        """The two texts; the tokenizer cuts what is still too long, at the end of the longer one."""
        form = self.text_format
        asked, text = form.query_text(query), form.document_text(document)
        if form.instruction_first and form.max_query_tokens is None and form.max_document_tokens is None:
            return asked, text
        if form.max_document_tokens is not None:
            text = _cut(self._token_ends, text, form.max_document_tokens - 1)  # its [SEP]
        asked_room = max(self._room - len(self._token_ends(text)), self._room // 2)  # what that cutting would leave
        if form.max_query_tokens is not None:
            asked_room = min(asked_room, form.max_query_tokens - 2)  # [CLS] and its [SEP]
        return fitting_query(self._token_ends, form, query, asked_room), text


def fitting_query(token_ends: TokenEnds, text_format: TextFormat, query: Query, room: int) -> str:
    """A query's joined text of at most `room` tokens: its own words are cut, the instruction stays wherever it stands.

    Only an instruction that alone has more than `room` tokens leaves a longer text.
    """
    before, text, after = text_format.query_parts(query)
    if len(token_ends(before + text + after)) <= room:
        return before + text + after
    return before + _cut(token_ends, text, room - len(token_ends(before + after))) + after


def _cut(token_ends: TokenEnds, text: str, tokens: int) -> str:
    ends = token_ends(text)
    if len(ends) <= tokens:
        return text
    return text[: ends[tokens - 1]] if tokens > 0 else ""


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
