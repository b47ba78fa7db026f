"""Retrieval with instructions: a query, what you want back in plain words, and the documents that fit both.

>>> import tart
>>> tart.Query("q1", "how to read a file", tart.Instruction("Find Python code that does this")).query_id
'q1'

The names below are the promised ones. They load on first use: `import tart` takes no time and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tart.collection import Corpus, Document, Qrels, Query, TestCollection
    from tart.errors import TartError
    from tart.index.readers import read_documents, read_queries
    from tart.instruction import Instruction
    from tart.models.bi_encoder import BiEncoder
    from tart.models.registry import load_encoder, load_reranker
    from tart.run import Hit, Run
    from tart.search.fusion import ReciprocalRankFusion, WeightedSum
    from tart.search.protocols import Encoder, Reranker, Retriever
    from tart.search.result import SearchHit, SearchResult
    from tart.search.searcher import Searcher, search
    from tart.text_format import TextFormat

_HOMES = {
    "BiEncoder": "tart.models.bi_encoder",
    "Corpus": "tart.collection",
    "Document": "tart.collection",
    "Encoder": "tart.search.protocols",
    "Hit": "tart.run",
    "Instruction": "tart.instruction",
    "Qrels": "tart.collection",
    "Query": "tart.collection",
    "ReciprocalRankFusion": "tart.search.fusion",
    "Reranker": "tart.search.protocols",
    "Retriever": "tart.search.protocols",
    "Run": "tart.run",
    "SearchHit": "tart.search.result",
    "SearchResult": "tart.search.result",
    "Searcher": "tart.search.searcher",
    "TartError": "tart.errors",
    "TestCollection": "tart.collection",
    "TextFormat": "tart.text_format",
    "WeightedSum": "tart.search.fusion",
    "load_encoder": "tart.models.registry",
    "load_reranker": "tart.models.registry",
    "read_documents": "tart.index.readers",
    "read_queries": "tart.index.readers",
    "search": "tart.search.searcher",
}

__all__ = [  # noqa: PLE0604, RUF022 - the table above is the one list of names
    *_HOMES,
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tart' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
