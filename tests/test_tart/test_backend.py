"""Which backend is chosen, and what is said of it: of a model, and of the search of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tart.errors import ConfigError
from tart.models import backend, lean_form
from tart.models.describe import describe_backend, describe_search


@pytest.fixture(autouse=True)
def lean_with_bfloat16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backend, "has_gpu", lambda: False)
    monkeypatch.setattr(backend, "bfloat16_instruction", lambda: "avx512_bf16")


def said_of(made_by: str | None, model: object) -> dict[str, str | None]:
    manifest: dict[str, Any] = {"model": {"name": str(model)}, "backend": made_by}
    return describe_search(manifest if made_by else {"model": manifest["model"]})


def test_enc_t5_is_said_to_run_on_torch() -> None:
    said = describe_backend("facebook/tart-full-flan-t5-xl")
    assert (said["backend"], said["why"]) == ("torch", "EncT5 has no lean form")


def test_the_choice_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend.choose_backend() == ("lean", "no GPU, and openvino is installed")
    assert backend.choose_backend(device="cpu").backend == backend.choose_backend("torch").backend == "torch"
    with pytest.raises(ConfigError, match="unknown backend 'fast'; wanted auto, torch, lean, lean-int8"):
        backend.choose_backend("fast")
    with pytest.raises(ConfigError, match="'lean' runs on the CPU; device='cuda'"):
        backend.choose_backend("lean", "cuda")
    for found, precision in (("amx_bf16", "bfloat16"), (None, "float32")):
        monkeypatch.setattr(backend, "bfloat16_instruction", lambda found=found: found)
        assert backend.lean_precision()[0] == precision
    assert "none of amx_bf16, avx512_bf16" in backend.lean_precision()[1]
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    assert backend.choose_backend() == ("torch", "openvino isn't installed: pip install tart-retrieval[lean]")
    with pytest.raises(ConfigError, match=r"pip install tart-retrieval\[lean\]"):
        backend.choose_backend("lean")
    monkeypatch.setattr(backend, "has_gpu", lambda: True)
    assert backend.choose_backend() == ("torch", "there is a GPU")


@pytest.mark.parametrize("made_by", ["torch float32", "lean bfloat16", None])
def test_an_index_is_searched_on_what_its_model_runs_on_here(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, made_by: str | None
) -> None:
    why = "no GPU, and openvino is installed; the processor has avx512_bf16"
    assert said_of(made_by, tiny_model_folder) == {"backend": "lean bfloat16", "why": why, "lean_form": None}
    monkeypatch.setattr(backend, "has_gpu", lambda: True)
    assert said_of(made_by, tiny_model_folder) == {"backend": "torch", "why": "there is a GPU", "lean_form": None}


def test_an_index_in_int8_is_searched_in_int8_wherever_it_is(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "has_gpu", lambda: True)
    why = "the vectors of the index were made so, and meet no others"
    assert said_of("lean int8", tiny_model_folder) == {"backend": "lean int8", "why": why, "lean_form": None}


def test_an_index_that_can_not_be_searched_by_vectors_says_why(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    reasons = {
        "no model folder './gone'": said_of("torch float32", "./gone"),
        "the backend 'lean-int8' can't run: openvino isn't installed": said_of("lean int8", tiny_model_folder),
        "the vectors of the index were made by 'keywords'": said_of("keywords", tiny_model_folder),
    }
    for reason, said in reasons.items():
        assert said["backend"] is None and str(said["why"]).startswith(reason)


def test_bfloat16_that_is_off_is_the_reason_for_float32(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = lean_form.LeanForm(tmp_path, {"agreement": {"float32": 1.0, "bfloat16": 0.9998}})
    monkeypatch.setattr("tart.models.describe.find_form", lambda folder, similarity: form)
    said = describe_backend(tiny_model_folder)
    assert (said["backend"], said["lean_form"]) == ("lean float32", str(tmp_path))
    assert said["why"] == "no GPU, and openvino is installed; in bfloat16 it agrees with the original to 0.99980 only"
