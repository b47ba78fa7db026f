"""Training a cross-encoder on the toy world: it listens, it resumes to the byte, what comes out loads everywhere."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tart.collection import Document, Query
from tart.errors import CheckpointError, ConfigError, DataError, StorageError
from tart.instruction import Instruction
from tart.models.cross_encoder import CrossEncoderReranker
from tart.models.load import load_encoder, load_reranker
from tart.models.summed import SummedReranker
from tart.shards import Collection
from tart.testing import tiny_cross_encoder, tiny_sentence_transformer
from tart.text_format import PRESETS
from tart.training.development import DevelopmentSearch
from tart.training.full import train_full
from tart.training.full_settings import FullRecipe
from tart.training.recipe import read_recipe
from tart.training.toy import toy_words, write_toy_world

Survives = Callable[..., None]
SHORT = ("loop.steps=12", "save_every=4", "batch_size=4", "log_every=2", "development.tasks=2", "queries=2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy collection, the tiny base and the tiny first stage."""
    root = tmp_path_factory.mktemp("toy")
    write_toy_world(root / "collection", train=200, dev=30)
    base = tiny_cross_encoder(words=toy_words())
    CrossEncoderReranker(base, PRESETS["tart-dual"], "base").save(root / "base")
    tiny_sentence_transformer(dim=64, words=toy_words()).save(str(root / "first"))
    return root


def recipe(world: Path, *changes: str) -> FullRecipe:
    folders = [f"{key}={json.dumps(str(world / name))}" for key, name in (("base", "base"), ("first_stage", "first"))]
    return read_recipe(FullRecipe, "toy-full", [*folders, *changes])


def train(world: Path, output: Path, *changes: str) -> Path:
    return train_full(recipe(world, *changes), world / "collection", output)


def found(model: Path) -> dict[str, float]:
    """The development search at the end of a training."""
    figures: dict[str, float] = json.loads((model / "training.json").read_text())["development"]
    return figures


@pytest.fixture(scope="module")
def listening(world: Path) -> Path:
    return train(world, world / "listening")


def test_it_learns_to_listen(world: Path, listening: Path) -> None:
    search = DevelopmentSearch(Collection(world / "collection"), tasks=0, queries=6)
    candidates = search.candidates(load_encoder(world / "first"))
    before, after = search.evaluate_reranker(load_reranker(world / "base"), candidates), found(listening)
    assert before["pooled_own"] < 0.5 < 0.9 < after["pooled_own"]
    assert after["pooled_other"] < 0.5 and after["pooled_held_out"] > before["pooled_held_out"] + 0.1


def test_swapping_the_instruction_swaps_the_result(world: Path, listening: Path) -> None:
    reranker, collection = load_reranker(listening), Collection(world / "collection")
    example = next(collection.examples("dev", "toy-code"))
    title = next(one for one in collection.examples("dev", "toy-title") if one.group == example.group)
    for wish, right in (("find a python function", 0), ("name a title for it", 1)):
        query = Query("q", example.query.text, Instruction(wish))
        scores = reranker.score([(query, one.positives[0]) for one in (example, title)])
        assert np.argmax(scores) == right


def test_without_unfollowing_negatives_it_falls_short(world: Path, listening: Path) -> None:
    deaf = train(world, world / "deaf", "unfollowing=0", "hard=3", "data.random=1")
    lost = found(listening)["pooled_own"] - found(deaf)["pooled_own"]
    assert lost > 0.25, f"only {lost:.2f} are lost"


def test_two_processes_give_the_loss_of_one(world: Path, tmp_path: Path, together: Callable[..., Path]) -> None:
    """The same global batch, shared by two and read in parts: equal losses in every step, and weights, to rounding."""
    changes = ("loop.steps=4", "batch_size=4", "log_every=1", "token_budget=256", "development.tasks=1", "queries=1")
    alone, shared = train(world, tmp_path / "alone", *changes), together(__file__, world, tmp_path / "shared", *changes)
    assert len(losses(alone)) == 4 and losses(alone) == pytest.approx(losses(shared), abs=1e-5)
    ours, theirs, base = (load_file(model / "model.safetensors") for model in (alone, shared, world / "base"))
    moved, apart = (sum((ours[key] - other[key]).square().sum() for key in ours) ** 0.5 for other in (base, theirs))
    assert apart < 0.05 * moved


