"""tart.json: what a model folder knows beyond sentence-transformers; and a hash of a model's weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from tart.errors import CheckpointError
from tart.files import atomic_write, parse_json_object
from tart.text_format import TextFormat

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

TART_JSON = "tart.json"


Family = Literal["bi-encoder", "cross-encoder", "enc-t5"]


class FirstStage(NamedTuple):
    """What a cross-encoder was trained to add to.

    Args:
        model: a bi-encoder, as `load_encoder` takes it.
        weight: by which its score is multiplied.
    """

    model: str
    weight: float


class Checkpoint(NamedTuple):
    """What `tart.json` says."""

    family: Family
    text_format: TextFormat
    first_stage: FirstStage | None = None


def write_tart_json(path: Path, family: Family, text_format: TextFormat, first_stage: FirstStage | None = None) -> None:
    """Write `tart.json` into a model folder."""
    facts: dict[str, Any] = {
        "family": family,
        "text_format": text_format.to_dict(),
        "versions": {name: version(name) for name in ("torch", "transformers", "sentence-transformers")},
    }
    if first_stage is not None:
        facts["first_stage"] = first_stage._asdict()
    with atomic_write(path) as file:
        file.write((json.dumps(facts, indent=2) + "\n").encode())


def read_tart_json(folder: Path) -> Checkpoint | None:
    """Read `tart.json`; None if the folder has none.

    Raises:
        CheckpointError: if it lacks a field, or names an unknown family.
        DataError: if it is no JSON.
    """
    path = folder / TART_JSON
    if not path.is_file():
        return None
    facts = parse_json_object(path.read_text(encoding="utf-8"), path)
    for field in ("family", "text_format"):
        if field not in facts:
            raise CheckpointError(f"{path}: field {field!r} is missing")
    if facts["family"] not in get_args(Family):
        raise CheckpointError(f"{path}: family {facts['family']!r}; wanted one of {', '.join(get_args(Family))}")
    return Checkpoint(facts["family"], TextFormat.from_dict(facts["text_format"]), _first_stage(facts, path))


def _first_stage(facts: Mapping[str, Any], path: Path) -> FirstStage | None:
    stored = facts.get("first_stage")
    if stored is None:
        return None
    if not isinstance(stored, dict) or not isinstance(stored.get("model"), str):
        raise CheckpointError(f"{path}: field 'first_stage': wanted the name of a model and a weight, got {stored!r}")
    weight = stored.get("weight")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
        raise CheckpointError(f"{path}: field 'first_stage.weight': wanted a number above 0, got {weight!r}")
    return FirstStage(stored["model"], float(weight))


def check_format(base: TextFormat, wanted: TextFormat, name: str) -> None:
    """Refuse to train a model with another text format than the one in which it has learnt to read instructions.

    Raises:
        CheckpointError: they disagree.
    """
    if base.knows_instructions and replace(base, plain_dims=None) != wanted:
        raise CheckpointError(
            f"{name}: was trained with the text format {base.name!r}, the recipe has {wanted.name!r}; "
            f"set text_format = {base.name!r}, or take a base that knows no instructions"
        )


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


def backend_tokenizer(tokenizer: Any) -> Tokenizer:
    """What a tokenizer of transformers wraps; one of the `tokenizers` package, as static embeddings have, itself."""
    found: Tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return found


def uncut_tokenizer(tokenizer: Any) -> Tokenizer:
    """A copy that neither cuts nor fills up: these are settings, which threads would share with the original."""
    from tokenizers import Tokenizer

    copied: Tokenizer = Tokenizer.from_str(backend_tokenizer(tokenizer).to_str())
    copied.no_truncation()
    copied.no_padding()
    return copied


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a model folder: `model.safetensors`, else `pytorch_model.bin`, without executing anything.

    Raises:
        CheckpointError: if there are none, or the pickled file would need code to be run.
    """
    import safetensors.torch

    path = folder / "model.safetensors"
    if path.is_file():
        return safetensors.torch.load_file(path)
    if not (folder / "pytorch_model.bin").is_file():
        raise CheckpointError(f"{folder}: holds no weights; wanted model.safetensors or pytorch_model.bin")
    return dict(unpickle_weights(folder / "pytorch_model.bin"))


def unpickle_weights(path: Path, *allowed: type) -> dict[str, Any]:
    """Read a file that torch pickled: tensors, plain values, and the allowed classes; anything else is refused.

    Raises:
        CheckpointError: if it holds something else, or is no such file.
    """
    import pickle

    import torch

    try:
        with torch.serialization.safe_globals(list(allowed)):
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path}: refused: it is no plain file of weights ({reason})") from None
    return content
