"""Scores of a teacher: written, read and refused; and the losses that follow them, equal to their formulas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tart.errors import ConfigError, DataError, StorageError
from tart.files import sha256_file
from tart.shards import Collection
from tart.testing import KeywordReranker, tiny_cross_encoder, tiny_sentence_transformer
from tart.training.batch import distinct_documents
from tart.training.distill_loss import kl_distillation, margin_mse
from tart.training.dual import train_dual
from tart.training.examples import Examples, draw
from tart.training.recipe import read_recipe
from tart.training.settings import DataSettings, DualRecipe, LossSettings
from tart.training.teacher import TeacherScores, write_teacher_scores
from tart.training.toy import toy_words, write_toy_world

KilledAt = Callable[[int], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return write_toy_world(tmp_path_factory.mktemp("toy") / "world", train=12, dev=4)


def test_scores_are_those_of_the_reranker_in_the_order_of_the_documents(toy: Collection, tmp_path: Path) -> None:
    done: list[int] = []
    written = write_teacher_scores(tmp_path / "teacher", KeywordReranker(), toy, advance=lambda n=1: done.append(n))
    read = TeacherScores(tmp_path / "teacher", toy)
    examples = [one for task in toy.tasks for one in toy.examples("train", task)]
    assert sum(done) == len(examples) > 0 and read.reranker == "keyword-overlap"
    for one in examples:
        documents = [*one.positives, *(negative.document for negative in one.negatives)]
        expected = KeywordReranker().score([(one.query, document) for document in documents])
        np.testing.assert_array_equal(read.of(one.example_id), expected)
        np.testing.assert_array_equal(written.of(one.example_id), expected)


def test_a_killed_run_goes_on(toy: Collection, tmp_path: Path) -> None:
    class Dying(KeywordReranker):
        calls = 0

        def score(self, pairs: Any) -> Any:
            Dying.calls += 1
            if Dying.calls == 3:
                raise KeyboardInterrupt
            return super().score(pairs)

    with pytest.raises(KeyboardInterrupt):
        write_teacher_scores(tmp_path / "teacher", Dying(), toy)
    write_teacher_scores(tmp_path / "teacher", Dying(), toy)
    assert Dying.calls == len(toy.tasks) + 1  # what was done was not done again
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".parts")] == []
    write_teacher_scores(tmp_path / "unbroken", KeywordReranker(), toy)
    parts = [(tmp_path / name / "toy-code.parquet").read_bytes() for name in ("teacher", "unbroken")]
    assert parts[0] == parts[1]


def test_a_reranker_that_was_trained_again_scores_all_anew(toy: Collection, tmp_path: Path) -> None:
    class Trained(KeywordReranker):
        model_hash, dies = "once", True

        def score(self, pairs: Any) -> Any:
            if self.dies and pairs[0][0].query_id.startswith("toy-title"):
                raise KeyboardInterrupt
            return super().score(pairs)

    class Again(Trained):
        model_hash, dies = "again", False

        def score(self, pairs: Any) -> Any:
            return -super().score(pairs)

    with pytest.raises(KeyboardInterrupt):
        write_teacher_scores(tmp_path / "teacher", Trained(), toy)
    scores = write_teacher_scores(tmp_path / "teacher", Again(), toy)
    for one in toy.examples("train", next(iter(toy.tasks))):
        documents = [*one.positives, *(each.document for each in one.negatives)]
        np.testing.assert_array_equal(scores.of(one.example_id), Again().score([(one.query, d) for d in documents]))


def test_what_does_not_fit_is_refused(toy: Collection, tmp_path: Path) -> None:
    scores = write_teacher_scores(tmp_path / "teacher", KeywordReranker(), toy, tasks=["toy-code"])
    with pytest.raises(DataError, match="no scores of example 'toy-title:x'"):
        scores.of("toy-title:x")
    with pytest.raises(StorageError, match="exists already"):
        write_teacher_scores(tmp_path / "teacher", KeywordReranker(), toy)
    other = write_toy_world(tmp_path / "other", train=12, dev=4, seed=1)
    with pytest.raises(DataError, match="made from another collection"):
        TeacherScores(tmp_path / "teacher", other)
    part = tmp_path / "teacher" / "toy-code.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="damaged: its sha256"):
        TeacherScores(tmp_path / "teacher", toy)


def test_probabilities_become_log_odds(toy: Collection, tmp_path: Path) -> None:
    """The softmax of what distillation follows is that of the teacher's logits, not of their sigmoids."""

    class Sigmoid(KeywordReranker):
        def score(self, pairs: Any) -> Any:
            return 1 / (1 + np.exp(-super().score(pairs).astype(np.float32)))

    asked = toy.examples("train", "toy-code")
    documents = {one.example_id: [*one.positives, *(each.document for each in one.negatives)] for one in asked}
    scores = write_teacher_scores(tmp_path / "teacher", Sigmoid(), toy)
    for one in toy.examples("train", "toy-code"):
        logits = KeywordReranker().score([(one.query, each) for each in documents[one.example_id]])
        np.testing.assert_allclose(scores.of(one.example_id), logits, atol=1e-3)


