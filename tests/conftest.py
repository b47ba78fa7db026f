"""No test reaches the network; fixtures that several files share."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import tart
from tart.models import backend
from tart.models.load import load_torch_encoder
from tart.testing import KeywordEncoder, toy_collection

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(autouse=True, scope="session")
def _torch_unless_asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models made for one test aren't worth a lean form, and tests compare with the exact vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TART_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(backend, "has_gpu", lambda: True)
        yield


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and (not isinstance(address, tuple) or address[0] not in ("127.0.0.1", "::1")):
            raise RuntimeError(f"a test tried to reach {address!r}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def toy_encoder() -> KeywordEncoder:
    return KeywordEncoder(["code", "prose", "sort", "read", "open", "parse"])


@pytest.fixture
def toy_searcher(tmp_path: Path, toy_encoder: KeywordEncoder) -> tart.Searcher:
    return tart.Searcher.build(toy_collection().corpus.values(), toy_encoder, tmp_path / "toy_index")


@pytest.fixture(scope="session")
def minilm() -> tart.BiEncoder:
    return load_torch_encoder("minilm")


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder folder that loads in no time, for what needs a model by name."""
    from tart.testing import tiny_sentence_transformer
    from tart.text_format import PRESETS

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tart.BiEncoder(tiny_sentence_transformer(), PRESETS["tart-dual"], "tiny").save(folder)
    return folder
