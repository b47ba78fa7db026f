"""Packed models: put together they are what was packed, and a damaged package or copy is found."""

from __future__ import annotations

import errno
import lzma
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from tart.collection import Document, Query
from tart.errors import CheckpointError, StorageError
from tart.instruction import Instruction
from tart.models import shipped
from tart.models.bi_encoder import BiEncoder
from tart.models.delta import PACKED, WEIGHTS, pack_model, put_together
from tart.models.load import load_torch_encoder, load_torch_reranker
from tart.testing import tiny_sentence_transformer
from tart.text_format import PRESETS
from tart.training.dual_model import build_dual, scale_kind
from tart.training.full_model import build_full
from tart.training.full_settings import FullModelSettings
from tart.training.settings import ModelSettings


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A base, a model trained from it (widened, some weights moved), and its package."""
    base, trained, packed = tmp_path / "base", tmp_path / "trained", tmp_path / "packed"
    tiny_sentence_transformer(dim=16).save(str(base))
    settings = ModelSettings(kind_dimensions=4, freeze="lower", query_tokens=16, document_tokens=16)
    model = build_dual(load_torch_encoder(base), settings, PRESETS["tart-dual"], "trained")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.model.parameters():
            if weight.requires_grad:
                weight += 0.01 * torch.randn(weight.shape, generator=generator)
    model.save(trained)
    pack_model(trained, base, packed)
    return base, trained, packed


def test_it_is_what_was_trained_up_to_a_step_of_eight_bits(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    base, trained, packed = folders
    put_together(packed, base, tmp_path / "again")
    one, other = load_torch_encoder(trained), load_torch_encoder(tmp_path / "again")
    assert isinstance(other, BiEncoder) and other.text_format == one.text_format and other.similarity == "cosine"
    old, new, was = (
        dict(load_torch_encoder(folder).model.state_dict()) for folder in (trained, tmp_path / "again", base)
    )
    for name, weight in old.items():
        start = was.get(name)
        apart = weight if start is None else weight - start
        widest = apart.abs().reshape(len(apart), -1).max(dim=1).values if apart.ndim else apart.abs()
        error = (new[name] - weight).abs().reshape(len(apart), -1).max(dim=1).values
        assert torch.all(error <= widest / 254 + 1e-7), name
    texts = ["ab cd", "xy"]
    assert np.allclose(one.encode_documents(texts), other.encode_documents(texts), atol=1e-2)


def test_a_cross_encoder_is_packed_as_what_differs_from_the_body_that_it_has(tmp_path: Path) -> None:
    tiny_sentence_transformer(dim=16).save(str(tmp_path / "base"))
    torch.manual_seed(0)
    settings = FullModelSettings(tokens=32, freeze="embeddings")
    model, reranker = build_full(str(tmp_path / "base"), settings, PRESETS["tart-dual"], "new")
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.01 * torch.randn(weight.shape)
    reranker.save(tmp_path / "trained")
    pack_model(tmp_path / "trained", tmp_path / "base", tmp_path / "packed")
    packed = safetensors.numpy.load(lzma.decompress((tmp_path / "packed" / WEIGHTS).read_bytes()))
    assert not [name for name in packed if "embeddings" in name]
    assert sum(name.endswith("query.weight:int8") for name in packed) == 2
    put_together(tmp_path / "packed", tmp_path / "base", tmp_path / "again")
    pairs = [(Query("q", "ab cd", Instruction("ef")), Document(text, text)) for text in ("ab", "xy", "cd ab")]
    one, other = (load_torch_reranker(tmp_path / name).score(pairs) for name in ("trained", "again"))
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_twice_put_together_it_is_the_same_to_the_byte(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    base, _, packed = folders
    for name in ("a", "b"):
        put_together(packed, base, tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) > 8
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_another_base_or_a_damaged_package_is_refused(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, _, packed = folders
    tiny_sentence_transformer(dim=16, seed=5).save(str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="are not those that were packed"):
        put_together(packed, tmp_path / "other", tmp_path / "again")
    content = bytearray((packed / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (packed / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        put_together(packed, tmp_path / "other", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_damaged_copy_in_the_cache_is_made_anew(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, _, packed = folders
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shipped, "SHIPPED", packed.parent)
    monkeypatch.setattr(shipped, "minilm", lambda: base)
    folder = shipped.shipped_model("packed")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert shipped.shipped_model("packed") == folder
    assert (folder / "model.safetensors").read_bytes() == whole
    assert (packed / PACKED).is_file()
    settings = packed / "files" / "tart.json"
    settings.write_text(settings.read_text().replace("tart-dual", "another"))  # as a later version might
    other = shipped.shipped_model("packed")
    assert other != folder and "another" in (other / "tart.json").read_text()


def test_a_finished_cache_may_be_read_only_and_another_is_told_of(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, _, packed = folders
    monkeypatch.setattr(shipped, "SHIPPED", packed.parent)
    monkeypatch.setattr(shipped, "minilm", lambda: base)
    (tmp_path / "file").touch()
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=r"file/cache/packed-\w+: can't be written \(Not a directory\)"):
        shipped.shipped_model("packed")
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))
    folder = shipped.shipped_model("packed")

    def read_only(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shipped, "FileLock", read_only)
    assert shipped.shipped_model("packed") == folder
    (folder / "model.safetensors").unlink()
    with pytest.raises(StorageError, match="can't be written"):
        shipped.shipped_model("packed")


def test_a_trained_folder_is_shipped_under_its_name_without_its_logs(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, trained, _ = folders
    (trained / "runs").mkdir()
    (trained / "runs" / "events").write_text("a machine's name")
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(shipped, "minilm", lambda: base)
    for _ in range(2):  # the second takes the place of the first
        assert shipped.ship(trained) == tmp_path / "shipped" / "trained"
    made = shipped.shipped_model("trained")
    assert (made / "tart.json").is_file() and not list(made.rglob("events"))


def test_the_kind_is_scaled_and_the_content_is_not() -> None:
    base = BiEncoder(tiny_sentence_transformer(dim=16), PRESETS["plain"], "tiny")
    model = build_dual(base, ModelSettings(4, query_tokens=16, document_tokens=16), PRESETS["tart-dual"], "widened")
    whole = model.encode_documents(["ab cd", "xy"])
    scale_kind(model.model, 0.5)
    scaled = model.encode_documents(["ab cd", "xy"])
    for part, wanted in ((slice(1, 16), 1.0), (slice(16, None), 0.5)):  # beside the first number of the content
        assert np.allclose(scaled[:, part] / scaled[:, :1], wanted * whole[:, part] / whole[:, :1], rtol=1e-4)
