"""Training a bi-encoder on the toy world: it listens, it resumes to the byte, and what comes out loads everywhere."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tart.collection import Document, Query
from tart.errors import ConfigError, DataError, StorageError
from tart.files import sha256_file
from tart.instruction import Instruction
from tart.models.load import load_encoder, load_torch_encoder
from tart.retrieval.protocols import FloatArray
from tart.shards import Collection
from tart.testing import KeywordEncoder, tiny_sentence_transformer
from tart.text_vectors import encode_both
from tart.training.development import DevelopmentSearch
from tart.training.dual import train_dual
from tart.training.dual_model import build_dual
from tart.training.recipe import read_recipe
from tart.training.run import Run
from tart.training.settings import DualRecipe, ModelSettings
from tart.training.toy import toy_words, write_toy_world

Together, Survives = Callable[..., Path], Callable[..., None]
SHORT = ("loop.steps=12", "save_every=4", "batch_size=8", "log_every=2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy collection and the tiny base."""
    root = tmp_path_factory.mktemp("toy")
    write_toy_world(root / "collection", train=200, dev=30)
    tiny_sentence_transformer(dim=64, words=toy_words()).save(str(root / "base"))
    return root


def recipe(world: Path, *changes: str) -> DualRecipe:
    return read_recipe(DualRecipe, "toy", [f"base={json.dumps(str(world / 'base'))}", *changes])


def train(world: Path, output: Path, *changes: str) -> Path:
    return train_dual(recipe(world, *changes), world / "collection", output)


def search(world: Path, model: Path) -> dict[str, float]:
    return DevelopmentSearch(Collection(world / "collection"), tasks=0).evaluate(load_encoder(model))


@pytest.fixture(scope="module")
def listening(world: Path) -> Path:
    return train(world, world / "listening", "loop.steps=250")


def test_it_learns_to_listen(world: Path, listening: Path) -> None:
    before, after = search(world, world / "base"), search(world, listening)
    assert before["pooled_own"] < 0.5 < 0.9 < after["pooled_own"]
    assert after["pooled_held_out"] > 0.9 and after["pooled_other"] < 0.3
    assert after["closed_own"] > 0.9


def test_swapping_the_instruction_swaps_the_result(world: Path, listening: Path) -> None:
    encoder, collection = load_encoder(listening), Collection(world / "collection")
    example = next(collection.examples("dev", "toy-code"))
    title = next(one for one in collection.examples("dev", "toy-title") if one.group == example.group)
    both = encoder.encode_documents([example.positives[0], title.positives[0]])
    wishes = ("find a python function", "name a title for it")
    asked = encoder.encode_queries([Query("q", example.query.text, Instruction(wish)) for wish in wishes])
    assert np.argmax(asked @ both.T, axis=1).tolist() == [0, 1]


def test_without_other_kinds_among_the_negatives_it_falls_short(world: Path, listening: Path) -> None:
    """Batches of one task and no unfollowing negatives: nothing tells that the kind matters."""
    deaf = train(world, world / "deaf", "loop.steps=250", "unfollowing=0", "family_share=0.0", "task_share=1.0")
    lost = search(world, listening)["pooled_own"] - search(world, deaf)["pooled_own"]
    assert lost > 0.25, f"only {lost:.2f} are lost"


def test_kind_dimensions_keep_the_content_and_learn_the_kind(world: Path) -> None:
    """Dimensions beside those of the base: pooled rises, closed quality stays, and so does the content."""
    changes = ("loop.steps=150", "kind_dimensions=16", "pin=5.0", "leash=0.5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TART_CACHE", str(world / "cache"))
        model = load_encoder(train(world, world / "kind", *changes))
    base = load_encoder(world / "base")
    assert (base.dim, model.dim, model.similarity) == (64, 80, "cosine")
    before, after = search(world, world / "base"), search(world, world / "kind")
    assert after["pooled_own"] > 0.9 > before["pooled_own"] and after["closed_plain"] > before["closed_plain"] - 0.02
    plain, asked = model.encode_queries([Query("q", "bad fed"), Query("q", "bad fed", Instruction("name it"))])
    assert model.text_format.plain_dims == 64 and not plain[64:].any() and asked[64:].any()


def test_before_training_the_content_is_the_bases_vector(world: Path) -> None:
    base = load_torch_encoder(world / "base")
    settings = ModelSettings(kind_dimensions=4, query_tokens=32, document_tokens=32)
    wide = build_dual(base, settings, base.text_format, "wide").encode_documents(["bad fed", "dig"])[:, :64]
    content = base.encode_documents(["bad fed", "dig"])
    ours, its = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (wide, content))
    assert np.allclose(ours, its, atol=1e-6)


