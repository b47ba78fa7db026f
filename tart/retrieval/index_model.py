"""The model of an index: loading the one that made it, and whether another one fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tart.errors import IndexMismatch
from tart.models.backend import ALIKE, Backend, backend_for
from tart.models.load import OtherFormat, load_encoder
from tart.retrieval.protocols import Encoder
from tart.text_format import TextFormat


def encoder_of(folder: Path, manifest: dict[str, Any], backend: Backend) -> Encoder:
    """Load the model that made an index.

    Raises:
        IndexMismatch: if the model has another text format since.
    """
    text_format = TextFormat.from_dict(manifest["text_format"])
    chosen = backend_for(manifest.get("backend"), backend)
    try:
        return load_encoder(manifest["model"]["name"], text_format=text_format, backend=chosen)
    except OtherFormat as error:
        raise IndexMismatch(f"{folder}: its model has changed since; build it again ({error})") from None


def check_fit(folder: Path, manifest: dict[str, Any], encoder: Encoder) -> None:
    """Refuse a model whose vectors don't go with those of an index.

    Raises:
        IndexMismatch: if another model, another runtime or another text format made the index.
    """
    made_by = manifest["model"]
    if made_by["hash"] != encoder.model_hash:
        raise IndexMismatch(
            f"{folder}: was made by the model {made_by['name']} (hash {made_by['hash'][:12]}), opened with "
            f"{encoder.name} (hash {encoder.model_hash[:12]}); open it with the first, or build it again"
        )
    backend = manifest.get("backend", "torch float32")  # which it was before the manifest said it
    if backend != encoder.backend and not {backend, encoder.backend} <= ALIKE:
        raise IndexMismatch(
            f"{folder}: its vectors were made by {backend!r}, those of queries would be by {encoder.backend!r}, and "
            "the two differ by more than rounding; open it with the first (--backend), or build it again"
        )
    stored = TextFormat.from_dict(manifest["text_format"])
    if stored != encoder.text_format:
        raise IndexMismatch(
            f"{folder}: was made with the text format {stored.name!r}, opened with {encoder.text_format.name!r}; "
            f"the two must be equal in every field, and differ in {stored.differences(encoder.text_format)}"
        )
