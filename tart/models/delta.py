"""Small packages of trained models: what differs from a base that is installed anyway, in eight bits a weight.

    packed/
        packed.json             names of the weights, and their sha256 when put together
        weights.safetensors.xz  differences as int8 with a scale for each row; new weights as they are
        files/                  everything else of the model folder, as it is

Putting together is a product and a sum of float32 numbers, element by element: the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from tart.errors import CheckpointError
from tart.files import atomic_write, new_folder, parse_json_object, sha256_file
from tart.manifest import write_manifest

KIND = "tart-model/1"
PACKED, WEIGHTS, FILES = "packed.json", "weights.safetensors.xz", "files"
_STEPS = 127  # of an int8 on either side of 0
_QUANTISED, _SCALE = ":int8", ":scale"
Arrays = dict[str, npt.NDArray[Any]]
_LOGS = "runs/"  # TensorBoard's
_FROM_BASE = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


def pack_model(trained: Path, base: Path, target: Path, *, overwrite: bool = False) -> None:
    """Write the package of a trained model.

    Args:
        trained: a plain sentence-transformers folder.
        base: the folder that it was trained from.
        target: the package to make.
        overwrite: take the place of an existing package.

    Raises:
        CheckpointError: a weight has another shape than the base's.
        StorageError: the target exists, or the disk is full.
    """
    differences: Arrays = {}
    for file, name, weight in _weights(trained):
        old = _of_base(_read(base / file), name) if (base / file).is_file() else None
        differences.update(_difference(f"{file}:{name}", weight, old))
    keys = [f"{file}:{name}" for file, name, _ in _weights(trained)]
    facts = {"weights": keys, "sha256": _digest(_together(keys, differences, base))}
    with new_folder(target, overwrite=overwrite, marker=PACKED) as folder:
        with atomic_write(folder / WEIGHTS) as out:
            out.write(lzma.compress(safetensors.numpy.save(differences), preset=9 | lzma.PRESET_EXTREME))
        for path in sorted(trained.rglob("*")):
            name = path.relative_to(trained).as_posix()
            kept = name not in _FROM_BASE and not name.startswith(_LOGS) and path.suffix != ".safetensors"
            if path.is_file() and kept:
                (folder / FILES / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / FILES / name)
        (folder / PACKED).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def package_hash(packed: Path) -> str:
    """What changes with the weights of a package, or with any other file of the model."""
    digest = hashlib.sha256((packed / PACKED).read_bytes())
    for path in sorted(path for path in (packed / FILES).rglob("*") if path.is_file()):
        digest.update(f"\n{path.relative_to(packed).as_posix()} {sha256_file(path)}".encode())
    return digest.hexdigest()


def put_together(packed: Path, base: Path, target: Path) -> None:
    """Make the plain folder of a packed model.

    Args:
        packed: the package.
        base: the folder of its base.
        target: the folder to make, with a manifest; it appears when it is whole and checked.

    Raises:
        CheckpointError: the weights are not those that were packed.
        StorageError: the target exists, or the disk is full.
    """
    facts = parse_json_object((packed / PACKED).read_text(encoding="utf-8"), packed / PACKED)
    try:
        differences = safetensors.numpy.load(lzma.decompress((packed / WEIGHTS).read_bytes()))
    except (lzma.LZMAError, SafetensorError) as error:
        raise CheckpointError(f"{packed / WEIGHTS}: damaged ({error}); install the package again") from None
    together = _together(facts["weights"], differences, base)
    if _digest(together) != facts["sha256"]:
        raise CheckpointError(f"{packed}: its weights are not those that were packed; install the package again")
    with new_folder(target, marker="config.json") as folder:
        shutil.copytree(packed / FILES, folder, dirs_exist_ok=True)
        for name in _FROM_BASE:
            if (base / name).is_file():
                shutil.copyfile(base / name, folder / name)
        for file, arrays in together.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            safetensors.numpy.save_file(arrays, folder / file, metadata={"format": "pt"})
        write_manifest(folder, KIND, {"model": facts["sha256"]})


def _weights(folder: Path) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """File, name and value of each weight of a folder."""
    for path in sorted(folder.rglob("*.safetensors")):
        for name, weight in sorted(_read(path).items()):
            yield path.relative_to(folder).as_posix(), name, weight


def _read(path: Path) -> Arrays:
    return dict(safetensors.numpy.load_file(path))


def _of_base(weights: Arrays, name: str) -> npt.NDArray[Any] | None:
    """The weight that a trained one began as; in a cross-encoder the body's names begin with "bert."."""
    return weights.get(name, weights.get(name.removeprefix("bert.")))


def _difference(key: str, weight: npt.NDArray[Any], old: npt.NDArray[Any] | None) -> Arrays:
    if old is None:
        return {key: weight}
    if old.shape != weight.shape:
        raise CheckpointError(f"{key}: has shape {weight.shape}, the base's {old.shape}")
    if np.array_equal(old, weight):
        return {}
    apart = (weight - old).astype(np.float32)
    rows = apart.reshape(len(apart), -1)
    scale = np.maximum(np.abs(rows).max(axis=1), np.float32(1e-12)) / np.float32(_STEPS)
    steps = np.rint(rows / scale[:, None]).astype(np.int8)
    return {key + _QUANTISED: steps.reshape(apart.shape), key + _SCALE: scale}


def _together(keys: Sequence[str], differences: Arrays, base: Path) -> dict[str, Arrays]:
    """Each weights file with its arrays."""
    found: dict[str, Arrays] = {}
    for file in sorted({key.partition(":")[0] for key in keys}):
        old = _read(base / file) if (base / file).is_file() else {}
        names = sorted(key.partition(":")[2] for key in keys if key.partition(":")[0] == file)
        found[file] = {name: _value(f"{file}:{name}", differences, _of_base(old, name)) for name in names}
    return found


def _value(key: str, differences: Arrays, old: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    if old is None:
        return differences[key]
    if key + _QUANTISED not in differences:
        return old
    steps, scale = differences[key + _QUANTISED], differences[key + _SCALE]
    apart = steps.reshape(len(steps), -1).astype(np.float32) * scale[:, None]
    return np.asarray(old + apart.reshape(old.shape), dtype=np.float32)


def _digest(together: Mapping[str, Arrays]) -> str:
    digest = hashlib.sha256()
    for file, arrays in sorted(together.items()):
        for name, value in sorted(arrays.items()):
            digest.update(f"{file}:{name} {value.shape} {value.dtype}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
