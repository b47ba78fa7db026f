"""LoRA: only adapters learn, and what is saved is a plain model that holds them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tart.errors import DataError
from tart.files import sha256_file
from tart.models.bi_encoder import BiEncoder
from tart.models.load import load_encoder, load_torch_encoder
from tart.testing import tiny_sentence_transformer
from tart.training.dual import train_dual
from tart.training.dual_model import build_dual
from tart.training.lora import merge_adapter
from tart.training.recipe import read_recipe
from tart.training.settings import DualRecipe, ModelSettings
from tart.training.toy import toy_words, write_toy_world

KilledAt = Callable[[int], AbstractContextManager[None]]

TEXTS = ["bad fed", "row total dig", "once king"]
LENGTHS = {"query_tokens": 32, "document_tokens": 32}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    write_toy_world(root / "collection", train=24, dev=4)
    tiny_sentence_transformer(dim=64, words=toy_words()).save(str(root / "base"))
    return root


def recipe(world: Path, *changes: str) -> DualRecipe:
    base = f"base={json.dumps(str(world / 'base'))}"
    short = ("loop.steps=40", "batch_size=16", "save_every=20", "log_every=1", "learning_rate=3e-3", "lora_rank=16")
    return read_recipe(DualRecipe, "toy", [base, *short, *changes])


def built(world: Path, rank: int, kind: int = 0) -> BiEncoder:
    torch.manual_seed(0)
    base = load_torch_encoder(world / "base")
    settings = ModelSettings(kind, lora_rank=rank, dropout=0.0, **LENGTHS)
    return build_dual(base, settings, base.text_format, "adapted")


def test_rank_0_is_the_base_as_it_is_all_of_it_trained(world: Path) -> None:
    model, base = built(world, 0).model, load_torch_encoder(world / "base").model
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in base.named_parameters()]
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("kind", [0, 4])
def test_adapters_alone_get_gradients_in_the_body(world: Path, kind: int) -> None:
    encoder = built(world, 4, kind)
    before = encoder.encode_documents(TEXTS)
    np.testing.assert_allclose(built(world, 0, kind).encode_documents(TEXTS)[:, :64], before[:, :64], atol=1e-6)
    features = encoder.model.preprocess(TEXTS)
    encoder.model(features)["sentence_embedding"][:, 0].sum().backward()
    body = list(encoder.model[0].named_parameters())
    learns = [name for name, weight in body if weight.requires_grad]
    assert learns == [name for name, _ in body if "lora_" in name]
    assert len(learns) == 2 * 6 * 2  # two matrices for each of six linear layers in each of two layers; no pooler
    assert all((weight.grad is not None) is weight.requires_grad for _, weight in body)
    assert [weight.requires_grad for weight in list(encoder.model.parameters())[len(body) :]] == [True] * (
        2 * bool(kind)
    )


def test_the_saved_model_is_the_merged_one_and_plain(world: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = built(world, 4)
    for name, weight in encoder.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    adapted = encoder.encode_documents(TEXTS)
    assert not np.allclose(adapted, built(world, 0).encode_documents(TEXTS), atol=1e-2)
    merge_adapter(encoder.model)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), adapted, atol=1e-5)
    encoder.save(tmp_path / "saved")
    assert not list(tmp_path.rglob("adapter*")) and (tmp_path / "saved" / "model.safetensors").is_file()
    plain = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    names = [name for name, _ in load_torch_encoder(world / "base").model.named_parameters()]
    assert [name for name, _ in plain.named_parameters()] == names
    np.testing.assert_allclose(plain.encode(TEXTS), adapted, atol=1e-5)


def test_it_learns_resumes_to_the_byte_and_keeps_the_rest_of_the_base(
    world: Path, tmp_path: Path, killed_at: KilledAt
) -> None:
    whole = train_dual(recipe(world), world / "collection", tmp_path / "whole")
    losses = [one["loss"] for one in json.loads((whole / "training.json").read_text())["history"] if "loss" in one]
    assert len(losses) == 40 and sum(losses[-9:]) < 0.9 * sum(losses[:9])
    with killed_at(25):
        train_dual(recipe(world), world / "collection", tmp_path / "broken")
    assert len(list((tmp_path / ".broken.work" / "checkpoint-20").glob("adapter_model.safetensors"))) == 1
    broken = train_dual(recipe(world), world / "collection", tmp_path / "broken")
    assert sha256_file(whole / "model.safetensors") == sha256_file(broken / "model.safetensors")
    saved, base = (load_file(folder / "model.safetensors") for folder in (whole, world / "base"))
    changed = {name for name in base if not torch.equal(saved[name], base[name])}
    assert saved.keys() == base.keys()
    linear = {name for name in base if name.endswith("dense.weight") or (".self." in name and "weight" in name)}
    assert changed == linear - {"pooler.dense.weight"}
    assert load_encoder(whole).dim == 64


def test_settings_that_contradict_are_refused(world: Path) -> None:
    with pytest.raises(DataError, match=r"model\.lora_rank: wanted at least 0, got -1"):
        recipe(world, "lora_rank=-1")
    with pytest.raises(DataError, match=r"model\.lora_rank: freezes the whole base by itself; leave out freeze"):
        recipe(world, "freeze=lower")
