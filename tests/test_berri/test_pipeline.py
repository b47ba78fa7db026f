from __future__ import annotations

import json
import logging
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from berri.against import folders_and_names
from berri.card import TaskCard, load_cards
from berri.denoise import denoise
from berri.draft import normalised
from berri.pipeline import collect
from berri.settings import Settings
from berri.stats import collection_stats
from tart.collection import Document, Query
from tart.errors import ConfigError, DataError, StorageError
from tart.example import NegativeKind
from tart.files import sha256_file
from tart.models.summed import SummedReranker
from tart.retrieval.protocols import FloatArray
from tart.shards import SPLITS, Collection
from tart.testing import KeywordEncoder, KeywordReranker


def settings(mirror: Path, **more: object) -> Settings:
    return Settings(mirror=mirror, download=False, model=None, dev_share=0.2, **more)  # type: ignore[arg-type]


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def everything(collection: Collection) -> list:  # type: ignore[type-arg]
    return [
        (split, example)
        for split in SPLITS
        for task in collection.tasks
        for example in collection.examples(split, task)
    ]


@pytest.fixture
def collection(tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]) -> Collection:
    return collect(tmp_path / "out", settings(mirror), cards=cards)


def test_every_record_becomes_an_example_of_each_of_its_tasks(collection: Collection) -> None:
    examples = everything(collection)
    assert len(examples) == 40 + 40 + 20
    assert collection.manifest["examples"] == {split: sum(one == split for one, _ in examples) for split in SPLITS}


def test_an_example_has_a_training_wording_of_its_task_never_a_held_out_one(
    collection: Collection, cards: dict[str, TaskCard]
) -> None:
    drawn = set()
    for _, example in everything(collection):
        wordings = {one.text for one in cards[example.task].wordings if not one.held_out}
        assert example.query.instruction.text in wordings
        assert example.query.instruction.unit == cards[example.task].unit
        drawn.add(example.query.instruction.text)
    assert len(drawn) > 10  # of 18: one for each example, not one for all


def test_a_sibling_query_gets_the_other_tasks_document_as_unfollowing_negative(collection: Collection) -> None:
    example = next(collection.examples("train", "papers-abstract-to-title"))
    siblings = [one for one in example.negatives if one.origin == "sibling"]
    title = example.positives[0].text
    verb, topic = title.split()[2:]
    assert [one.document.text for one in siblings] == [f"Engineers can {verb} {topic} cheaply."]
    assert siblings[0].kind is NegativeKind.UNFOLLOWING


def test_every_paper_gives_a_twin(collection: Collection) -> None:
    assert collection_stats(collection)["twins"] == {"paper": 40}


def test_other_tasks_negatives_come_from_sources_with_another_intent_and_unit(collection: Collection) -> None:
    found = [
        one.document.text
        for _, example in everything(collection)
        if example.task.startswith("papers")
        for one in example.negatives
        if one.origin == "other-task"
    ]
    assert found
    assert all(text.startswith("Boil the") for text in found)


def test_no_negative_is_right_and_no_text_comes_twice(collection: Collection) -> None:
    for _, example in everything(collection):
        texts = [normalised(one.document.text) for one in example.negatives]
        assert len(set(texts)) == len(texts)
        assert not set(texts) & {normalised(one.text) for one in example.positives}


def test_no_query_stands_on_both_sides(collection: Collection) -> None:
    sides: dict[str, set[str]] = {}
    for split, example in everything(collection):
        sides.setdefault(example.group, set()).add(split)
    assert {len(found) for found in sides.values()} == {1}
    assert {next(iter(found)) for found in sides.values()} == {"train", "dev"}


def test_the_same_seed_and_inputs_give_the_same_bytes(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard], collection: Collection
) -> None:
    other = collect(tmp_path / "again" / "out", settings(mirror, workers=2), cards=cards)
    assert hashes(other.folder) == hashes(collection.folder)


def test_another_seed_gives_other_examples(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard], collection: Collection
) -> None:
    other = collect(tmp_path / "other", settings(mirror, seed=2), cards=cards)
    assert hashes(other.folder) != hashes(collection.folder)


def test_a_finished_collection_is_not_made_again_and_other_settings_are_refused(
    mirror: Path, cards: dict[str, TaskCard], collection: Collection
) -> None:
    before = (collection.folder / "manifest.json").stat().st_mtime_ns
    collect(collection.folder, settings(mirror), cards=cards)
    assert (collection.folder / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(StorageError, match="made with other settings"):
        collect(collection.folder, settings(mirror, seed=9), cards=cards)


def test_the_cap_takes_the_same_first_examples_whatever_its_size(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]
) -> None:
    few = collect(tmp_path / "few", settings(mirror, per_task=5), cards=cards)
    more = collect(tmp_path / "more", settings(mirror, per_task=10), cards=cards)
    for task in cards:
        ids = [{e.example_id for split in SPLITS for e in one.examples(split, task)} for one in (few, more)]
        assert len(ids[0]) == 5
        assert ids[0] < ids[1]