def losses(model: Path) -> list[float]:
    history = json.loads((model / "training.json").read_text())["history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def test_what_comes_out_is_a_plain_folder(listening: Path) -> None:
    from sentence_transformers import CrossEncoder

    plain, ours = CrossEncoder(str(listening), device="cpu"), load_reranker(listening)
    query, texts = Query("q", "bad fed", Instruction("find a table")), ["row bad fed total", "once bad fed king"]
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    expected = ours.score([(query, document) for document in documents])
    assert np.allclose(plain.predict([("find a table [SEP] bad fed", text) for text in texts]), expected, atol=1e-6)
    ranked = plain.rank("find a table [SEP] bad fed", texts)
    assert [one["corpus_id"] for one in ranked] == np.argsort(-expected).tolist()
    assert min(expected) > 0 and max(expected) < 1  # the sigmoid
    card = (listening / "README.md").read_text(encoding="utf-8")
    assert 'pipeline_tag: "text-ranking"' in card and "CrossEncoder(" in card
    names = {path.name for path in listening.rglob("*")}
    assert {"model.safetensors", "tart.json", "recipe.toml", "training.json", "curves.png"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


def test_what_adds_to_a_first_stage_comes_out_with_it(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))
    model = train(world, tmp_path / "model", *SHORT, "first_stage_weight=5", "first_stage_scale=2", "loss.in_batch=2")
    loaded = load_reranker(model)
    assert isinstance(loaded, SummedReranker) and (loaded.first_stage, loaded.weight) == (str(world / "first"), 10)
    search = DevelopmentSearch(Collection(world / "collection"), tasks=2, queries=2)
    candidates = search.candidates(load_encoder(world / "first"))
    assert found(model) == pytest.approx(search.evaluate_reranker(loaded, candidates))
    card = (model / "README.md").read_text(encoding="utf-8")
    assert f"10 times the cosine of `{world / 'first'}`" in " ".join(card.split())


def test_a_first_stage_is_found_from_everywhere_and_one_that_was_trained_again_is_another(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, changes = tmp_path / "models" / "first", (*SHORT, "first_stage=models/first", "first_stage_weight=5")
    tiny_sentence_transformer(dim=64, words=toy_words()).save(str(first))
    monkeypatch.chdir(tmp_path)
    train(world, tmp_path / "model", *changes)
    tiny_sentence_transformer(dim=32, words=toy_words()).save(str(first))
    with pytest.raises(StorageError, match=r"was made otherwise: first_stage: '\w+' became '\w+'"):
        train(world, tmp_path / "model", *changes)
    monkeypatch.chdir(world)
    loaded = load_reranker(tmp_path / "model")
    assert isinstance(loaded, SummedReranker) and loaded.first_stage == str(first)
    assert loaded.score([(Query("q", "bad fed"), Document("d", "once bad fed king"))]).shape == (1,)


def _train_until_killed(world: Path, output: Path, kill_at: int) -> None:
    """In a process of its own: train, and die at some call."""
    from tart.training import full_trainer, trainer

    torch.set_num_threads(1)
    calls = 0

    def counted(function):  # type: ignore[no-untyped-def]
        def call(*args, **more):  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **more)

        return call

    for name in ("training_step", "_save_checkpoint", "_save_optimizer_and_scheduler", "_save_rng_state"):
        setattr(full_trainer.FullTrainer, name, counted(getattr(full_trainer.FullTrainer, name)))
    trainer.write_manifest = counted(trainer.write_manifest)
    train(world, output, *SHORT, "dropout=0.1", "token_budget=256")


def test_killed_at_ten_random_moments_it_ends_with_the_same_bytes(world: Path, survives: Survives) -> None:
    """Twelve steps and three checkpoints of four calls each: ten of these 24 are its last."""
    survives(
        _train_until_killed, world, ["tart.training.full", "tart.training.full_trainer", "tart.training.full_model"]
    )


def test_what_does_not_fit_is_refused(world: Path, listening: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"recipe\.loop\.steps: 400 became 9"):
        train(world, listening, "loop.steps=9")
    with pytest.raises(CheckpointError, match=r"reads 64 tokens, model\.tokens wants 100"):
        train(world, tmp_path / "out", "tokens=100")
    with pytest.raises(DataError, match="a cross-encoder needs negatives"):
        recipe(world, "hard=0", "unfollowing=0")
    with pytest.raises(DataError, match=r"model\.tokens: wanted at least 16"):
        recipe(world, "tokens=3")
    with pytest.raises((ConfigError, DataError), match="pointwise or listwise"):
        recipe(world, "form=pairwise")


def test_a_loss_that_is_not_a_number_stops_with_step_and_examples(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tart.training import full_loss

    monkeypatch.setattr(full_loss, "listwise", lambda scores, sizes: scores.sum()[None] * float("nan"))
    with pytest.raises(DataError, match=r"the loss of step 1 is not a finite number; its examples are toy-\w+:"):
        train(world, tmp_path / "out", *SHORT)


def test_frozen_embeddings_stay_the_bases(world: Path, tmp_path: Path) -> None:
    model = train(world, tmp_path / "model", *SHORT, 'freeze="embeddings"')
    old, new = (load_file(folder / "model.safetensors") for folder in (world / "base", model))
    kept = {name for name, weight in old.items() if torch.equal(weight, new[name])}
    assert kept == {name for name in old if "embeddings" in name}