def test_kl_is_the_formula_over_what_was_scored() -> None:
    scores = torch.tensor([[1.0, 2.0, 9.0], [0.0, 1.0, -1.0]], requires_grad=True)
    teacher = torch.tensor([[2.0, 1.0, float("nan")], [1.0, 0.0, 0.5]])
    scored = torch.tensor([[True, True, False], [True, True, True]])

    def softmax(values: list[float]) -> list[float]:
        whole = sum(math.exp(value / 0.5) for value in values)
        return [math.exp(value / 0.5) / whole for value in values]

    expected = 0.0
    for target, found in (([2.0, 1.0], [1.0, 2.0]), ([1.0, 0.0, 0.5], [0.0, 1.0, -1.0])):
        expected += sum(p * math.log(p / q) for p, q in zip(softmax(target), softmax(found), strict=True)) / 2
    loss = kl_distillation(scores, teacher, scored, 0.5)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert scores.grad is not None and scores.grad[0, 2] == 0 and torch.isfinite(scores.grad).all()
    assert kl_distillation(teacher.nan_to_num(), teacher, scored, 0.5).item() == pytest.approx(0.0)


def test_margin_mse_is_the_formula_over_what_was_scored() -> None:
    scores = torch.tensor([[1.0, 2.0, 9.0], [0.0, 1.0, -1.0]])
    teacher = torch.tensor([[2.0, 1.0, float("nan")], [1.0, 0.0, 0.5]])
    scored = torch.tensor([[True, True, False], [True, True, True]])
    # Margins: ours -1 | -1, 2 from the positive; the teacher's 1 | -1, -0.5.
    expected = ((-1 - 1) ** 2 + (1 - 0 - (0 - 1)) ** 2 + (1 - -1 - (0 - 0.5)) ** 2) / 3
    found = margin_mse(scores, teacher, scored, torch.tensor([0, 1]))
    assert found.item() == pytest.approx(expected)


def test_a_batch_has_the_scores_of_each_querys_own_documents(toy: Collection, tmp_path: Path) -> None:
    teacher = write_teacher_scores(tmp_path / "teacher", KeywordReranker(), toy)
    found = Examples(toy, "train")
    examples = [found.at(place) for place, _ in list(found.groups())[:30]]
    settings = DataSettings(hard=2, unfollowing=3, without_instruction=0.0, wordings=1)
    drawn = [draw(one, {**toy.tasks[one.task], "wordings": []}, settings, 1, 0) for one in examples]
    documents = distinct_documents(drawn)
    scores, scored = teacher.labels(drawn, documents)
    assert scores.shape == scored.shape == (30, len(documents)) and scores[~scored].sum() == 0
    for one, row, stands in zip(drawn, scores, scored, strict=True):
        own = {document.doc_id for document in one.documents}
        assert {document.doc_id for document, here in zip(documents, stands, strict=True) if here} == own
        pairs = [(one.query, document) for document in documents]
        np.testing.assert_array_equal(row[stands], KeywordReranker().score(pairs)[stands])