def test_records_that_meet_a_test_collection_are_taken_out_and_named(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]
) -> None:
    test = tmp_path / "tests" / "made-up"
    test.mkdir(parents=True)
    planted = "STUDY 3 explains how engineers restore glaciers in cold regions with care!"
    (test / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": planted}) + "\n")
    (test / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "title": "Rice with kale", "text": "x"}) + "\n")
    made = collect(tmp_path / "clean", settings(mirror, against=(tmp_path / "tests",)), cards=cards)
    texts = {
        text
        for _, e in everything(made)
        for text in (e.query.text, *(one.text for one in e.positives), *(one.document.text for one in e.negatives))
    }
    assert not any("restore glaciers" in text or text == "rice with kale" for text in texts)
    removed = [json.loads(line) for line in (made.folder / "removed.jsonl").read_text().splitlines()]
    named = {(one["field"], one["how"], one["collection"], one["text_id"]) for one in removed}
    assert ("dish", "equal", "made-up", "d1") in named
    assert ("abstract", "equal", "made-up", "q1") in named
    assert made.manifest["removed"]["by_collection"] == {"made-up": len(removed)}
    assert made.manifest["compared"] == {"made-up": 3}
    assert f"| made-up | 3 | {len(removed)} |" in (made.folder / "README.md").read_text()


def test_a_test_collection_that_comes_later_is_compared_too(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]
) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "rice with kale"}) + "\n")
    wanted = settings(mirror, against=(folder,))
    collect(tmp_path / "out", wanted, cards=cards)
    collect(tmp_path / "out", wanted, cards=cards)
    (folder / "more").mkdir()
    (folder / "more" / "queries.jsonl").write_text(json.dumps({"_id": "q2", "text": "rice with peas"}) + "\n")
    with pytest.raises(StorageError, match="kept apart from other texts"):
        collect(tmp_path / "out", wanted, cards=cards)
    made = collect(tmp_path / "out", wanted, cards=cards, overwrite=True)
    assert made.manifest["compared"] == {"more": 1, "tests": 1}
    assert made.manifest["removed"]["by_collection"] == {"more": 1, "tests": 1}


class ByText:
    """A reranker that scores a document by its beginning."""

    name, text_format = "by-text", KeywordReranker.text_format

    def __init__(self, recipes: float, others: float) -> None:
        self.recipes, self.others = recipes, others

    def score(self, pairs: Sequence[tuple[Query, Document]]) -> FloatArray:
        scores = [self.recipes if document.text.startswith("Boil") else self.others for _, document in pairs]
        return np.asarray(scores, dtype=np.float32)


@pytest.mark.parametrize(
    ("others", "recipes_kept"),
    [(0.01, True), (-5.0, False)],  # 0.05 is improbable as a probability, and even as a logit
)
def test_whether_a_reranker_gives_logits_is_decided_by_all_its_scores(
    tmp_path: Path,
    mirror: Path,
    cards: dict[str, TaskCard],
    monkeypatch: pytest.MonkeyPatch,
    others: float,
    recipes_kept: bool,
) -> None:
    monkeypatch.setattr("berri.denoise.load_reranker", lambda name, backend: ByText(0.05, others))
    made = collect(tmp_path / "out", settings(mirror, reranker="by-text"), cards=cards)
    hard = {
        example.task
        for _, example in everything(made)
        if any(one.kind is NegativeKind.HARD for one in example.negatives)
    }
    assert ("recipes-dish" in hard) == recipes_kept
    assert "papers-abstract-to-title" in hard


def test_candidates_are_kept_made_positive_or_dropped_by_their_probability() -> None:
    row = {"hard": [["a", "bm25", 3.0], ["b", "bm25", 1.0], ["c", "bm25", -3.0]]}
    counts: Counter[str] = Counter()
    (judged,) = denoise([row], True, counts)
    assert judged["positives"] == ["a"]
    assert judged["hard"] == [["c", "bm25", pytest.approx(1 / (1 + np.exp(3)))]]
    assert set(counts.values()) == {1} and len(counts) == 3


