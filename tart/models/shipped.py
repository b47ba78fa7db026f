"""The project's own models: packed beside this file, put together once in the cache folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from filelock import FileLock

from tart.errors import DataError
from tart.files import storage_errors
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
        StorageError: the disk is full, or the cache folder can't be written.
    """
    packed = SHIPPED / name
    folder = cache_folder() / f"{name}-{package_hash(packed)[:12]}"
    if _is_whole(folder):  # before anything is written: a finished cache may be read-only
        return folder
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.wait.lock")):
            if not _is_whole(folder):  # another process may have finished it while we waited
                if folder.is_dir():
                    logger.warning("%s: damaged; it is put together anew", folder)
                    shutil.rmtree(folder)
                put_together(packed, minilm(), folder)
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        verify_parts(folder, read_manifest(folder, KIND))
    except (DataError, FileNotFoundError):  # another process may be taking a damaged one away
        return False
    return True


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
    pack_model(trained, minilm(), packed, overwrite=packed.exists())
    return packed