def test_training_follows_the_teacher_alone(
    toy: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bi-encoder whose loss is nearly all distillation comes nearer to what the cross-encoder says."""
    from tart.training.cli import train_app

    tiny_cross_encoder(words=toy_words()).save(str(tmp_path / "reranker"))
    tiny_sentence_transformer(dim=64, words=toy_words()).save(str(tmp_path / "base"))
    command = ["teacher", "-m", str(tmp_path / "reranker"), "-d", str(toy.folder), "-o", str(tmp_path / "scores")]
    train_app(command, standalone_mode=False)
    assert capsys.readouterr().out.split() == [str(tmp_path / "scores")]
    changes = ["loop.steps=30", "batch_size=8", "log_every=1", "distill=100.0", "loop.warmup=0.0"]
    names = [f"base={json.dumps(str(tmp_path / 'base'))}", f"teacher={json.dumps(str(tmp_path / 'scores'))}"]
    recipe = read_recipe(DualRecipe, "toy", [*changes, *names])
    history = json.loads((train_dual(recipe, toy.folder, tmp_path / "out") / "training.json").read_text())["history"]
    losses = [entry["distill"] for entry in history if "distill" in entry]
    assert len(losses) == 30 and sum(losses[-5:]) < 0.5 * sum(losses[:5])
    partial = write_teacher_scores(tmp_path / "partial", KeywordReranker(), toy, tasks=["toy-code"]).folder
    for folder, message in ((partial, "no scores of the tasks toy-title"), (tmp_path / "none", "no such folder")):
        with pytest.raises(DataError, match=message):
            other = [*changes, names[0], f"teacher={json.dumps(str(folder))}"]
            train_dual(read_recipe(DualRecipe, "toy", other), toy.folder, tmp_path / f"by {folder.name}")


def test_a_killed_run_goes_on_with_the_same_scores_alone(toy: Collection, tmp_path: Path, killed_at: KilledAt) -> None:
    class Other(KeywordReranker):
        def score(self, pairs: Any) -> Any:
            return -super().score(pairs)

    tiny_sentence_transformer(words=toy_words()).save(str(tmp_path / "base"))
    write_teacher_scores(tmp_path / "scores", KeywordReranker(), toy)
    names = [f"{key}={json.dumps(str(tmp_path / name))}" for key, name in (("base", "base"), ("teacher", "scores"))]
    recipe = read_recipe(DualRecipe, "toy", ["loop.steps=4", "batch_size=4", "save_every=2", "distill=1.0", *names])
    whole = train_dual(recipe, toy.folder, tmp_path / "whole")
    with killed_at(4):
        train_dual(recipe, toy.folder, tmp_path / "broken")
    changed = write_teacher_scores(tmp_path / "scores", Other(), toy, overwrite=True)
    assert changed.folder == tmp_path / "scores"
    for name in ("broken", "whole"):  # one that was begun, one that is done
        with pytest.raises(StorageError, match=r"was made otherwise: teacher_scores: '\w+' became '\w+'; choose"):
            train_dual(recipe, toy.folder, tmp_path / name)
    write_teacher_scores(tmp_path / "scores", KeywordReranker(), toy, overwrite=True)
    broken = train_dual(recipe, toy.folder, tmp_path / "broken")
    assert sha256_file(whole / "model.safetensors") == sha256_file(broken / "model.safetensors")


def test_distillation_and_its_teacher_need_each_other() -> None:
    for settings in ({"distill": 1.0}, {"teacher": "scores"}):
        with pytest.raises(ConfigError, match=r"loss\.distill and loss\.teacher, .* need each other"):
            LossSettings(**settings)
