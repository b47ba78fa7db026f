"""A bi-encoder that knows one wording of each wish learns others from itself, and keeps what it knew."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tart.collection import Document, Query
from tart.errors import ConfigError, DataError, StorageError
from tart.files import sha256_file
from tart.instruction import Instruction
from tart.models.load import load_encoder, load_torch_encoder
from tart.shards import Collection
from tart.testing import tiny_sentence_transformer
from tart.training.development import DevelopmentSearch
from tart.training.dual import train_dual
from tart.training.examples import Examples
from tart.training.recipe import read_recipe
from tart.training.settings import DualRecipe
from tart.training.steady import mix, train_steady
from tart.training.steady_batches import SteadyBatches, further_wordings, key_of
from tart.training.steady_loss import SteadyLoss
from tart.training.steady_settings import SteadyRecipe
from tart.training.toy import toy_words, write_toy_world

KilledAt = Callable[[int], AbstractContextManager[None]]

CHANGES = (
    "data.wordings=1",
    "freeze=nothing",
    "query_tokens=32",
    "document_tokens=32",
    "precision=fp32",
    "development.tasks=0",
)
SHORT = ("loop.steps=12", "save_every=4", "batch_size=8", "log_every=2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy collection, a base that was trained with the first wording of each task, and a file of the others."""
    root = tmp_path_factory.mktemp("toy")
    collection = write_toy_world(root / "collection", train=200, dev=30)
    tiny_sentence_transformer(dim=64, words=toy_words()).save(str(root / "tiny"))
    base = json.dumps(str(root / "tiny"))
    changes = ("kind_dimensions=16", "wish=2.0", "loop.steps=250", "data.wordings=1", "without_instruction=0.1")
    recipe = read_recipe(DualRecipe, "toy", [f"base={base}", *changes])
    train_dual(recipe, collection.folder, root / "base")
    lines = [f"[{task}]\nfurther = {json.dumps(facts['wordings'][1:])}" for task, facts in collection.tasks.items()]
    (root / "wordings.toml").write_text("\n".join(lines), encoding="utf-8")
    return root


def recipe(world: Path, *changes: str, base: str = "base") -> SteadyRecipe:
    paths = (f"base={json.dumps(str(world / base))}", f"steady.further={json.dumps(str(world / 'wordings.toml'))}")
    return read_recipe(SteadyRecipe, "mini-steady", [*paths, *CHANGES, *changes])


def search(world: Path, model: Path) -> dict[str, float]:
    return DevelopmentSearch(Collection(world / "collection"), tasks=0).evaluate(load_encoder(model))


def test_it_understands_wordings_of_neither_training_and_keeps_what_it_knew(world: Path) -> None:
    changes = ("loop.steps=200", "batch_size=32", "learning_rate=3e-3", "head_learning_rate=3e-3", "base_share=0.0")
    model = train_steady(recipe(world, *changes), world / "collection", world / "steady")
    before, after = search(world, world / "base"), search(world, model)
    assert before["pooled_held_out"] < 0.8 < 0.9 < after["pooled_held_out"]
    assert after["closed_plain"] > before["closed_plain"] - 0.05
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "truncate_dim" in card and "`tart-dual`" in card and "sentence-similarity" in card


def test_it_resumes_to_the_byte(world: Path, tmp_path: Path, killed_at: KilledAt) -> None:
    whole = train_steady(recipe(world, *SHORT), world / "collection", tmp_path / "whole")
    with killed_at(7):
        train_steady(recipe(world, *SHORT), world / "collection", tmp_path / "broken")
    other = tmp_path / "other.toml"
    other.write_text('[toy-code]\nfurther = ["the source, please"]', encoding="utf-8")
    changed = f"steady.further={json.dumps(str(other))}"
    with pytest.raises(StorageError, match=r"wordings: .* became"):
        train_steady(recipe(world, *SHORT, changed), world / "collection", tmp_path / "broken")
    broken = train_steady(recipe(world, *SHORT), world / "collection", tmp_path / "broken")
    assert sha256_file(whole / "model.safetensors") == sha256_file(broken / "model.safetensors")


def test_the_finished_weights_are_the_mean_of_the_bases_and_the_trained_ones(world: Path, tmp_path: Path) -> None:
    trained, half, base = (
        load_file(folder / "model.safetensors")
        for folder in (
            train_steady(recipe(world, *SHORT, "base_share=0.0"), world / "collection", tmp_path / "trained"),
            train_steady(recipe(world, *SHORT, "base_share=0.5"), world / "collection", tmp_path / "half"),
            world / "base",
        )
    )
    moved = [name for name in base if not torch.equal(trained[name], base[name])]
    assert moved
    for name in base:
        torch.testing.assert_close(half[name], (trained[name] + base[name]) / 2)
    model, before = (load_torch_encoder(world / "base").model for _ in range(2))
    torch.nn.init.normal_(next(model.parameters()))
    mix(model, before, 1.0)
    assert all(torch.equal(*both) for both in zip(model.parameters(), before.parameters(), strict=True))


def batches(world: Path, *changes: str) -> SteadyBatches:
    chosen = recipe(world, *SHORT, *changes)
    examples, base = Examples(Collection(world / "collection"), "train"), load_torch_encoder(world / "base")
    wordings = further_wordings(chosen.steady.further, examples.collection, examples.tasks)
    return SteadyBatches(examples, chosen, wordings, base.text_format, base.model.tokenizer)


