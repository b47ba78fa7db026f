"""tart tune: recall is counted right, the cheapest setting that reaches it is saved, a kill leaves the old one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import tart
from tart.errors import ConfigError, DataError, StorageError
from tart.index import tune as tuning
from tart.index.approximate import Setting
from tart.index.build import KIND
from tart.index.dense import DenseIndex, normalised
from tart.index.tune import Asked, Trial, choose, default_factories, held_out, measure, save_setting
from tart.manifest import read_manifest, verify_parts
from tart.retrieval.protocols import FloatArray, Scored
from tart.testing import KeywordEncoder

WORDS = [f"w{number}" for number in range(12)]


def trial(factory: str, recall: float, p50: float, mebibytes: float = 1.0) -> Trial:
    return Trial(Setting(factory), recall, p50, 2 * p50, mebibytes, 0.0)


EXACT = Trial(None, 1.0, 50.0, 60.0, 100.0, 0.0)


def test_the_fastest_setting_that_reaches_the_recall_is_chosen_then_the_smallest() -> None:
    fast, fitting = trial("fast", 0.80, 1.0), trial("fitting", 0.95, 3.0, 9.0)
    smaller, slow = trial("smaller", 0.96, 3.0, 8.0), trial("slow", 0.99, 9.0)
    trials = [EXACT, fast, fitting, smaller, slow]
    assert choose(trials, 0.95) is smaller and choose(trials, 0.8) is fast and choose(trials, 0.97) is slow
    assert choose(trials, 1.0) is EXACT and choose([EXACT, trial("dear", 1.0, 70.0)], 0.5) is EXACT
    with pytest.raises(ConfigError, match=r"no setting reaches a recall of 0.99; the best is fitting .* with 0.950"):
        choose([fast, fitting], 0.99)


class Fixed:
    """Finds the rows that it was told to find, for one query after the other."""

    def __init__(self, exact: DenseIndex, rows: list[list[int]]) -> None:
        self.exact, self.rows = exact, iter(rows)

    def search(self, queries: FloatArray, k: int) -> list[Scored]:
        return self.exact.scored(queries, np.asarray([next(self.rows)]))


def test_recall_is_the_share_of_the_best_that_was_found_and_ties_are_as_good() -> None:
    vectors = np.float32([[0.9], [0.8], [0.8], [0.8], [0.1], [0.0]])
    exact, queries = DenseIndex(vectors, "dot"), np.float32([[1.0]] * 4)
    wanted = exact.search(queries, 3)  # two of the best two, where three tie for the second place
    fixed = Fixed(exact, [[0, 1], [0, 3], [0, 4], [4, 5]])
    recall, p50, p99 = measure(fixed, Asked(queries, np.full(4, -1), ""), wanted, 2)  # type: ignore[arg-type]
    assert recall == pytest.approx((1 + 1 + 0.5 + 0) / 4) and 0 < p50 <= p99


def test_a_document_that_asks_does_not_find_itself() -> None:
    vectors = normalised(np.float32([[1, 0], [1, 0.1], [1, 0.3], [0, 1]]))
    exact = DenseIndex(vectors, "cosine")
    asked = Asked(vectors[:1], np.array([0]), "")
    wanted = exact.search(asked.queries, 3)
    for rows, share in (([0, 1, 2], 1.0), ([0, 1, 3], 0.5), ([0, 3], 0.0)):
        assert measure(Fixed(exact, [rows]), asked, wanted, 2)[0] == share  # type: ignore[arg-type]
    sample = held_out(DenseIndex(np.eye(10, dtype=np.float32), "dot"), 4)
    assert sample.own.tolist() == [0, 3, 6, 9] and (sample.queries.argmax(axis=1) == sample.own).all()


def test_what_is_tried_suits_the_size() -> None:
    assert default_factories(1_000_000, 384) == ["IVF2048,SQ8", "IVF2048,PQ96x4fs"]
    assert default_factories(10_000, 384) == ["IVF256,SQ8", "IVF256,PQ96x4fs", "HNSW32_SQ8"]
    assert default_factories(10_000, 50) == ["IVF256,SQ8", "HNSW32_SQ8"]
    assert default_factories(3, 4) == ["HNSW32_SQ8"]


# --- on an index folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, size=5)) for _ in range(600)]
    tart.Searcher.build(texts, KeywordEncoder(WORDS), tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def slow_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact search takes a minute by the clock that counts, so that it isn't the fastest of a tiny index."""
    real = tuning.measure

    def measured(search: object, *rest: object) -> tuple[float, float, float]:
        recall, p50, p99 = real(search, *rest)  # type: ignore[arg-type]
        return (recall, 60_000.0, 60_000.0) if isinstance(search, DenseIndex) else (recall, p50, p99)

    monkeypatch.setattr(tuning, "measure", measured)


QUERIES = [tart.Query(f"q{n}", f"w{n} w{(n * 5 + 1) % 12}", tart.Instruction("w3 please")) for n in range(12)]


def test_the_chosen_setting_is_saved_shown_and_used(folder: Path, slow_exact: None) -> None:
    encoder = KeywordEncoder(WORDS)
    tuned = tart.tune(folder, QUERIES, recall=0.9, factories=["IVF8,SQ8", "HNSW16"], encoder=encoder)
    assert tuned.trials[0].setting is None and tuned.source == "12 queries"
    assert tuned.chosen is choose(tuned.trials, 0.9) and tuned.chosen.recall >= 0.9
    manifest = read_manifest(folder, KIND)
    verify_parts(folder, manifest)
    facts = manifest["approximate"]
    assert Setting(**facts["setting"]) == tuned.chosen.setting and facts["file"] in manifest["parts"]
    assert facts["recall@10"] == tuned.chosen.recall and facts["measured_on"] == "12 queries"
    searcher = tart.Searcher.open(folder, encoder)
    assert searcher.dense.approximate is not None and searcher.dense.approximate.setting == tuned.chosen.setting
    run, exact = (searcher.retrieve(QUERIES, 10, exact=one) for one in (False, True))
    good = [
        np.mean([hit.score >= exact[query_id][-1].score for hit in hits]) for query_id, hits in run.items()
    ]  # the recall that was promised, once more
    assert np.mean(good) == pytest.approx(tuned.chosen.recall)


