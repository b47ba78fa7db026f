"""BM25 over stemmed words with bm25s, memory-mapped."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tart.collection import Document
from tart.errors import DataError
from tart.index.documents import NOT_AN_ARRAY
from tart.retrieval.protocols import FloatArray, Scored

FOLDER = "bm25"
SETTINGS = {"method": "lucene", "k1": 1.5, "b": 0.75}
STEMMER, STOPWORDS = "english", "english"
CHUNK = 16_384  # texts in memory at once
BLOCK = 256  # scores of which the best is looked at first


def tokenize(texts: list[str]) -> list[list[str]]:
    """Lower-cased words of two characters and more, without English stop words, stemmed (Snowball English)."""
    rows, vocabulary = _word_numbers(texts)
    words = {number: word for word, number in vocabulary.items()}
    return [[words[number] for number in row] for row in rows]


def _word_numbers(texts: list[str]) -> tuple[list[list[int]], dict[str, int]]:
    """The words of each text as numbers, and the number of each word."""
    import bm25s
    import Stemmer

    found: Any = bm25s.tokenize(
        texts, stopwords=STOPWORDS, stemmer=Stemmer.Stemmer(STEMMER), return_ids=True, show_progress=False
    )
    return found.ids, found.vocab


def write_bm25(folder: Path, documents: Iterable[Document]) -> None:
    """Build the BM25 part of an index folder from title and text together; of the texts only numbers stay in memory."""
    import bm25s

    numbers: dict[str, int] = {}
    rows: list[array[int]] = []
    texts = (f"{document.title} {document.text}" for document in documents)
    while chunk := list(islice(texts, CHUNK)):
        found, vocabulary = _word_numbers(chunk)
        known = {vocabulary[word]: numbers.setdefault(word, len(numbers)) for word in sorted(vocabulary)}
        rows.extend(array("i", [known[number] for number in row]) for row in found)
    if not numbers:
        numbers[""] = 0
        rows[0] = array("i", [0])  # bm25s can't index a corpus without a single word
    index = bm25s.BM25(**SETTINGS)
    index.index((rows, numbers), show_progress=False)
    index.save(folder / FOLDER, show_progress=False)


class SparseIndex:
    """BM25 over all documents of an index.

    Args:
        folder: an index folder.

    Source: Robertson's BM25 as Lucene has it, k1 = 1.5 and b = 0.75 (arXiv 2407.03618 for bm25s).
    """

    def __init__(self, folder: Path) -> None:
        import bm25s

        self._path = folder / FOLDER
        try:
            self._bm25 = bm25s.BM25.load(self._path, mmap=True, load_corpus=False)
        except (*NOT_AN_ARRAY, KeyError, TypeError) as error:
            raise DataError(f"damaged ({error}); build the index again", path=self._path) from None

    def search(self, queries: Sequence[str], k: int) -> list[Scored]:
        """The best rows for each query.

        Args:
            queries: the queries' own words; an instruction has no place in word matching.
            k: how many are wanted, at least 1.

        Returns:
            For each query every row that scores at least what the k-th best does, score falling. Documents that share
            no word with the query are not ranked: there may be fewer than k.

        Raises:
            DataError: if the files don't fit together.
        """
        found = []
        for words in tokenize(list(queries)):
            try:
                known = self._bm25.get_tokens_ids(words)
                scores = self._bm25.get_scores_from_ids(known).astype(np.float32)
            except (ValueError, IndexError, TypeError) as error:
                raise DataError(f"damaged ({error}); build the index again", path=self._path) from None
            rows = _best_rows(scores, k)
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            found.append(Scored(scores[rows], rows.astype(np.int64)))
        return found


def _best_rows(scores: FloatArray, k: int) -> npt.NDArray[np.int64]:
    """The rows that score above 0 and at least what the k-th best does."""
    blocks, lowest = len(scores) // BLOCK, np.float32(0)
    if blocks > k:  # the best of k blocks are k rows: the k-th best of all is no lower
        highest = scores[: blocks * BLOCK].reshape(blocks, BLOCK).max(axis=1)
        lowest = np.partition(highest, -k)[-k]
    rows = np.flatnonzero(scores >= lowest if lowest > 0 else scores > 0)
    if len(rows) > k:
        rows = rows[scores[rows] >= np.partition(scores[rows], -k)[-k]]
    return rows


def sparse_parts(manifest: dict[str, Any]) -> dict[str, Any]:
    """The parts of an index's manifest that are BM25's, with their checksums."""
    return {name: facts for name, facts in manifest["parts"].items() if name.startswith(f"{FOLDER}/")}