@pytest.mark.parametrize("more", ["grad_cache=false", "grad_cache=true"])
def test_two_processes_give_the_loss_of_one(world: Path, tmp_path: Path, together: Together, more: str) -> None:
    """The same global batch, shared by two: equal losses, to rounding, in every step.

    With these sizes one of them encodes its queries in one part, and the other in two.
    """
    sizes = ("loop.steps=4", "batch_size=10", "token_budget=48", "log_every=1")
    changes = (*sizes, "model.dropout=0.0", "choose_query=0.5", more)
    alone, shared = train(world, tmp_path / "alone", *changes), together(__file__, world, tmp_path / "shared", *changes)
    assert len(losses(alone)) == 4 and losses(alone) == pytest.approx(losses(shared), abs=2e-4)


def losses(model: Path) -> list[float]:
    history = json.loads((model / "training.json").read_text())["history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def test_what_comes_out_is_a_plain_folder(listening: Path) -> None:
    from sentence_transformers import SentenceTransformer

    plain, ours = SentenceTransformer(str(listening), device="cpu"), load_encoder(listening)
    query = Query("q", "bad fed", Instruction("find a table"))
    assert np.allclose(plain.encode(["find a table [SEP] bad fed"]), ours.encode_queries([query]), atol=1e-6)
    names = {path.name for path in listening.rglob("*")}
    assert {"model.safetensors", "tart.json", "recipe.toml", "training.json", "curves.png", "README.md"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


def _train_until_killed(world: Path, output: Path, kill_at: int) -> None:
    """In a process of its own: train, and die at some call."""
    from tart.training import trainer

    torch.set_num_threads(1)
    calls = 0

    def counted(function):
        def call(*args, **more):
            nonlocal calls
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **more)

        return call

    for name in ("training_step", "_save_checkpoint", "_save_optimizer_and_scheduler", "_save_rng_state"):
        setattr(trainer.TartTrainer, name, counted(getattr(trainer.TartTrainer, name)))
    trainer.write_manifest = counted(trainer.write_manifest)
    train(world, output, *SHORT)


def test_killed_at_ten_random_moments_it_ends_with_the_same_bytes(world: Path, survives: Survives) -> None:
    """Twelve steps and three checkpoints of four calls each: ten of these 24 are its last."""
    survives(_train_until_killed, world, ["tart.training.dual", "tart.training.trainer", "tart.training.dual_loss"])


def test_another_recipe_or_collection_is_refused_with_the_difference(
    world: Path, listening: Path, tmp_path: Path
) -> None:
    assert train(world, listening, "loop.steps=250") == listening  # the same: nothing is done
    with pytest.raises(StorageError, match=r"recipe\.loop\.steps: 250 became 9"):
        train(world, listening, "loop.steps=9")
    other = write_toy_world(tmp_path / "other", train=12, dev=4)
    with pytest.raises(StorageError, match=r"collection: '\w+' became '\w+'"):
        train_dual(recipe(world, "loop.steps=250"), other.folder, listening)


def test_a_base_that_was_trained_again_is_another(world: Path, tmp_path: Path) -> None:
    tiny_sentence_transformer(dim=64, words=toy_words()).save(str(tmp_path / "base"))
    changes = (*SHORT, f"base={json.dumps(str(tmp_path / 'base'))}", "development.every=0")
    model = train(world, tmp_path / "model", *changes)
    tiny_sentence_transformer(dim=32, words=toy_words()).save(str(tmp_path / "base"))
    with pytest.raises(StorageError, match=r"was made otherwise: base: '\w+' became '\w+'"):
        train(world, model, *changes)
    with pytest.raises(ConfigError, match=r"base: .*base is the folder that is to be made; choose another output"):
        train(world, tmp_path / "base", *changes)


def test_what_may_not_be_overwritten_is_refused_at_once_and_a_killed_overwriting_goes_on(
    world: Path, tmp_path: Path
) -> None:
    output, collection = tmp_path / "out", Collection(world / "collection")

    def begin(steps: int, *, overwrite: bool = True) -> Path:
        run = Run.begin(output, {"steps": steps}, collection, {}, overwrite=overwrite)
        assert run is not None
        (checkpoint := run.work / "checkpoint-4").mkdir(exist_ok=True)
        return checkpoint / "kept"

    kept = begin(1, overwrite=False)
    kept.touch()
    assert begin(1, overwrite=False).exists() and not begin(1).exists()  # begun without, it isn't what is asked for
    kept.touch()
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"out: holds no training\.json, so it isn't overwritten"):
        begin(1)
    (output / "training.json").write_text("{}")
    assert begin(1).exists() and not begin(2).exists()


def test_runs_with_other_bases_or_texts_do_not_meet_in_the_cache(tmp_path: Path) -> None:
    """Another run begins and ends between the queries and the documents of this one."""
    queries, documents = {1: Query("q", "read code"), 2: Query("q", "code")}, {3: Document("d", "code")}

    class Interrupted(KeywordEncoder):
        def encode_documents(self, texts: Sequence[Document | str]) -> FloatArray:
            encode_both(tmp_path, KeywordEncoder(["prose", "read", "code"]), queries, documents, "another base")
            encode_both(tmp_path, KeywordEncoder(self.keywords), {2: queries[2]}, documents, "other texts")
            return super().encode_documents(texts)

    found, _ = encode_both(tmp_path, Interrupted(["read", "code"]), queries, documents, "this one")
    np.testing.assert_allclose(found.of([2, 1]), [[0, 1], [0.5**0.5, 0.5**0.5]], atol=1e-3)
    assert {path.name for path in tmp_path.rglob("*.npy")} == {"hashes.npy", "vectors.npy"}  # no text lies there twice
    with pytest.raises(DataError, match=rf"{tmp_path}/\w+/queries: a text has no vector; remove this folder"):
        found.of([4])


