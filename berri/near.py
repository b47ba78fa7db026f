"""Near duplicates of short texts: MinHash finds the candidates, the shared words decide.

Source: A. Broder, On the resemblance and containment of documents, 1997.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from berri.draft import normalised
from tart.seeded import text_hash

Hashes = npt.NDArray[np.uint64]
BANDS, ROWS = 16, 4  # texts that share 8 of 10 words meet in at least one of 16 bands of 4 rows with p = 0.9999
LIKENESS = 0.8  # shared words by all words, from which on two texts are near duplicates
LEAST_WORDS = 4  # of a text that can be somebody's near duplicate: shorter ones must be equal
_MULTIPLIERS = np.random.default_rng(20231).integers(1, 2**63, size=BANDS * ROWS, dtype=np.uint64) | np.uint64(1)
_ADDENDS = np.random.default_rng(20232).integers(0, 2**63, size=BANDS * ROWS, dtype=np.uint64)
_AT_ONCE = 4096  # texts hashed together
_MOST_KNOWN = 1_000_000  # words: about 100 MB


def words_of(text: str) -> frozenset[str]:
    """The distinct normalised words of a text."""
    return frozenset(normalised(text).split())


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared words by all words (Jaccard), in [0, 1]."""
    return len(one & other) / len(one | other) if one or other else 1.0


def word_hashes(words: Sequence[str], known: dict[str, int]) -> Hashes:
    """64-bit hashes of words; `known` keeps those of words seen before."""
    if len(known) > _MOST_KNOWN:
        known.clear()
    for word in words:
        if word not in known:
            known[word] = text_hash(word)
    return np.fromiter((known[word] for word in words), dtype=np.uint64, count=len(words))


def bands_of(texts: Iterable[frozenset[str]]) -> Hashes:
    """For each set of words `BANDS` numbers; near duplicates share at least one, at the same place.

    Args:
        texts: streamed; kept are the numbers alone.

    Returns:
        uint64, shape (len(texts), BANDS); zeros for a text without words.
    """
    known: dict[str, int] = {}
    waiting: list[frozenset[str]] = []
    parts: list[Hashes] = []
    for words in texts:
        waiting.append(words)
        if len(waiting) == _AT_ONCE:
            parts.append(_bands(waiting, known))
            waiting = []
    return np.concatenate([*parts, _bands(waiting, known)])


def _bands(texts: list[frozenset[str]], known: dict[str, int]) -> Hashes:
    bands = np.zeros((len(texts), BANDS), dtype=np.uint64)
    filled = np.asarray([row for row, words in enumerate(texts) if words], dtype=np.int64)
    if not len(filled):
        return bands
    starts = np.cumsum([0, *(len(texts[row]) for row in filled[:-1])])
    hashes = word_hashes([word for row in filled for word in texts[row]], known)
    least = np.empty((len(filled), BANDS * ROWS), dtype=np.uint64)
    for number in range(BANDS * ROWS):  # one permutation of the words after the other
        mixed = hashes * _MULTIPLIERS[number] + _ADDENDS[number]
        mixed ^= mixed >> np.uint64(29)
        least[:, number] = np.minimum.reduceat(mixed * _MULTIPLIERS[number - 1], starts)
    bands[filled] = (least.reshape(len(filled), BANDS, ROWS) * _MULTIPLIERS[:ROWS]).sum(axis=2, dtype=np.uint64)
    return bands
