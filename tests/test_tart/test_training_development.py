"""The development search: figures that follow from the toy world's making, and tasks that share texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tart.collection import Document, Query
from tart.errors import ConfigError, DataError
from tart.example import Negative, NegativeKind, TrainingExample
from tart.instruction import Instruction
from tart.manifest import write_manifest
from tart.shards import KIND, Collection, write_examples
from tart.testing import KeywordEncoder, KeywordReranker
from tart.training.development import DevelopmentSearch, ndcg
from tart.training.settings import CONDITIONS, MEASURES
from tart.training.toy import toy_words, write_toy_world


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return write_toy_world(tmp_path_factory.mktemp("toy") / "world", train=30, dev=12)


WORDS = {
    "code": "def return",
    "title": "towards notes",
    "answer": "because you",
    "question": "how why",
    "table": "column row",
    "story": "once was",
    "law": "shall court",
    "recipe": "stir bake",
}


class Listener(KeywordEncoder):
    """Knows which documents' words each instruction asks for."""

    def encode_queries(self, queries: object) -> np.ndarray:
        vectors = super().encode_queries(queries)  # type: ignore[arg-type]
        for row, query in enumerate(queries):  # type: ignore[call-overload]
            if query.instruction:
                wanted = WORDS[query.instruction.unit].split()
                vectors[row, [self.keywords.index(word) for word in wanted]] += 1
        return vectors


def test_the_toy_world_is_the_same_again_and_its_examples_are_whole(toy: Collection, tmp_path: Path) -> None:
    again = write_toy_world(tmp_path / "again", train=30, dev=12)
    assert again.manifest["sha256"] == toy.manifest["sha256"]
    assert write_toy_world(tmp_path / "other", train=30, dev=12, seed=1).manifest["sha256"] != again.manifest["sha256"]
    examples = [one for task in toy.tasks for one in toy.examples("train", task)]
    assert len(examples) == 8 * 30 and len({one.group for one in examples}) == 30
    for one in examples:
        kinds = [negative.kind for negative in one.negatives]
        assert kinds == [NegativeKind.HARD] * 3 + [NegativeKind.UNFOLLOWING] * 7 + [NegativeKind.RANDOM]
        for document in (one.positives[0], *(negative.document for negative in one.negatives)):
            assert set(document.text.split()) <= set(toy_words())
    wishes = {word for facts in toy.tasks.values() for text in _wordings(facts) for word in text.split()}
    assert not wishes & {word for one in examples for word in one.positives[0].text.split()}
    assert not {one.group for one in examples} & {one.group for task in toy.tasks for one in toy.examples("dev", task)}


def test_an_encoder_that_hears_only_the_query_finds_all_kinds_alike(toy: Collection) -> None:
    """Its query's words are in eight documents of the pool, ordered by row: an eighth is right."""
    content = [word for word in toy_words() if word not in " ".join(_said(toy))]
    search = DevelopmentSearch(toy)
    assert len(search.queries) == 96 and len(search.documents) == 96
    found = search.evaluate(KeywordEncoder(content))
    assert set(found) == set(MEASURES)
    gains = [1 / np.log2(place + 2) for place in range(8)]
    assert found["closed_own"] == pytest.approx(1.0)
    for condition in CONDITIONS:
        assert found[f"pooled_{condition}"] == pytest.approx(np.mean(gains), abs=1e-6)
        assert found[f"closed_{condition}"] == pytest.approx(1.0)
        assert 0.8 < found[f"wrong_{condition}"] < 0.9


def test_an_encoder_that_listens_goes_where_it_is_sent(toy: Collection) -> None:
    found = DevelopmentSearch(toy).evaluate(Listener(toy_words()))
    assert found["pooled_own"] == pytest.approx(found["pooled_held_out"])
    assert found["pooled_own"] > 0.9 > 0.66 > found["pooled_plain"] > found["pooled_other"]
    assert found["wrong_own"] < 0.75 < found["wrong_other"]


def test_every_text_is_encoded_once(toy: Collection) -> None:
    seen: list[str] = []

    class Counting(KeywordEncoder):
        def encode_documents(self, documents: object) -> np.ndarray:
            seen.extend(one.text for one in documents)  # type: ignore[attr-defined]
            return super().encode_documents(documents)  # type: ignore[arg-type]

    DevelopmentSearch(toy).evaluate(Counting(toy_words()))
    assert seen and len(seen) == len(set(seen))


def test_the_choice_keeps_families_whole_and_siblings_on_the_same_queries(toy: Collection) -> None:
    search = DevelopmentSearch(toy, tasks=2, queries=5)
    assert len(search.tasks) == 2
    texts = [{one.text for one in search.queries if one.task == task} for task in search.tasks]
    assert texts[0] == texts[1] and len(texts[0]) == 5
    assert [one.text for one in search.asked("plain")] == [one.text for one in search.asked("own")]
    assert {one.text for one in search.queries} == {
        one.text for one in DevelopmentSearch(toy, tasks=2, queries=5).queries
    }


