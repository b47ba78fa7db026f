"""Approximate search: candidates from faiss, scores that are the exact ones, no state that a search leaves behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tart.errors import ConfigError, DataError
from tart.index.approximate import ApproximateIndex, Setting, build_approximate, new_index, write_approximate
from tart.index.dense import DenseIndex, normalised
from tart.manifest import read_manifest, write_manifest
from tart.progress import silent
from tart.retrieval.protocols import FloatArray, Scored

DIM, ROWS = 16, 2000
EVERYTHING = [  # settings that look at every row
    Setting("IVF16,Flat", nprobe=16),
    Setting("IVF16,SQ8", oversample=8, nprobe=16),
    Setting("IVF16,PQ8x4fs", oversample=200, nprobe=16),
    Setting("PQ8x4fs", oversample=200),
    Setting("SQ8", oversample=8),
    Setting("HNSW32", ef_search=ROWS),
    Setting("PCA8,IVF16,Flat", oversample=200, nprobe=16),
]


@pytest.fixture(scope="module")
def vectors() -> FloatArray:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((40, DIM))
    rows = centres[generator.integers(40, size=ROWS)] + 0.3 * generator.standard_normal((ROWS, DIM))
    return normalised(np.asarray(rows, dtype=np.float32))


@pytest.fixture(scope="module")
def queries(vectors: FloatArray) -> FloatArray:
    noise = np.random.default_rng(1).standard_normal((60, DIM)).astype(np.float32)
    return np.asarray(vectors[::30][:60] + 0.1 * noise, dtype=np.float32)


def approximate(vectors: FloatArray, setting: Setting) -> ApproximateIndex:
    return ApproximateIndex(build_approximate(vectors, setting.factory), setting, DenseIndex(vectors, "cosine"))


def same(one: list[Scored], other: list[Scored]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a.rows.tolist() == b.rows.tolist() and a.scores.tolist() == b.scores.tolist() for a, b in pairs)


@pytest.mark.parametrize("setting", EVERYTHING, ids=lambda setting: setting.factory)
def test_what_looks_at_everything_finds_what_the_exact_search_finds(
    vectors: FloatArray, queries: FloatArray, setting: Setting
) -> None:
    exact = DenseIndex(vectors, "cosine").search(queries, 10)
    assert same(approximate(vectors, setting).search(queries, 10), exact)


@pytest.mark.parametrize("factory", ["IVF16,SQ8", "HNSW32_SQ8", "PQ8x4fs"])
def test_scores_are_the_exact_ones(vectors: FloatArray, queries: FloatArray, factory: str) -> None:
    index = approximate(vectors, Setting(factory, oversample=2, nprobe=2, ef_search=16))
    for query, found in zip(normalised(queries), index.search(queries, 10), strict=True):
        assert len(found.rows) == len(set(found.rows.tolist())) == 10 and (np.diff(found.scores) <= 0).all()
        exact = vectors[found.rows].astype(np.float64) @ query.astype(np.float64)
        np.testing.assert_allclose(found.scores, exact, rtol=1e-6)


def test_the_effort_goes_along_with_the_call_and_stays_nowhere(vectors: FloatArray, queries: FloatArray) -> None:
    built = build_approximate(vectors, "IVF16,Flat")
    exact, before = DenseIndex(vectors, "cosine"), built.nprobe
    shares = []
    for nprobe in (1, 16, 1):
        found = ApproximateIndex(built, Setting("IVF16,Flat", nprobe=nprobe), exact).search(queries, 10)
        wanted = exact.search(queries, 10)
        shares.append(np.mean([len({*a.rows} & {*b.rows}) / 10 for a, b in zip(found, wanted, strict=True)]))
    assert shares[1] == 1 > shares[0] == shares[2] > 0.3 and built.nprobe == before


@pytest.mark.parametrize("factory", ["IVF16,SQ8", "HNSW32_SQ8", "IVF16,PQ8x4fs", "exact"])
def test_eight_threads_at_once_find_what_one_finds(vectors: FloatArray, queries: FloatArray, factory: str) -> None:
    exact = DenseIndex(vectors, "cosine")
    built = None if factory == "exact" else build_approximate(vectors, factory)
    efforts = [Setting(factory, oversample=3, nprobe=effort, ef_search=10 * effort) for effort in (1, 2, 4, 8)]
    indexes = [exact if built is None else ApproximateIndex(built, setting, exact) for setting in efforts]
    jobs = [(index, row, k) for k in (1, 10) for row in range(len(queries)) for index in indexes]

    def work(job: tuple[DenseIndex | ApproximateIndex, int, int]) -> list[Scored]:
        index, row, k = job
        return index.search(queries[row : row + 1], k)

    alone = [work(job) for job in jobs]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(work, jobs))
    assert len(jobs) == 480 and all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_a_batch_finds_what_single_queries_find(vectors: FloatArray, queries: FloatArray) -> None:
    index = approximate(vectors, Setting("IVF16,SQ8", oversample=2, nprobe=4))
    assert same(index.search(queries, 7), [index.search(query[None], 7)[0] for query in queries])
    assert index.search(queries[:0], 7) == []


def test_where_too_few_are_found_the_exact_search_steps_in(vectors: FloatArray, queries: FloatArray) -> None:
    index = approximate(vectors, Setting("IVF64,Flat", nprobe=1))
    found, exact = index.search(queries, 100), DenseIndex(vectors, "cosine").search(queries, 100)
    assert all(len(one.rows) >= 100 and -1 not in one.rows for one in found)
    assert any(same([a], [b]) for a, b in zip(found, exact, strict=True))
    assert [len(one.rows) for one in index.search(queries, ROWS + 5)] == [ROWS] * len(queries)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("nonsense", "'nonsense' is no index for 16 dimensions ("),
        ("", "'' is no index for 16 dimensions ("),
        ("IVF16,PQ5", "'IVF16,PQ5' is no index for 16 dimensions ("),
        ("IVF-3,Flat", "'IVF-3,Flat' is no index for 16 dimensions ("),
        ("Flat", "'Flat' is the exact search, which every index has; wanted such as"),
        ("IVF16,Flat,RFlat", "'IVF16,Flat,RFlat': leave out IDMap and refinement, both are done here; wanted such as"),
        ("IDMap,SQ8", "'IDMap,SQ8': leave out IDMap and refinement, both are done here; wanted such as"),
    ],
)
def test_a_bad_factory_string_is_told_with_examples(factory: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        new_index(factory, DIM)
    told = str(caught.value)
    assert told.startswith(reason) and "\n" not in told
    assert told.endswith("'IVF1024,SQ8', 'IVF1024,PQ48x4fs', 'HNSW32', 'HNSW32_SQ8'")


def test_an_index_for_more_documents_than_there_are_is_told(vectors: FloatArray) -> None:
    with pytest.raises(
        ConfigError, match=r"'IVF4096,SQ8' can't be learned from 2,000 documents \(.*\); take a smaller"
    ):
        build_approximate(vectors, "IVF4096,SQ8")


@pytest.mark.parametrize("field", ["oversample", "nprobe", "ef_search"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8"])
def test_a_setting_out_of_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Setting("HNSW32", **{field: value})  # type: ignore[arg-type]
    assert str(caught.value) == f"{field} must be a whole number of at least 1, got {value!r}"


# --- saved and opened


@pytest.fixture
def saved(tmp_path: Path, vectors: FloatArray) -> Path:
    write_approximate(build_approximate(vectors, "IVF16,SQ8", silent), tmp_path / "x.faiss")
    setting = {"factory": "IVF16,SQ8", "oversample": 3, "nprobe": 4, "ef_search": None}
    write_manifest(tmp_path, "tart-index/1", {"approximate": {"file": "x.faiss", "setting": setting}})
    return tmp_path


def opened(folder: Path, vectors: FloatArray) -> ApproximateIndex | None:
    return ApproximateIndex.open(folder, read_manifest(folder, "tart-index/1"), DenseIndex(vectors, "cosine"))


def test_saved_and_opened_finds_the_same(saved: Path, vectors: FloatArray, queries: FloatArray) -> None:
    index = opened(saved, vectors)
    setting = Setting("IVF16,SQ8", oversample=3, nprobe=4)
    assert index is not None and index.setting == setting
    assert same(index.search(queries, 10), approximate(vectors, setting).search(queries, 10))


def test_every_flipped_byte_is_refused_before_faiss_reads_it(
    saved: Path, vectors: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faiss.read_index", lambda *_: pytest.fail("faiss read a damaged file"))
    content = (saved / "x.faiss").read_bytes()
    for position in (*range(0, 64, 7), len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (saved / "x.faiss").write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            opened(saved, vectors)
        wanted = "damaged: its sha256 is not the manifest's; run `tart tune` again"
        assert str(caught.value) == f"{saved / 'x.faiss'}: {wanted}"


def test_a_file_that_faiss_cannot_read_is_refused(saved: Path, vectors: FloatArray) -> None:
    (saved / "x.faiss").write_bytes(b"IwSq" + bytes(40))
    facts = {"approximate": {"file": "x.faiss", "setting": {"factory": "IVF16,SQ8"}}}
    write_manifest(saved, "tart-index/1", facts)  # whoever made the folder signs what they like
    with pytest.raises(DataError, match=r"x\.faiss: damaged: faiss can't read it \(.*\); run `tart tune` again"):
        opened(saved, vectors)


def test_a_file_for_other_vectors_is_refused(saved: Path, vectors: FloatArray) -> None:
    for other in (vectors[1:], vectors[:, 1:]):
        with pytest.raises(DataError, match=r"x\.faiss: doesn't fit the vectors of this index; run `tart tune` again"):
            opened(saved, other)