def test_the_best_checkpoint_is_kept_and_training_stops_where_none_is_better(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the search that was no better, it stops at the same step with the same weights."""
    figures = {2: 0.3, 4: 0.9, 6: 0.5, 8: 0.4, 10: 0.95}
    weights: dict[int, torch.Tensor] = {}
    changes = ("loop.steps=12", "batch_size=8", "log_every=1", "development.every=2", "patience=2")

    def trained(output: Path, die_at: int = 0, measure: str = "pooled_own") -> Path:
        from tart.training import trainer

        with monkeypatch.context() as patch:
            saved, calls = trainer.TartTrainer._save_checkpoint, trainer.TartTrainer.evaluate

            def save(self: trainer.TartTrainer, model: object, trial: object) -> None:
                saved(self, model, trial)
                weights[self.state.global_step] = next(self.model.parameters()).detach().clone()
                if self.state.global_step == die_at:
                    raise KeyboardInterrupt

            def evaluate(self: trainer.TartTrainer, *args: object, **more: object) -> dict[str, float]:
                figure = figures[self.state.global_step]
                found = {"pooled_own": figure, "wrong_own": 1 - figure}
                patch.setattr(DevelopmentSearch, "evaluate", lambda *_: found)
                return calls(self, *args, **more)  # type: ignore[arg-type]

            patch.setattr(trainer.TartTrainer, "_save_checkpoint", save)
            patch.setattr(trainer.TartTrainer, "evaluate", evaluate)
            return train(world, output, *changes, f"measure={measure}")

    unbroken = trained(tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", die_at=6)
    killed, lowest = trained(tmp_path / "killed"), trained(tmp_path / "lowest", measure="wrong_own")
    for model, best in ((unbroken, 0.9), (killed, 0.9), (lowest, 0.1)):
        facts = json.loads((model / "training.json").read_text())
        assert (facts["best_step"], facts["best"]) == (4, pytest.approx(best))
        assert max(entry["step"] for entry in facts["history"] if "loss" in entry) == 8
        assert sha256_file(model / "model.safetensors") == sha256_file(unbroken / "model.safetensors")
    kept = next(load_torch_encoder(unbroken).model.parameters())
    assert torch.equal(kept, weights[4]) and not torch.equal(kept, weights[8])


def test_tensorboard_reads_the_log(world: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = train(world, tmp_path / "out", *SHORT, "development.every=6")
    [events] = (model / "runs").rglob("events*")
    read = EventAccumulator(str(events)).Reload()  # type: ignore[no-untyped-call]
    assert {"train/loss", "eval/pooled_own"} <= set(read.Tags()["scalars"])


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second checkpoint doesn't fit; the same command then goes on from the first."""
    from tart.training import trainer

    saved = trainer.TartTrainer._save_optimizer_and_scheduler

    def full(self: trainer.TartTrainer, folder: str) -> None:
        if folder.endswith("-8"):
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.TartTrainer, "_save_optimizer_and_scheduler", full)
        with pytest.raises(StorageError, match="the disk is full"):
            train(world, tmp_path / "out", *SHORT)
    kept = trainer.newest_checkpoint(tmp_path / ".out.work")
    assert kept is not None and kept.name == "checkpoint-4"
    assert (train(world, tmp_path / "out", *SHORT) / "model.safetensors").is_file()


def test_a_loss_that_is_not_a_number_stops_with_step_and_examples(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tart.training.dual_loss import DualLoss

    monkeypatch.setattr(DualLoss, "terms", lambda *args: {"contrast": torch.tensor(float("nan"), requires_grad=True)})
    with pytest.raises(DataError, match=r"the loss of step 1 is not a finite number; its examples are toy-\w+:"):
        train(world, tmp_path / "out", *SHORT)


def test_a_run_over_all_examples_knows_the_base_of_every_text(world: Path, tmp_path: Path) -> None:
    """Its texts aren't drawn step by step, but read from the shards: the loss is the same."""
    changes = ("loss.pin=1.0", "batch_size=8", "log_every=1", "data.copies=0.0")
    short = train(world, tmp_path / "short", *changes, "loop.steps=2")
    long = train(world, tmp_path / "long", *changes, "loop.steps=200")
    assert sum(facts["examples"]["train"] for facts in Collection(world / "collection").tasks.values()) <= 200 * 8
    assert losses(long)[0] == pytest.approx(losses(short)[0], rel=1e-6)
