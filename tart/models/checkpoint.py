"""tart.json: what a model folder knows beyond sentence-transformers; and a hash of a model's weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tart.errors import CheckpointError
from tart.files import atomic_write, parse_json_object
from tart.text_format import TextFormat

if TYPE_CHECKING:
    import torch

TART_JSON = "tart.json"


class Checkpoint(NamedTuple):
    """What `tart.json` says: the family ("bi-encoder", "cross-encoder" or "enc-t5") and the text format."""

    family: str
    text_format: TextFormat


def write_tart_json(path: Path, family: str, text_format: TextFormat) -> None:
    """Write `tart.json` into a model folder."""
    facts = {
        "family": family,
        "text_format": text_format.to_dict(),
        "versions": {name: version(name) for name in ("torch", "transformers", "sentence-transformers")},
    }
    with atomic_write(path) as file:
        file.write((json.dumps(facts, indent=2) + "\n").encode())


def read_tart_json(folder: Path) -> Checkpoint | None:
    """Read `tart.json`; None if the folder has none.

    Raises:
        CheckpointError: if it lacks a field.
        DataError: if it is no JSON.
    """
    path = folder / TART_JSON
    if not path.is_file():
        return None
    facts = parse_json_object(path.read_text(encoding="utf-8"), path)
    try:
        return Checkpoint(facts["family"], TextFormat.from_dict(facts["text_format"]))
    except KeyError as error:
        raise CheckpointError(f"{path}: field {error} is missing") from None


def state_hash(module: torch.nn.Module) -> str:
    """sha256 over names, shapes, types and bytes of a module's weights."""
    import torch

    digest = hashlib.sha256()
    state: Mapping[str, Any] = module.state_dict()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(memoryview(tensor.flatten().view(torch.uint8).numpy()))
    return digest.hexdigest()
