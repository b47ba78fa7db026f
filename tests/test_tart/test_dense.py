"""Dense search equals brute force in double precision, ties included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tart.errors import DataError, IndexMismatch
from tart.index.dense import VECTORS, DenseIndex, VectorWriter, normalised
from tart.retrieval.protocols import FloatArray, Scored, Similarity

SIMILARITIES: list[Similarity] = ["cosine", "dot"]


def brute_force(vectors: FloatArray, query: FloatArray, k: int, similarity: Similarity) -> dict[int, float]:
    """Every row that scores at least what the k-th best does, with its score."""
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    if similarity == "cosine":  # the vectors have length 1, or 0
        scores /= np.linalg.norm(query.astype(np.float64)) or 1.0
    bound = np.sort(scores)[::-1][min(k, len(scores)) - 1]
    # two rows may differ by a rounding of the query's length; rows that differ on purpose differ by far more
    return {int(row): float(scores[row]) for row in np.flatnonzero(scores >= bound - 1e-9)}


def agrees(found: Scored, wanted: dict[int, float]) -> None:
    assert found.scores.dtype == np.float32 and found.rows.dtype == np.int64
    assert set(found.rows.tolist()) == set(wanted) and len(found.rows) == len(wanted)
    np.testing.assert_allclose(found.scores, [wanted[int(row)] for row in found.rows], rtol=1e-6, atol=1e-7)
    assert (np.diff(found.scores) <= 0).all()


def few_values(generator: np.random.Generator, rows: int, dim: int, similarity: Similarity) -> FloatArray:
    """Vectors of small integers: most scores are shared by many rows."""
    vectors = generator.integers(-1, 2, size=(rows, dim)).astype(np.float32)
    return normalised(vectors) if similarity == "cosine" else vectors


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("count", [1, 2, 30, 300])
def test_search_equals_brute_force_with_many_ties(similarity: Similarity, count: int) -> None:
    generator = np.random.default_rng(count)
    vectors = few_values(generator, 120, 4, similarity)
    index, queries = DenseIndex(vectors, similarity), generator.integers(-2, 3, size=(count, 4)).astype(np.float32)
    longer = 0
    for k in (1, 2, 10, 16, 17, 103, 104, 119, 120, 121, 1000):
        found = index.search(queries, k)
        assert len(found) == count
        for query, one in zip(queries, found, strict=True):
            agrees(one, brute_force(vectors, query, k, similarity))
            longer += len(one.rows) > k
    assert longer > 5 * count  # ties at the end did come up


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_search_equals_brute_force_without_ties(similarity: Similarity) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(500, 48)).astype(np.float32)
    vectors = normalised(vectors) if similarity == "cosine" else vectors
    queries = generator.normal(size=(20, 48)).astype(np.float32) * 3
    for k in (1, 10, 500):
        for query, found in zip(queries, DenseIndex(vectors, similarity).search(queries, k), strict=True):
            assert len(found.rows) == k
            agrees(found, brute_force(vectors, query, k, similarity))


@pytest.mark.parametrize("copies", [15, 16, 17, 18, 40, 200, 1000])
def test_all_of_very_many_ties_are_found(copies: int) -> None:
    """More rows tie than are fetched at first: the search widens until none is missing."""
    generator = np.random.default_rng(copies)
    better, tied = np.array([[0.8, 0.6]]), np.array([[0.6, 0.8]])
    angles = generator.uniform(1, 5, size=300)  # cos(1) = 0.54: all of these are worse
    worse = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vectors = np.concatenate([better, np.tile(tied, (copies, 1)), worse]).astype(np.float32)
    order = generator.permutation(len(vectors))
    place = np.argsort(order)  # where each row went
    index, query = DenseIndex(vectors[order], "dot"), np.array([[1, 0]], np.float32)
    for k in (1, 2, 3, copies, copies + 1, copies + 2):
        (found,) = index.search(query, k)
        rows = set(found.rows.tolist())
        assert len(rows) == len(found.rows) == (k if k in (1, copies + 2) else copies + 1)
        assert found.rows[0] == place[0] and (k == 1 or set(place[1 : copies + 1].tolist()) <= rows)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_results_do_not_depend_on_the_order_of_rows_nor_on_other_queries(similarity: Similarity) -> None:
    generator = np.random.default_rng(3)
    vectors = np.concatenate([generator.normal(size=(200, 33)), np.zeros((5, 33))]).astype(np.float32)
    vectors = np.concatenate([vectors, vectors[::3]])
    vectors = normalised(vectors) if similarity == "cosine" else vectors
    queries = generator.normal(size=(300, 33)).astype(np.float32)
    wanted = DenseIndex(vectors, similarity).search(queries, 10)
    order = generator.permutation(len(vectors))
    shuffled = DenseIndex(vectors[order], similarity).search(queries, 10)
    for row, (one, other) in enumerate(zip(wanted, shuffled, strict=True)):
        exact = {(int(r), float(s)) for s, r in zip(*one, strict=True)}
        assert {(int(order[r]), float(s)) for s, r in zip(*other, strict=True)} == exact
        if row % 30 == 0:
            (alone,) = DenseIndex(vectors, similarity).search(queries[row : row + 1], 10)
            assert {(int(r), float(s)) for s, r in zip(*alone, strict=True)} == exact


def test_equal_vectors_score_the_same_bits() -> None:
    generator = np.random.default_rng(4)
    vectors = np.tile(generator.normal(size=(1, 101)), (203, 1)).astype(np.float32)
    for found in DenseIndex(vectors, "dot").search(generator.normal(size=(5, 101)).astype(np.float32), 1):
        assert len(found.rows) == 203 and len(set(found.scores.tolist())) == 1


def test_cosine_takes_no_notice_of_a_querys_length_and_dot_does() -> None:
    vectors = normalised(np.array([[1, 0], [1, 1], [0, 1]], np.float32))
    for length in (1e-3, 1.0, 1e3):
        query = np.array([[2.0, 1.0]], np.float32) * np.float32(length)
        (cosine,) = DenseIndex(vectors, "cosine").search(query, 3)
        root = math.sqrt(5)
        np.testing.assert_allclose(cosine.scores, [3 / math.sqrt(10), 2 / root, 1 / root], rtol=1e-6)
        assert cosine.rows.tolist() == [1, 0, 2]
        (dot,) = DenseIndex(vectors, "dot").search(query, 3)
        np.testing.assert_allclose(dot.scores, np.array([3 / math.sqrt(2), 2, 1]) * length, rtol=1e-6)


def test_a_zero_vector_under_cosine_scores_zero() -> None:
    vectors = normalised(np.array([[0, 0], [3, 4], [-3, -4]], np.float32))
    assert (vectors[0] == 0).all() and np.isfinite(vectors).all()
    found, of_zero = DenseIndex(vectors, "cosine").search(np.array([[3, 4], [0, 0]], np.float32), 3)
    assert found.rows.tolist() == [1, 0, 2] and found.scores.tolist() == pytest.approx([1.0, 0.0, -1.0])
    assert sorted(of_zero.rows.tolist()) == [0, 1, 2] and of_zero.scores.tolist() == [0.0, 0.0, 0.0]


def test_no_queries_and_one_row() -> None:
    index = DenseIndex(np.ones((1, 3), np.float32), "dot")
    assert index.search(np.empty((0, 3), np.float32), 5) == []
    (found,) = index.search(np.full((1, 3), 2, np.float32), 5)
    assert found.scores.tolist() == [6.0] and found.rows.tolist() == [0]


def test_vectors_of_another_length_are_refused() -> None:
    index = DenseIndex(np.ones((4, 3), np.float32), "cosine")
    with pytest.raises(IndexMismatch) as caught:
        index.search(np.ones((1, 4), np.float32), 1)
    wanted = "the query vectors have 4 dimensions, those of the index 3: another model made it"
    assert str(caught.value) == wanted


# --- writing and reading


def written(folder: Path, vectors: FloatArray, sizes: list[int], similarity: Similarity) -> bytes:
    folder.mkdir(exist_ok=True)
    writer, start = VectorWriter(folder, vectors.shape[1], similarity), 0
    for size in sizes:
        chunk = vectors[start : start + size]
        writer.append(chunk, [f"d{n}" for n in range(start, start + len(chunk))], "tiny")
        start += size
    writer.close()
    assert start >= len(vectors)
    return (folder / VECTORS).read_bytes()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_chunks_of_any_size_make_the_same_file(tmp_path: Path, similarity: Similarity) -> None:
    vectors = np.random.default_rng(0).normal(size=(1234, 6)).astype(np.float32)
    wanted = normalised(vectors) if similarity == "cosine" else vectors
    files = [written(tmp_path, vectors, sizes, similarity) for sizes in ([1234], [1] * 1234, [9, 1, 0, 90, 1000, 200])]
    assert files[0] == files[1] == files[2]
    loaded: npt.NDArray[Any] = np.load(tmp_path / VECTORS, allow_pickle=False)
    assert loaded.dtype == np.float32 and loaded.flags.c_contiguous and (loaded == wanted).all()
    opened = DenseIndex.open(tmp_path, similarity)
    assert isinstance(opened.vectors, np.memmap) and not opened.vectors.flags.writeable
    in_memory = DenseIndex(wanted, similarity)
    for one, other in zip(opened.search(vectors[:9], 7), in_memory.search(vectors[:9], 7), strict=True):
        assert one.rows.tolist() == other.rows.tolist() and (one.scores == other.scores).all()


def test_other_layouts_in_memory_make_the_same_file(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    wanted = written(tmp_path, vectors, [10], "dot")
    for other in (np.asfortranarray(vectors), vectors.astype(np.float64), vectors.astype(">f4"), vectors[:, ::1]):
        assert written(tmp_path, other, [3, 7], "dot") == wanted


def test_vectors_that_are_not_what_was_announced_are_refused(tmp_path: Path) -> None:
    writer = VectorWriter(tmp_path, 3, "dot")
    writer.append(np.ones((1, 3), np.float32), ["first"], "tiny")
    for shape, count in (((2, 4), 2), ((2, 3), 1), ((1, 3), 2), ((3,), 3)):
        with pytest.raises(DataError) as caught:
            writer.append(np.ones(shape, np.float32), ["x"] * count, "tiny")
        assert str(caught.value) == f"model tiny gives vectors of shape {shape}, wanted ({count}, 3)"
    bad = np.ones((6, 3), np.float32)
    bad[[1, 2, 4, 5], [0, 1, 2, 0]] = [np.nan, np.inf, -np.inf, np.nan]
    with pytest.raises(DataError) as caught:
        writer.append(bad, list("abcdef"), "tiny")
    wanted = "model tiny gives NaN or infinite vectors for 4 of 6 texts: 'b', 'c', 'e'"
    assert str(caught.value) == wanted
    writer.close()
    assert np.load(tmp_path / VECTORS, allow_pickle=False).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("content", [np.ones(3, np.float32), np.ones((2, 2), np.float64), np.ones((2, 2), np.int32)])
def test_another_array_is_refused(tmp_path: Path, content: npt.NDArray[Any]) -> None:
    np.save(tmp_path / VECTORS, content)
    with pytest.raises(DataError) as caught:
        DenseIndex.open(tmp_path, "dot")
    assert str(caught.value) == f"{tmp_path / VECTORS}: wanted a float32 matrix; build the index again"


def test_each_damaged_byte_of_the_header_is_a_data_error_or_still_a_matrix(tmp_path: Path) -> None:
    content = written(tmp_path, np.ones((5, 4), np.float32), [5], "dot")
    refused = 0
    for position in range(128):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            (tmp_path / VECTORS).write_bytes(damaged)
            try:
                assert DenseIndex.open(tmp_path, "dot").vectors.ndim == 2
            except DataError as error:
                assert str(error).startswith(f"{tmp_path / VECTORS}: ")
                refused += 1
    assert refused > 400