def test_a_reranker_that_adds_to_a_bi_encoders_score_is_refused_before_anything_is_read(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    summed = SummedReranker(KeywordReranker(), "keywords", 80.0, lambda: KeywordEncoder(["rice"]))
    monkeypatch.setattr("berri.denoise.load_reranker", lambda name, backend: summed)
    with pytest.raises(ConfigError, match="'mini' adds to the score of 'keywords', so it can't judge; wanted"):
        collect(tmp_path / "new" / "out", settings(mirror, reranker="mini"), cards=cards)
    assert not (tmp_path / "new").exists()


def test_a_source_whose_files_are_missing_is_listed_and_the_rest_is_built(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard], caplog: pytest.LogCaptureFixture
) -> None:
    (mirror / "recipes" / "rows.jsonl").unlink()
    made = collect(tmp_path / "part", settings(mirror), cards=cards)
    assert list(made.tasks) == ["papers-abstract-to-gist", "papers-abstract-to-title"]
    assert "no such file" in made.manifest["not_built"]["recipes"]
    assert "recipes" in (made.folder / "README.md").read_text()
    with caplog.at_level(logging.INFO, logger="berri"):
        collect(tmp_path / "part", settings(mirror), cards=cards)
    assert "same settings; 1 sources could not be had then: recipes; --overwrite collects again" in caplog.text


def test_a_flipped_byte_in_a_source_is_refused(tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]) -> None:
    path = mirror / "papers" / "rows.jsonl"
    path.write_bytes(path.read_bytes().replace(b"lakes", b"lakez", 1))
    with pytest.raises(DataError, match=r"papers.rows\.jsonl: has the sha256 [0-9a-f]{64}, the card wants"):
        collect(tmp_path / "bad", settings(mirror), cards=cards)


def test_an_unknown_task_is_refused_with_near_names(tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]) -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'recipe-dish'; did you mean recipes-dish"):
        collect(tmp_path / "none", settings(mirror, tasks=("recipe-dish",)), cards=cards)


CHILD = """
import os, signal, sys
from pathlib import Path
from berri.card import load_cards
from berri.pipeline import collect
from berri.settings import Settings
base, left = Path(sys.argv[1]), [int(sys.argv[2])]
def dying(name):
    real = getattr(os, name)
    def call(*arguments, **named):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    setattr(os, name, call)
dying("fsync")
dying("replace")
dying("rename")
settings = Settings(mirror=base / "mirror", download=False, model=None, dev_share=0.2)
collect(base / "killed" / "out", settings, cards=load_cards(base / "cards"))
"""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard], collection: Collection
) -> None:
    """Killed just before data reach the disk or a file gets its name, at moments that no machine's speed decides."""
    generator = random.Random(7)

    def run(calls: int) -> int:
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(calls)]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    killed = sum(run(generator.randint(1, 8)) == -signal.SIGKILL for _ in range(6))
    assert killed > 1
    assert run(0) == 0
    assert hashes(tmp_path / "killed" / "out") == hashes(collection.folder)


def test_a_task_that_loses_all_its_records_is_listed_and_the_rest_is_built(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]
) -> None:
    test = tmp_path / "tests"
    test.mkdir()
    dishes = [json.loads(line)["dish"] for line in (mirror / "recipes" / "rows.jsonl").read_text().splitlines()]
    rows = [json.dumps({"_id": str(number), "text": dish}) for number, dish in enumerate(dishes)]
    (test / "queries.jsonl").write_text("\n".join(rows) + "\n")
    made = collect(tmp_path / "left", settings(mirror, against=(test,)), cards=cards)
    assert list(made.tasks) == ["papers-abstract-to-gist", "papers-abstract-to-title"]
    assert made.manifest["not_built"] == {"recipes-dish": "no record with its query and document is left"}
    removed = [json.loads(line)["record_id"] for line in (made.folder / "removed.jsonl").read_text().splitlines()]
    assert made.manifest["removed"]["by_source"] == {"recipes": len(dishes)} == {"recipes": len(removed)}


def test_sources_that_are_known_to_share_texts_with_a_named_collection_are_left_out(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]
) -> None:
    path = mirror.parent / "cards" / "recipes.toml"
    path.write_text(path.read_text().replace('domain = "recipes"', 'domain = "recipes"\noverlaps = ["quora"]'))
    (tmp_path / "tests").mkdir()
    folders, names = folders_and_names([str(tmp_path / "tests"), "Quora", "scifact"])
    assert folders == (tmp_path / "tests",) and names == ("quora", "scifact")
    made = collect(tmp_path / "known", settings(mirror, without=names), cards=load_cards(path.parent))
    assert list(made.tasks) == ["papers-abstract-to-gist", "papers-abstract-to-title"]
    assert made.manifest["not_built"] == {"recipes": "shares texts with quora, as its card says"}
    assert "names an overlap with quora, scifact were left out" in (made.folder / "README.md").read_text()
    with pytest.raises(ConfigError, match="'scifakt' is neither a folder nor a known name; known are scifact"):
        folders_and_names(["scifakt"])
