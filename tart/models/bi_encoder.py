"""BiEncoder: a sentence-transformers model that reads queries with their instructions (TART-dual's form)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tart.collection import Document, Query
from tart.errors import CheckpointError
from tart.models.checkpoint import TART_JSON, state_hash, write_tart_json
from tart.models.notice import InstructionNotice
from tart.retrieval.protocols import EncodedText, FloatArray, Similarity
from tart.text_format import TextFormat

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class BiEncoder:
    """Encodes queries and documents separately with one model.

    Vectors are those of plain sentence-transformers for the joined texts: `text_format` decides what is joined, and
    `similarity` whether an index normalises them.

    Args:
        model: a loaded `SentenceTransformer`; its similarity must be cosine or dot product.
        text_format: how instruction and query, title and text are joined.
        name: what indexes and reports call it; a folder or hub id that loads it again.
        batch_size: texts per forward pass.

    Raises:
        CheckpointError: if the model's similarity is neither cosine nor dot product.
    """

    def __init__(self, model: SentenceTransformer, text_format: TextFormat, name: str, *, batch_size: int = 32) -> None:
        if model.similarity_fn_name not in ("cosine", "dot"):
            raise CheckpointError(f"{name}: similarity {model.similarity_fn_name!r}; wanted 'cosine' or 'dot'")
        self.model, self.text_format, self.name, self.batch_size = model, text_format, name, batch_size
        self.similarity: Similarity = "cosine" if model.similarity_fn_name == "cosine" else "dot"
        self._notice = InstructionNotice(name, text_format)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.model.get_embedding_dimension() or 0)

    @cached_property
    def model_hash(self) -> str:
        """sha256 over weights, tokenizer and module settings, computed once."""
        digest = hashlib.sha256(state_hash(self.model).encode())
        tokenizer = json.loads(self.model.tokenizer.backend_tokenizer.to_str())
        tokenizer.pop("truncation"), tokenizer.pop("padding")  # state of the last call, not of the model
        digest.update(json.dumps(tokenizer, sort_keys=True).encode())
        digest.update(str(self.model.max_seq_length).encode())
        for module in self.model:
            settings: dict[str, Any] = getattr(module, "get_config_dict", dict)()
            digest.update(json.dumps([type(module).__name__, settings], sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Encode queries, each joined with its own instruction by the text format.

        Args:
            queries: any number.

        Returns:
            float32, shape (len(queries), dim), in the order given, as the model puts them out.
        """
        self._notice.look_at(queries)
        parts = [self._fitting_parts(query) for query in queries]
        limit = self.text_format.max_query_tokens
        if self._pools_prompt:
            return self._encode(["".join(part) for part in parts], limit)
        vectors = np.empty((len(parts), self.dim), dtype=np.float32)  # INSTRUCTOR: the prompt is left out of the mean
        for prompt in dict.fromkeys(part[0] for part in parts):
            rows = [row for row, part in enumerate(parts) if part[0] == prompt]
            vectors[rows] = self._encode(["".join(parts[row][1:]) for row in rows], limit, prompt=prompt)
        return vectors

    def encode_documents(self, documents: Sequence[Document | str]) -> FloatArray:
        """Encode documents; plain strings work too.

        Equal texts get equal vectors, to the last bit, wherever they stand.

        Args:
            documents: any number.

        Returns:
            float32, shape (len(documents), dim), in the order given, as the model puts them out.
        """
        texts = [self.text_format.document_text(_as_document(document)) for document in documents]
        limit = self.text_format.max_document_tokens
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

    def read_documents(self, documents: Sequence[Document | str]) -> list[EncodedText]:
        """What the model reads of each document."""
        texts = [self.text_format.document_text(_as_document(document)) for document in documents]
        return self._read(texts, self._document_limit)

    def save(self, folder: str | Path) -> None:
        """Write a plain sentence-transformers folder (safetensors) with `tart.json`, which holds the text format.

        The folder must be empty or new; use `tart.files.new_folder` to make it appear whole.
        """
        self.model.save_pretrained(str(folder), safe_serialization=True)
        write_tart_json(Path(folder) / TART_JSON, "bi-encoder", self.text_format)

    @property
    def _query_limit(self) -> int:
        return self._limit(self.text_format.max_query_tokens)

    @property
    def _document_limit(self) -> int:
        return self._limit(self.text_format.max_document_tokens)

    def _limit(self, wanted: int | None) -> int:
        longest = self.model.max_seq_length or 10**9
        return longest if wanted is None else min(wanted, longest)

    @cached_property
    def _pools_prompt(self) -> bool:
        return all(getattr(module, "include_prompt", True) for module in self.model)

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

    def _encode(self, texts: list[str], limit: int | None, prompt: str | None = None) -> FloatArray:
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        distinct = list(dict.fromkeys(texts))
        settings: dict[str, Any] = {} if limit is None else {"text": {"max_length": self._limit(limit)}}
        vectors = self.model.encode(
            distinct,
            prompt=prompt or "",  # never a default prompt of the model: the text format is the only joiner
            batch_size=self.batch_size,
            show_progress_bar=False,
            processing_kwargs=settings,
        )
        row_of = {text: row for row, text in enumerate(distinct)}
        return np.ascontiguousarray(np.asarray(vectors, dtype=np.float32)[[row_of[text] for text in texts]])

    def _tokenize(self, texts: list[str]) -> list[list[tuple[int, int]]]:
        """The (start, end) of each token in its text; special tokens have start == end."""
        encoded = self.model.tokenizer(texts, truncation=False, return_offsets_mapping=True, verbose=False)
        return list(encoded["offset_mapping"])

    def _read(self, texts: list[str], limit: int) -> list[EncodedText]:
        found = []
        for text, offsets in zip(texts, self._tokenize(texts) if texts else [], strict=True):
            cut = max(len(offsets) - limit, 0)
            closing = 1 if offsets[-1][0] == offsets[-1][1] else 0  # the special token at the end stays
            read = text[: offsets[limit - closing - 1][1]] if cut else text
            found.append(EncodedText(read, len(offsets) - cut, cut))
        return found


def _as_document(document: Document | str) -> Document:
    return Document("text", document) if isinstance(document, str) else document
