"""The scan in half precision finds what brute force finds, and knows where it can't be sure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tart.errors import DataError
from tart.index import dense, rounded, scan
from tart.index.dense import DenseIndex, normalised
from tart.index.rounded import Rounded, round_to_bfloat16, to_float32
from tart.retrieval.protocols import FloatArray, Similarity


def random_vectors(rows: int, dim: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def rounded_copy(vectors: FloatArray) -> Rounded:
    bits = round_to_bfloat16(vectors)
    off = np.linalg.norm(vectors - to_float32(bits), axis=1).max()
    return Rounded(bits, 1.001 * float(np.linalg.norm(vectors, axis=1).max()), 1.001 * float(off))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices are scanned too, in several parts, whatever the processor."""
    monkeypatch.setattr(dense, "worth_scanning", lambda pairs: True)
    monkeypatch.setattr(scan, "ROWS", 640)
    monkeypatch.setattr(scan, "QUERIES", 7)
    monkeypatch.setattr(rounded, "ROWS_PER_THREAD", 500)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("k", [1, 10, 50])
def test_the_best_rows_and_scores_are_those_of_double_precision(always: None, similarity: Similarity, k: int) -> None:
    vectors, queries = random_vectors(3000, 48, 1), 30 * random_vectors(20, 48, 2)
    if similarity == "cosine":
        vectors = normalised(vectors)
    exact = (
        vectors.astype(np.float64) @ (normalised(queries) if similarity == "cosine" else queries).astype(np.float64).T
    )
    for copy in (None, rounded_copy(vectors)):
        for size in (20, 3):  # at once, and one by one
            index = DenseIndex(vectors, similarity, copy)
            answers = [one for start in range(0, 20, size) for one in index.search(queries[start : start + size], k)]
            for number, found in enumerate(answers):
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


@pytest.mark.parametrize("way", ["scan", "scan of a copy", "scan_few"])
@pytest.mark.parametrize("coarse", [False, True])
def test_no_row_outside_scores_more_than_the_bound(always: None, way: str, coarse: bool) -> None:
    vectors, queries = random_vectors(2000, 32, 6), random_vectors(15, 32, 7)
    if coarse:  # halfway between two bfloat16 numbers: as wrong as rounding can be
        vectors, queries = (
            np.where(one > 0, 1 + 2.0**-8, 1 + 3 * 2.0**-8).astype(np.float32) for one in (vectors, queries)
        )
    copy = rounded_copy(vectors)
    if way == "scan_few":
        rows, bound = rounded.scan_few(copy, queries, 40)
    else:
        rows, bound = scan.scan(vectors, copy if way == "scan of a copy" else None, queries, 40)
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
    monkeypatch.setattr(dense, "worth_scanning", lambda pairs: False)
    slow = DenseIndex(vectors, "cosine").search(queries, 20)
    for one, other in zip(fast, slow, strict=True):
        assert one.rows.tolist() == other.rows.tolist()
        assert one.scores.tolist() == other.scores.tolist()


def test_rounding_is_that_of_torch() -> None:
    import torch

    bits = np.random.default_rng(12).integers(0, 2**32, size=50_000, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    wanted = torch.from_numpy(numbers).to(torch.bfloat16)
    assert len(numbers) > 40_000 and (to_float32(round_to_bfloat16(numbers)) == wanted.float().numpy()).all()


@pytest.mark.parametrize("copies", [1, 120, 127, 128, 129, 700])
def test_ties_in_a_copy_are_all_found(always: None, copies: int) -> None:
    better, tied, worse = [[1.0, 0]], [[0.6, 0.8]] * copies, [[-1.0, 0]] * 900
    vectors = np.float32(better + tied + worse)
    index = DenseIndex(vectors, "cosine", rounded_copy(vectors))
    for count in (1, 9):
        for found in index.search(np.tile(np.float32([[1, 0]]), (count, 1)), 2):
            assert sorted(found.rows.tolist()) == list(range(copies + 1))


def test_a_written_copy_is_opened_and_gives_the_same(always: None, tmp_path: Path) -> None:
    vectors, queries = normalised(random_vectors(2500, 24, 13)), random_vectors(30, 24, 14)
    np.save(tmp_path / dense.VECTORS, vectors)
    facts = rounded.write_rounded(tmp_path, vectors)
    assert (tmp_path / rounded.ROUNDED).stat().st_size == 128 + vectors.nbytes / 2
    opened = DenseIndex.open(tmp_path, "cosine", facts)
    assert opened.rounded is not None and isinstance(opened.rounded.bits, np.memmap)
    assert (opened.rounded.bits == round_to_bfloat16(vectors)).all()
    without, part = DenseIndex(vectors, "cosine"), queries[:2]
    for one, other in zip(opened.search(queries, 20), without.search(queries, 20), strict=True):
        assert one.rows.tolist() == other.rows.tolist() and one.scores.tolist() == other.scores.tolist()
    for one, other in zip(opened.search(part, 20), without.search(part, 20), strict=True):
        assert one.rows.tolist() == other.rows.tolist() and one.scores.tolist() == other.scores.tolist()


@pytest.mark.parametrize("content", [np.ones((4, 3), np.float32), np.ones((4, 4), np.uint16), np.ones(4, np.uint16)])
def test_another_array_in_place_of_the_copy_is_refused(tmp_path: Path, content: np.ndarray) -> None:
    np.save(tmp_path / rounded.ROUNDED, content)
    with pytest.raises(DataError) as caught:
        rounded.open_rounded(tmp_path, {"longest": 1.0, "error": 0.1}, (4, 3))
    wanted = "wanted a uint16 matrix of shape (4, 3); build the index again"
    assert str(caught.value) == f"{tmp_path / rounded.ROUNDED}: {wanted}"


def test_a_few_queries_need_no_torch(tmp_path: Path) -> None:
    program = f"""
import sys
import numpy as np
from pathlib import Path
from tart.index.dense import DenseIndex
from tart.index.rounded import write_rounded
vectors = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
np.save({str(tmp_path / dense.VECTORS)!r}, vectors)
index = DenseIndex.open(Path({str(tmp_path)!r}), "dot", write_rounded(Path({str(tmp_path)!r}), vectors))
for count in (1, 4, 200):
    found = index.search(vectors[:count], 3)
    assert [one.rows[0] for one in found] == list(range(count))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