def test_instructions_come_from_where_the_condition_says(toy: Collection) -> None:
    search = DevelopmentSearch(toy)
    for condition in CONDITIONS:
        for one, query in zip(search.queries, search.asked(condition), strict=True):
            facts, wish = toy.tasks[one.task], query.instruction
            if condition == "plain":
                assert wish is None
                continue
            assert wish is not None
            assert (wish.text in facts["wordings"]) is (condition == "own")
            assert (wish.text in facts["held_out_wordings"]) is (condition == "held_out")
    with pytest.raises(ConfigError, match="unknown condition 'owns'; there are own"):
        search.asked("owns")


def test_a_level_without_examples_is_an_error(toy: Collection) -> None:
    with pytest.raises(DataError, match="no development example of level held-out-family"):
        DevelopmentSearch(toy, levels=("held-out-family",))


def _wordings(facts: dict[str, Any]) -> list[str]:
    return [*facts["wordings"], *facts["held_out_wordings"]]


def _said(toy: Collection) -> list[str]:
    texts = [text for facts in toy.tasks.values() for text in _wordings(facts)]
    documents = [
        word
        for task in toy.tasks
        for one in toy.examples("dev", task)
        for word in one.positives[0].text.split()
        if word not in one.query.text.split()
    ]
    return [*texts, *documents]


def shared_texts(folder: Path) -> Collection:
    """Two compatible tasks and one other; the same text is right in one and an unfollowing negative in another."""
    wish = Instruction("find it")
    answers = {"any": "alpha beta", "short": "alpha", "code": "def alpha"}
    wrong = {"any": "code", "short": "code", "code": "short"}
    facts = {"wordings": ["find it"], "held_out_wordings": [], "intent": "", "domain": "", "unit": ""}
    tasks = {}
    for task, answer in answers.items():
        negatives = (
            Negative(Document("n", answers[wrong[task]]), NegativeKind.UNFOLLOWING, "sibling"),
            Negative(Document("q", "alpha?"), NegativeKind.UNFOLLOWING, "query"),
            Negative(Document("h", f"{task} hard"), NegativeKind.HARD, "given"),
        )
        query = Query(f"{task}:1", "alpha?", wish)
        example = TrainingExample(f"{task}:1", task, query, (Document("p", answer),), negatives, "group")
        write_examples(folder / "dev" / f"{task}.parquet", [example])
        compatible = {"any": ["short"], "short": [], "code": []}[task]
        tasks[task] = {**facts, "compatible": compatible, "family": "f", "level": "train", "examples": {"dev": 1}}
    write_manifest(folder, KIND, {"tasks": tasks})
    return Collection(folder)


def test_one_text_in_several_tasks_is_one_document_with_a_meaning_in_each(tmp_path: Path) -> None:
    search = DevelopmentSearch(shared_texts(tmp_path))
    texts = [document.text for document in search.documents]
    assert sorted(texts) == sorted(["alpha beta", "alpha", "def alpha", "any hard", "short hard", "code hard"])
    right = {one.task: {texts[row] for row in one.right} for one in search.queries}
    assert right == {"any": {"alpha beta", "alpha"}, "short": {"alpha"}, "code": {"def alpha"}}
    found = search.evaluate(KeywordEncoder(["alpha"]))
    # "any" accepts what "short" wants: of the six texts four are of its kind, for the others two of six.
    assert found["wrong_plain"] == pytest.approx((2 / 6 + 4 / 6 + 4 / 6) / 3)


def test_a_reranker_orders_the_same_candidates_under_every_condition(toy: Collection) -> None:
    content = [word for word in toy_words() if word not in " ".join(_said(toy))]
    search = DevelopmentSearch(toy, queries=6)
    candidates = search.candidates(KeywordEncoder(content), depth=10)
    assert {len(rows) for rows in candidates.pooled} == {10} and min(map(len, candidates.closed)) >= 6

    class ByKind(KeywordReranker):
        def score(self, pairs: object) -> np.ndarray:
            shared = super().score(pairs)  # type: ignore[arg-type]
            for row, (query, document) in enumerate(pairs):  # type: ignore[call-overload]
                unit = query.instruction.unit if query.instruction else ""
                shared[row] += 0.5 * any(
                    document.text == positive.text
                    for task in toy.tasks
                    if toy.tasks[task]["unit"] == unit
                    for one in toy.examples("dev", task)
                    for positive in one.positives
                )
            return shared

    found = search.evaluate_reranker(ByKind(), candidates)
    assert set(found) == set(MEASURES)
    assert found["pooled_own"] == pytest.approx(1.0) and found["pooled_held_out"] == pytest.approx(1.0)
    assert found["pooled_other"] < found["pooled_plain"] < 0.8
    assert found["closed_own"] == pytest.approx(1.0)


def test_ndcg_is_the_formula() -> None:
    ranked = [np.array([3, 5, 9]), np.array([2]), np.array([8, 1])]
    right = [frozenset({5, 9}), frozenset({2}), frozenset({7})]
    ideal = 1 + 1 / np.log2(3)
    first = (1 / np.log2(3) + 1 / np.log2(4)) / ideal
    assert ndcg(ranked, right) == pytest.approx((first + 1 + 0) / 3)
