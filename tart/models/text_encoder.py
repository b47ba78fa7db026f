"""TextEncoder: how texts are joined, cut and told about, whatever runtime makes the vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from tart.collection import Document, Query
from tart.models.notice import InstructionNotice
from tart.retrieval.protocols import EncodedText, FloatArray, Similarity
from tart.text_format import TextFormat


class TextEncoder(ABC):
    """Encodes queries and documents separately with one model.

    Args:
        text_format: how instruction and query, title and text are joined.
        name: what indexes and reports call it; a folder or hub id that loads it again.
        similarity: whether an index normalises the vectors.
        backend: what computes them, and how precisely: "torch float32", "lean bfloat16", ...
    """

    def __init__(self, text_format: TextFormat, name: str, similarity: Similarity, backend: str) -> None:
        self.text_format, self.name, self.similarity, self.backend = text_format, name, similarity, backend
        self._notice = InstructionNotice(name, text_format)

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of a vector."""

    @property
    @abstractmethod
    def model_hash(self) -> str:
        """sha256 over weights, tokenizer and module settings; the same for every backend."""

    @property
    @abstractmethod
    def max_tokens(self) -> int:
        """Where the model stops reading, special tokens included."""

    @abstractmethod
    def _vectors(self, texts: list[str], limit: int, prompt: str) -> FloatArray:
        """Vectors of distinct texts, at least one, cut at `limit` tokens, each with the prompt before it."""

    @abstractmethod
    def _tokenize(self, texts: list[str]) -> list[list[tuple[int, int]]]:
        """The (start, end) of each token in its text, nothing cut; special tokens have start == end."""

    @property
    def _pools_prompt(self) -> bool:
        """Whether the tokens of a prompt count in the mean, as all others."""
        return True

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Encode queries, each joined with its own instruction by the text format.

        Args:
            queries: any number.

        Returns:
            float32, shape (len(queries), dim), in the order given, as the model puts them out; of a query without
            instruction only the numbers that `TextFormat.plain_dims` leaves, and 0 for the others.
        """
        vectors = self._encode_queries(queries)
        vectors[[query.instruction is None for query in queries], self.text_format.plain_dims or self.dim :] = 0
        return vectors

    def _encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        self._notice.look_at(queries)
        parts = [self._fitting_parts(query) for query in queries]
        limit = self._query_limit
        if self._pools_prompt:
            return self._encode(["".join(part) for part in parts], limit)
        vectors = np.empty((len(parts), self.dim), dtype=np.float32)  # INSTRUCTOR: the prompt is left out of the mean
        for prompt in dict.fromkeys(part[0] for part in parts):
            rows = [row for row, part in enumerate(parts) if part[0] == prompt]
            vectors[rows] = self._encode(["".join(parts[row][1:]) for row in rows], limit, prompt=prompt)
        return vectors

    def encode_documents(self, documents: Sequence[Document | str] | Mapping[str, Document | str]) -> FloatArray:
        """Encode documents; plain strings work too, and so does a mapping to either, such as a `Corpus`.

        Equal texts get equal vectors, to the last bit, wherever they stand.

        Args:
            documents: any number.

        Returns:
            float32, shape (len(documents), dim), in the order given, as the model puts them out.
        """
        texts = self._document_texts(documents)
        limit = self._document_limit
        if self._pools_prompt:
            return self._encode(texts, limit)
        prompt = self.text_format.document.split("{text}")[0]
        return self._encode([text.removeprefix(prompt) for text in texts], limit, prompt=prompt)

    def read_queries(self, queries: Sequence[Query]) -> list[EncodedText]:
        """What the model reads of each query: the joined text, where it stops, and how many tokens are lost."""
        read = self._read([self.text_format.query_text(query) for query in queries], self._query_limit)
        for row, query in enumerate(queries):
            if read[row].cut_tokens and not self.text_format.instruction_first:
                read[row] = read[row]._replace(text="".join(self._fitting_parts(query)))
        return read

    def read_documents(self, documents: Sequence[Document | str] | Mapping[str, Document | str]) -> list[EncodedText]:
        """What the model reads of each document."""
        return self._read(self._document_texts(documents), self._document_limit)

    @property
    def _query_limit(self) -> int:
        return self._limit(self.text_format.max_query_tokens)

    @property
    def _document_limit(self) -> int:
        return self._limit(self.text_format.max_document_tokens)

    def _document_texts(self, documents: Sequence[Document | str] | Mapping[str, Document | str]) -> list[str]:
        given = documents.values() if isinstance(documents, Mapping) else documents
        return [self.text_format.document_text(_as_document(document)) for document in given]

    def _limit(self, wanted: int | None) -> int:
        return self.max_tokens if wanted is None else min(wanted, self.max_tokens)

    def _fitting_parts(self, query: Query) -> tuple[str, str, str]:
        """The parts of a query's text; where the instruction comes last, a long query is cut to leave room for it."""
        before, text, after = self.text_format.query_parts(query)
        if self.text_format.instruction_first or query.instruction is None:
            return before, text, after
        frame = self._tokenize([before + after])[0]
        room = max(self._query_limit - len(frame), 0)
        offsets = [end for start, end in self._tokenize([text])[0] if end > start]
        if len(offsets) > room:
            text = text[: offsets[room - 1]] if room else ""
        return before, text, after

    def _encode(self, texts: list[str], limit: int, prompt: str = "") -> FloatArray:
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        distinct = list(dict.fromkeys(texts))
        vectors = self._vectors(distinct, limit, prompt)
        row_of = {text: row for row, text in enumerate(distinct)}
        return np.ascontiguousarray(np.asarray(vectors, dtype=np.float32)[[row_of[text] for text in texts]])

    def _read(self, texts: list[str], limit: int) -> list[EncodedText]:
        found = []
        for text, offsets in zip(texts, self._tokenize(texts) if texts else [], strict=True):
            cut = max(len(offsets) - limit, 0)
            closing = 1 if offsets and offsets[-1][0] == offsets[-1][1] else 0  # the special token at the end stays
            read = text[: offsets[limit - closing - 1][1]] if cut else text
            found.append(EncodedText(read, len(offsets) - cut, cut))
        return found


def _as_document(document: Document | str) -> Document:
    return Document("text", document) if isinstance(document, str) else document
