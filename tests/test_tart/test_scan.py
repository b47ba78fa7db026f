"""The scan in half precision finds what brute force finds, and knows where it can't be sure."""

from __future__ import annotations

import numpy as np
import pytest

from tart.index import dense, scan
from tart.index.dense import DenseIndex, normalised
from tart.retrieval.protocols import FloatArray, Similarity


def random_vectors(rows: int, dim: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices are scanned too, in several parts, whatever the processor."""
    monkeypatch.setattr(dense, "WORTH", 0)
    monkeypatch.setattr(dense, "has_bfloat16", lambda: True)
    monkeypatch.setattr(scan, "ROWS", 640)
    monkeypatch.setattr(scan, "QUERIES", 7)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("k", [1, 10, 50])
def test_the_best_rows_and_scores_are_those_of_double_precision(always: None, similarity: Similarity, k: int) -> None:
    vectors, queries = random_vectors(3000, 48, 1), 30 * random_vectors(20, 48, 2)
    if similarity == "cosine":
        vectors = normalised(vectors)
    exact = (
        vectors.astype(np.float64) @ (normalised(queries) if similarity == "cosine" else queries).astype(np.float64).T
    )
    for number, found in enumerate(DenseIndex(vectors, similarity).search(queries, k)):
        wanted = np.argsort(-exact[:, number])[:k]
        assert found.rows.tolist() == wanted.tolist()
        np.testing.assert_allclose(found.scores, exact[wanted, number], rtol=1e-6)


def test_differences_that_half_precision_cannot_see_are_seen(always: None) -> None:
    base = normalised(random_vectors(1, 64, 3))
    vectors = normalised(base + 1e-4 * random_vectors(2000, 64, 4))  # all alike but for the fourth digit
    exact = vectors.astype(np.float64) @ base[0].astype(np.float64)
    (found,) = DenseIndex(vectors, "cosine").search(base, 10)
    assert set(found.rows[:10].tolist()) == set(np.argsort(-exact)[:10].tolist()) or found.scores[9] == found.scores[-1]
    np.testing.assert_allclose(found.scores[:10], np.sort(exact)[::-1][:10], rtol=1e-6)


def test_all_that_ties_with_the_last_is_returned(always: None) -> None:
    vectors = np.repeat(normalised(random_vectors(20, 16, 5)), 100, axis=0)
    (found,) = DenseIndex(vectors, "cosine").search(vectors[:1], 30)
    assert sorted(found.rows.tolist()) == list(range(100))


def test_no_row_outside_scores_more_than_the_bound(always: None) -> None:
    vectors, queries = random_vectors(2000, 32, 6), random_vectors(15, 32, 7)
    rows, bound = scan.scan(vectors, queries, 40)
    exact = queries.astype(np.float64) @ vectors.astype(np.float64).T
    for number, kept in enumerate(rows):
        assert len(set(kept.tolist())) == 40
        outside = np.delete(exact[number], kept)
        assert outside.max() <= bound[number]


def test_the_size_of_the_parts_changes_nothing(always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = normalised(random_vectors(2500, 24, 8)), random_vectors(30, 24, 9)
    answers = []
    for rows, at_once in ((64, 1), (1000, 16), (100_000, 512)):
        monkeypatch.setattr(scan, "ROWS", rows)
        monkeypatch.setattr(scan, "QUERIES", at_once)
        found = DenseIndex(vectors, "cosine").search(queries, 20)
        answers.append([(one.rows.tolist(), one.scores.tolist()) for one in found])
    assert answers[0] == answers[1] == answers[2]


def test_a_processor_without_bfloat16_gives_the_same(always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = normalised(random_vectors(2500, 24, 10)), random_vectors(30, 24, 11)
    fast = DenseIndex(vectors, "cosine").search(queries, 20)
    monkeypatch.setattr(dense, "has_bfloat16", lambda: False)
    slow = DenseIndex(vectors, "cosine").search(queries, 20)
    for one, other in zip(fast, slow, strict=True):
        assert one.rows.tolist() == other.rows.tolist()
        assert one.scores.tolist() == other.scores.tolist()
