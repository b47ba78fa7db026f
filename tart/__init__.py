"""Retrieval with instructions: a query, what you want back in plain words, and the documents that fit both.

>>> import tart
>>> tart.Query("q1", "how to read a file", tart.Instruction("Find Python code that does this")).query_id
'q1'

The names below are the promised ones. They load on first use: `import tart` takes no time and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the redundant names tell type checkers that they are exported
    from tart.collection import Corpus as Corpus
    from tart.collection import Document as Document
    from tart.collection import Qrels as Qrels
    from tart.collection import Query as Query
    from tart.collection import TestCollection as TestCollection
    from tart.errors import TartError as TartError
    from tart.index.readers import read_documents as read_documents
    from tart.index.readers import read_queries as read_queries
    from tart.instruction import Instruction as Instruction
    from tart.models.bi_encoder import BiEncoder as BiEncoder
    from tart.models.load import load_encoder as load_encoder
    from tart.models.load import load_reranker as load_reranker
    from tart.retrieval.fusion import ReciprocalRankFusion as ReciprocalRankFusion
    from tart.retrieval.fusion import WeightedSum as WeightedSum
    from tart.retrieval.protocols import Encoder as Encoder
    from tart.retrieval.protocols import Reranker as Reranker
    from tart.retrieval.protocols import Retriever as Retriever
    from tart.retrieval.result import SearchHit as SearchHit
    from tart.retrieval.result import SearchResult as SearchResult
    from tart.retrieval.searcher import Searcher as Searcher
    from tart.retrieval.searcher import search as search
    from tart.retrieval.tuning import tune as tune
    from tart.run import Hit as Hit
    from tart.run import Run as Run
    from tart.text_format import TextFormat as TextFormat

_HOMES = {
    "BiEncoder": "tart.models.bi_encoder",
    "Corpus": "tart.collection",
    "Document": "tart.collection",
    "Encoder": "tart.retrieval.protocols",
    "Hit": "tart.run",
    "Instruction": "tart.instruction",
    "Qrels": "tart.collection",
    "Query": "tart.collection",
    "ReciprocalRankFusion": "tart.retrieval.fusion",
    "Reranker": "tart.retrieval.protocols",
    "Retriever": "tart.retrieval.protocols",
    "Run": "tart.run",
    "SearchHit": "tart.retrieval.result",
    "SearchResult": "tart.retrieval.result",
    "Searcher": "tart.retrieval.searcher",
    "TartError": "tart.errors",
    "TestCollection": "tart.collection",
    "TextFormat": "tart.text_format",
    "WeightedSum": "tart.retrieval.fusion",
    "load_encoder": "tart.models.load",
    "load_reranker": "tart.models.load",
    "read_documents": "tart.index.readers",
    "read_queries": "tart.index.readers",
    "search": "tart.retrieval.searcher",
    "tune": "tart.retrieval.tuning",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tart' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