def test_exact_compares_with_every_vector(folder: Path, slow_exact: None) -> None:
    encoder = KeywordEncoder(WORDS)
    before = tart.Searcher.open(folder, encoder).retrieve(QUERIES, 10)
    tart.tune(folder, recall=0.1, factories=["IVF16,SQ8"])
    searcher = tart.Searcher.open(folder, encoder)
    assert searcher.dense.approximate is not None
    assert searcher.retrieve(QUERIES, 10, exact=True) == before
    asked = QUERIES[1]
    found = searcher.search(asked.text, asked.instruction, exact=True)
    assert [(hit.doc_id, hit.score) for hit in found] == [(hit.doc_id, hit.score) for hit in before["q1"]]
    with pytest.raises(ConfigError, match="exact is about vectors, and mode 'sparse' uses none"):
        searcher.search("w1", mode="sparse", exact=True)


def test_tuning_again_replaces_the_setting_and_exact_takes_it_away(folder: Path, slow_exact: None) -> None:
    names = {path.name for path in folder.iterdir()}
    for factory in ("IVF8,SQ8", "HNSW16_SQ8"):
        tart.tune(folder, recall=0.3, factories=[factory])
        manifest = read_manifest(folder, KIND)
        added = {path.name for path in folder.iterdir()} - names
        assert added == {manifest["approximate"]["file"]} and manifest["approximate"]["setting"]["factory"] == factory
        verify_parts(folder, manifest)
    save_setting(folder, read_manifest(folder, KIND), EXACT, None, {})
    manifest = read_manifest(folder, KIND)
    assert "approximate" not in manifest and {path.name for path in folder.iterdir()} == names
    verify_parts(folder, manifest)


def test_a_kill_before_the_manifest_leaves_the_old_setting(
    folder: Path, slow_exact: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tart.tune(folder, recall=0.3, factories=["IVF8,SQ8"])
    before = read_manifest(folder, KIND)
    real = tuning.replace_manifest

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "replace_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        tart.tune(folder, recall=0.3, factories=["HNSW16"])
    assert read_manifest(folder, KIND) == before
    verify_parts(folder, before)
    assert len(list(folder.glob("approximate-*"))) == 2  # the old one, and the rest of the killed one
    assert tart.Searcher.open(folder, KeywordEncoder(WORDS)).dense.approximate is not None
    monkeypatch.setattr(tuning, "replace_manifest", real)
    tart.tune(folder, recall=0.3, factories=["HNSW16"])
    assert len(list(folder.glob("approximate-*"))) == 1


def test_an_index_that_was_built_anew_meanwhile_keeps_what_it_is(folder: Path) -> None:
    old = read_manifest(folder, KIND)
    tart.Searcher.build(["w1", "w2"], KeywordEncoder(WORDS), folder, overwrite=True)
    with pytest.raises(StorageError, match="was changed while settings were measured; run `tart tune` again"):
        save_setting(folder, old, EXACT, None, {})


def test_a_damaged_file_of_the_setting_is_refused(folder: Path, slow_exact: None) -> None:
    tart.tune(folder, recall=0.3, factories=["IVF8,SQ8"])
    (path,) = folder.glob("approximate-*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"approximate-.*faiss: damaged: its sha256 is not the manifest's"):
        tart.Searcher.open(folder, KeywordEncoder(WORDS))
    path.unlink()
    with pytest.raises(DataError, match=r"approximate-.*faiss: damaged: is missing"):
        tart.Searcher.open(folder, KeywordEncoder(WORDS))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"recall": 0}, "recall must be above 0 and at most 1, got 0"),
        ({"recall": 1.01}, "recall must be above 0 and at most 1, got 1.01"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"factories": ["IVF8,SQ8", "nonsense"]}, "'nonsense' is no index for 12 dimensions"),
        ({"queries": [], "encoder": KeywordEncoder(WORDS)}, "there is no query to tune with"),
    ],
)
def test_wrong_calls_are_told(folder: Path, options: dict[str, object], problem: str) -> None:
    before = read_manifest(folder, KIND)
    with pytest.raises(ConfigError) as caught:
        tart.tune(folder, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(problem) and read_manifest(folder, KIND) == before


def test_a_single_document_and_few_of_them_can_be_tuned(tmp_path: Path) -> None:
    for number, texts in enumerate((["w1"], ["w1", "w2", "w1 w3"])):
        tart.Searcher.build(texts, KeywordEncoder(WORDS), tmp_path / str(number))
        assert tart.tune(tmp_path / str(number), factories=["HNSW8"]).chosen.recall == 1.0


def test_the_picture_and_the_table(
    folder: Path, slow_exact: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = tart.tune(folder, recall=0.3, factories=["IVF8,SQ8"])
    assert tuned.table().row_count == len(tuned.trials) > 1
    tuned.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"picture\.nonsense: "):
        tuned.plot(tmp_path / "picture.nonsense")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError) as caught:
        tuned.plot(tmp_path / "other.png")
    assert str(caught.value) == "a plot needs matplotlib: pip install 'tart-retrieval[train]'"
