"""What can't be trained on, or with: refused before or at the step that meets it, and named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tart.errors import CheckpointError, ConfigError, DataError
from tart.manifest import NAME, write_manifest
from tart.models.bi_encoder import BiEncoder
from tart.models.cross_encoder import CrossEncoderReranker
from tart.shards import KIND, Collection, read_table
from tart.testing import tiny_cross_encoder, tiny_sentence_transformer
from tart.text_format import PRESETS
from tart.training.dual import train_dual
from tart.training.full import train_full
from tart.training.full_settings import FullRecipe
from tart.training.recipe import read_recipe
from tart.training.settings import DualRecipe
from tart.training.toy import toy_words, write_toy_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    write_toy_world(root / "collection", train=8, dev=2)
    tiny_sentence_transformer(words=toy_words()).save(str(root / "base"))
    return root


def train(world: Path, output: Path, *changes: str, base: Path | None = None, data: Path | None = None) -> None:
    short = [f"base={json.dumps(str(base or world / 'base'))}", "loop.steps=9", "batch_size=8", *changes]
    train_dual(read_recipe(DualRecipe, "toy", short), data or world / "collection", output / "out")


def copied(world: Path, folder: Path) -> Path:
    return Path(shutil.copytree(world / "collection", folder / "collection"))


def rewritten(world: Path, folder: Path, keep: int | None = None, **changes: Any) -> Path:
    """A collection whose manifest fits, with other values in the first row of a shard, or fewer rows."""
    data = copied(world, folder)
    table = read_table(Collection(data), "train", "toy-code")
    rows = table.to_pylist()
    rows[0] |= {key: change(rows[0]) for key, change in changes.items()}
    pq.write_table(pa.Table.from_pylist(rows[:keep], table.schema), data / "train" / "toy-code.parquet")
    facts = {key: value for key, value in Collection(world / "collection").manifest.items() if key != "parts"}
    (data / NAME).unlink()
    write_manifest(data, KIND, {key: value for key, value in facts.items() if key not in ("kind", "sha256")})
    return data


def test_no_examples(world: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no train example of the tasks that are wanted"):
        train(world, tmp_path, 'data.levels=["held-out-task"]')


def test_a_level_that_there_is_not_and_a_task_without_examples(world: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.levels: unknown level 'trian'; there are train, held-out-task, "):
        train(world, tmp_path, 'data.levels=["trian"]')
    data = rewritten(world, tmp_path, keep=0)
    with pytest.raises(DataError, match="no train example of the tasks toy-code"):
        train(world, tmp_path, 'data.tasks=["toy-code", "toy-title"]', data=data)


def test_a_measure_that_there_is_not_and_patience_that_never_looks(world: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown measure 'pooled_ownn'; did you mean pooled_own"):
        train(world, tmp_path, "development.measure=pooled_ownn")
    with pytest.raises(DataError, match=r"development\.patience: needs development\.every"):
        train(world, tmp_path, "development.every=0", "patience=2")


def test_widths_that_are_none(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loss\.matryoshka: 9999 is no part of \d+ dimensions"):
        train(world, tmp_path, "loss.matryoshka=[9999]")
    with pytest.raises(DataError, match=r"loss\.matryoshka: \[8, 8\] holds a width twice"):
        train(world, tmp_path, "loss.matryoshka=[8, 8]")


def test_too_few_examples_for_a_batch(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"an epoch has 64 examples; wanted at least loop\.batch_size = 65"):
        train(world, tmp_path, "batch_size=65")


def test_tasks_that_are_not_there(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no task 'toy-cod' in .*; did you mean toy-code"):
        train(world, tmp_path, 'data.tasks=["toy-cod"]')


def test_an_example_without_a_positive(world: Path, tmp_path: Path) -> None:
    data = rewritten(world, tmp_path, positives=lambda row: [])
    with pytest.raises(DataError, match=r"toy-code\.parquet:1: field 'positives': an example without a positive"):
        train(world, tmp_path, data=data)


def test_a_positive_among_the_negatives(world: Path, tmp_path: Path) -> None:
    wrong = {"kind": "hard", "origin": "bm25", "score": 1.0}
    data = rewritten(world, tmp_path, negatives=lambda row: [{**row["positives"][0], **wrong}])
    with pytest.raises(DataError, match=r"toy-code\.parquet:1: field 'negatives': .* a positive among its negatives"):
        train(world, tmp_path, data=data)


def test_a_manifest_that_does_not_match_its_shards(world: Path, tmp_path: Path) -> None:
    data = copied(world, tmp_path)
    (data / "train" / "toy-law.parquet").unlink()
    with pytest.raises(DataError, match=r"toy-law\.parquet: damaged: is missing, wanted"):
        train(world, tmp_path, data=data)
    shutil.copyfile(data / "train" / "toy-code.parquet", data / "train" / "toy-law.parquet")
    with pytest.raises(DataError, match=r"toy-law\.parquet: damaged: has [\d,]+ bytes, wanted"):
        train(world, tmp_path, data=data)


def test_a_flipped_byte_in_a_shard(world: Path, tmp_path: Path) -> None:
    part = (data := copied(world, tmp_path)) / "train" / "toy-code.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(DataError, match=r"toy-code\.parquet: damaged: its sha256"):
        train(world, tmp_path, data=data)


def test_a_base_that_does_not_fit(world: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with pytest.raises(CheckpointError, match=r"reads 64 tokens, model\.document_tokens wants 100"):
        train(world, tmp_path, "document_tokens=100")
    first = SentenceTransformer(modules=[tiny_sentence_transformer(words=toy_words())[0], Pooling(32, "cls")])
    first.save(str(tmp_path / "cls"))
    with pytest.raises(CheckpointError, match="a recipe needs a base with mean pooling; found cls"):
        train(world, tmp_path, base=tmp_path / "cls")
    BiEncoder(first, replace(PRESETS["tart-dual"], plain_dims=20), "wide").save(tmp_path / "wide")
    with pytest.raises(CheckpointError, match="a recipe needs a base with mean pooling; found cls"):
        train(world, tmp_path, base=tmp_path / "wide")  # a text format that differs in `plain_dims` alone is the same


def test_text_formats_that_disagree(world: Path, tmp_path: Path) -> None:
    """Of a base that has learnt to read instructions in one format, and a recipe that writes them in another."""
    problem = "was trained with the text format '{}', the recipe has 'tart-dual'; set text_format = '{}'"
    BiEncoder(tiny_sentence_transformer(), PRESETS["e5-instruct"], "other").save(tmp_path / "dual")
    with pytest.raises(CheckpointError, match=problem.format("e5-instruct", "e5-instruct")):
        train(world, tmp_path, base=tmp_path / "dual")
    CrossEncoderReranker(tiny_cross_encoder(), PRESETS["tart-reversed"], "other").save(tmp_path / "full")
    names = [f"{key}={json.dumps(str(tmp_path / name))}" for key, name in (("base", "full"), ("first_stage", "dual"))]
    recipe = read_recipe(FullRecipe, "toy-full", [*names, "batch_size=8"])
    with pytest.raises(CheckpointError, match=problem.format("tart-reversed", "tart-reversed")):
        train_full(recipe, world / "collection", tmp_path / "out")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_where_the_recipe_wants_one(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fp16 needs a GPU; on this processor take bf16, or fp32"):
        train(world, tmp_path, "precision=fp16")
    with pytest.raises(
        ConfigError, match=r"made for a GPU, and there is none; take mini or mini-full, .* or loop\.gpu"
    ):
        train(world, tmp_path, "loop.gpu=true")


@pytest.mark.parametrize(("cores", "sharing", "wanted"), [(1, 1, 0), (8, 1, 7), (8, 4, 1), (128, 1, 16), (128, 8, 15)])
def test_processes_of_one_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, sharing: int, wanted: int
) -> None:
    from tart.training import trainer

    monkeypatch.setattr(trainer, "usable_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(sharing))
    assert trainer._workers() == wanted