def test_rows_are_known_new_or_foreign_queries_and_documents(world: Path) -> None:
    made = batches(world, "loop.steps=40", "without_instruction=0.1", "documents=0.25")
    rows = list(made.all_rows())
    assert rows == list(made.all_rows()) and len(rows) == 40 * (8 + 2)
    tasks = Collection(world / "collection").tasks
    first = {facts["wordings"][0]: task for task, facts in tasks.items()}
    further = {text: task for task, facts in tasks.items() for text in facts["wordings"][1:]}
    seen = {"document": 0, "plain": 0, "known": 0, "new": 0, "foreign": 0}
    for text, like, content in rows:
        if isinstance(text, Document):
            assert like is text and content is None
            seen["document"] += 1
            continue
        assert isinstance(like, Query) and like.text == text.text
        if text.instruction is None or like.instruction is None:
            assert like == text and content is None
            seen["plain"] += 1
        elif content is not None:
            assert content == text.plain()
            assert further[text.instruction.text] == first[like.instruction.text]
            seen["foreign"] += 1
        elif text == like:
            assert text.instruction.text in first
            seen["known"] += 1
        else:
            assert further[text.instruction.text] == first[like.instruction.text]
            seen["new"] += 1
    assert seen["document"] == 80 and min(seen.values()) >= 15 and seen["new"] > seen["known"] > seen["plain"]


def test_targets_are_the_bases_vectors_the_content_of_foreign_ones_the_plain_querys(world: Path) -> None:
    from tart.training.steady import _targets

    made = batches(world)
    made.targets = _targets(recipe(world, *SHORT), made, "a collection")
    base, rows = load_encoder(world / "base"), list(made.all_rows())
    found = made.targets.of(rows)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for row, target in zip(rows, found, strict=True):
        if isinstance(row.like, Document):
            np.testing.assert_allclose(target, base.encode_documents([row.like])[0], atol=2e-3)
            continue
        like = base.encode_queries([row.like])[0]
        if row.content is None:
            np.testing.assert_allclose(target, like / np.linalg.norm(like), atol=2e-3)
            continue
        plain = base.encode_queries([row.content])[0][:64]
        np.testing.assert_allclose(target[64:], like[64:], atol=2e-3)
        np.testing.assert_allclose(target[:64] / np.linalg.norm(target[:64]), plain / np.linalg.norm(plain), atol=2e-3)
    item = made[3]
    assert item["label"]["target"].shape == (len(item["text_input_ids"]), 80)
    lengths = item["text_attention_mask"].sum(dim=1)
    assert (lengths.diff() >= 0).all()
    query = Query("q", "bad fed", Instruction("find code that does this"))
    assert key_of(query, base.text_format) != key_of(query.plain(), base.text_format)


def test_of_a_query_without_instruction_the_content_alone_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = torch.tensor([[2.0, 0.0, 5.0], [3.0, 0.0, 4.0]])
    monkeypatch.setattr(SteadyLoss, "embed_minibatch_iter", lambda *_: iter([(vectors, None)]))
    labels = {"target": torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), "plain": torch.tensor([True, False])}
    for content, expected in ((2, (0.4**2 + 0.8**2) / 2), (None, (0.8 + 2 - 2 * 2 / 29**0.5) / 2)):
        loss = SteadyLoss(torch.nn.Identity(), content=content, token_budget=8)  # type: ignore[arg-type]
        assert loss([{}], labels).item() == pytest.approx(expected, abs=1e-6)


def test_a_plain_bi_encoder_learns_new_wordings_too(world: Path, tmp_path: Path) -> None:
    plain = recipe(world, *SHORT, "foreign=0.0", base="tiny")
    model = train_steady(plain, world / "collection", tmp_path / "model")
    assert load_encoder(model).dim == 64 and "truncate_dim" not in (model / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("known=1.5", r"steady\.known: wanted between 0 and 1, got 1\.5"),
        ("known=0.9", r"steady\.known and foreign: are 1\.1 together"),
        ("base_share=-1", r"steady\.base_share: wanted between 0 and 1, got -1"),
        ("grad_cache=true", r"loop\.grad_cache: this training needs none"),
        ("query_tokens=2", r"model\.query_tokens: wanted at least 8, got 2"),
    ],
)
def test_settings_out_of_range_are_refused(world: Path, change: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        recipe(world, change)


def test_what_does_not_fit_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"steady\.further: wanted a file"):
        train_steady(recipe(world, 'steady.further=""'), world / "collection", tmp_path / "model")
    with pytest.raises(ConfigError, match=r"steady\.further: wanted a file of .*; got 'nope\.toml'"):
        train_steady(recipe(world, "steady.further=nope.toml"), world / "collection", tmp_path / "model")
    with pytest.raises(ConfigError, match=r"base: .*base is the folder that is to be made"):
        train_steady(recipe(world, *SHORT), world / "collection", world / "base")
    with pytest.raises(ConfigError, match=r"steady\.foreign: .* has no dimensions for the kind; wanted 0"):
        train_steady(recipe(world, *SHORT, base="tiny"), world / "collection", tmp_path / "model")
    tiny_sentence_transformer(similarity="dot").save(str(world / "dot"))
    with pytest.raises(ConfigError, match=r"base: .*dot doesn't compare by cosine"):
        train_steady(recipe(world, *SHORT, base="dot"), world / "collection", tmp_path / "model")
    collection, file = Collection(world / "collection"), tmp_path / "wordings.toml"
    for text, field, problem in (
        ('[toy-code]\norder = ["Show me: code!"]', "toy-code", "is held out of training in the collection"),
        ("[toy-code]\norder = [1]", "toy-code.order", "wanted a list of strings"),
        ("toy-code = 3", "toy-code", "wanted a table"),
        ('[elsewhere]\norder = ["some code"]', None, "has no wordings for the tasks of"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=problem) as found:
            further_wordings(file, collection, list(collection.tasks))
        assert found.value.field == field and found.value.path == file
