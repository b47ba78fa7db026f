"""The project's own models: packed beside this file, put together once in the cache folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from filelock import FileLock

from tart.errors import DataError
from tart.manifest import read_manifest, verify_parts
from tart.models.delta import KIND, pack_model, package_hash, put_together
from tart.models.packaged import cache_folder, minilm

logger = logging.getLogger(__name__)
SHIPPED = Path(__file__).parent / "shipped"


def shipped_model(name: str) -> Path:
    """The plain folder of one of the project's models, put together if it isn't there or is damaged.

    Args:
        name: a folder in `SHIPPED`.

    Raises:
        CheckpointError: the package or its base is damaged.
        StorageError: the disk is full.
    """
    packed = SHIPPED / name
    folder = cache_folder() / f"{name}-{package_hash(packed)[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.wait.lock")):
        if folder.is_dir():
            try:
                verify_parts(folder, read_manifest(folder, KIND))
            except DataError as error:
                logger.warning("%s; it is put together anew", error)
                shutil.rmtree(folder)
        if not folder.is_dir():
            put_together(packed, minilm(), folder)
    return folder


def ship(trained: Path) -> Path:
    """Pack a trained model beside this file, in place of the one of its name that the project ships.

    Args:
        trained: the folder that `tart train` made from `minilm`.

    Returns:
        The package.

    Raises:
        CheckpointError: it was trained from another base.
        StorageError: the disk is full.
    """
    packed = SHIPPED / trained.name
    pack_model(trained, minilm(), packed, base_name="minilm", overwrite=packed.exists())
    return packed
