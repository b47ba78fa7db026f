"""Reading and writing files so that nothing is half there.

A file or folder is written under a temporary name, flushed to the disk, and renamed. What a reader meets under the
final name is whole: the old one or the new one.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from tart.errors import DataError, StorageError

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a UTF-16 pair: valid in a Python string, not in UTF-8

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NEXT_TO_NOTHING = 1 << 24  # bytes left on a disk that a checkpoint did not fit on
_NO_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_once(path: Path) -> str:
    """`sha256_file`, read once in a process while neither the file's size nor its time changes."""
    state = path.stat()
    return _sha256_of_state(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of_state(path: Path, size: int, changed: int) -> str:
    return sha256_file(path)


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (1-based number, text) of each line of a UTF-8 file; a BOM and CRLF line ends are taken off.

    Only a line feed ends a line: U+2028 and its like may stand inside JSON strings.

    Raises:
        DataError: if the file is missing, is a folder, or a line is not UTF-8.
    """
    path = Path(path)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", path=path) from None
    with file:
        yield from decode_lines(file, path)


def decode_lines(file: BinaryIO, name: str | Path) -> Iterator[tuple[int, str]]:
    """`read_lines` for an open binary file such as standard input; `name` is what errors call it."""
    for number, raw in enumerate(file, start=1):
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8 (byte {error.start + 1} of the line)", path=name, line=number) from None
        yield number, text.removesuffix("\n").removesuffix("\r")


def parse_json_object(text: str, path: str | Path, line: int | None = None) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        DataError: naming path and line, if it is no valid JSON or no object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of more digits than Python reads
        raise DataError(f"not valid JSON ({error})", path=path, line=line) from None
    if not isinstance(value, dict):
        raise DataError(f"wanted a JSON object, found {type(value).__name__}", path=path, line=line)
    return value


@contextmanager
def storage_errors(path: str | Path) -> Iterator[None]:
    """Turn "disk full" and "not permitted" from the operating system into a StorageError that names the path."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in _NO_SPACE:
            problem = f"{path}: the disk is full ({error.strerror}); nothing was left behind, make room and run again"
            raise StorageError(problem) from error
        if error.errno in _NO_PLACE:
            raise StorageError(f"{path}: can't be written ({error.strerror})") from error
        raise
    except Exception as error:
        if not _tells_of_a_full_disk(error, Path(path)):
            raise
        raise StorageError(f"{path}: the disk is full; what was whole stays, make room and run again") from error


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or the one that it was made from, says that there is no space left."""
    return any(isinstance(one, OSError) and one.errno in _NO_SPACE for one in (error, error.__cause__))


def _tells_of_a_full_disk(error: Exception, path: Path) -> bool:
    """Whether a library's own error means so: safetensors and torch write without Python's files."""
    said = str(error)
    if "os error 28" in said or "No space left on device" in said:
        return True
    there = next((one for one in (path, *path.absolute().parents) if one.exists()), Path("/"))
    return "PytorchStreamWriter" in said and shutil.disk_usage(there).free < _NEXT_TO_NOTHING


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when the block ends well.

    Raises:
        StorageError: if the disk is full or the place can't be written; the old file, if any, is kept.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with storage_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_lock(target: Path) -> Iterator[None]:
    """Keep other processes from writing a folder while the block runs; those that read it don't notice.

    Raises:
        StorageError: if another process is writing it.
    """
    target = target.resolve()
    try:
        lock = FileLock(target.with_name(f".{target.name}.lock"), blocking=False)
        lock.acquire()
    except Timeout:
        raise StorageError(f"{target}: another process is writing this folder; wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def new_folder(
    target: str | Path, *, overwrite: bool = False, marker: str = "manifest.json", kind: str | None = None
) -> Iterator[Path]:
    """Make a folder that appears under its name only when the block ends well.

    The block gets an empty folder under a temporary name beside the target. When it ends, every file in it is flushed
    and the folder takes the target's name; with `overwrite` it changes places with the old one in one step (on Linux
    and macOS; elsewhere there is an instant with no folder). When it fails, nothing of it stays.

    Args:
        target: the folder to make.
        overwrite: take the place of an existing folder.
        marker: a file by which a folder of this kind is known: one that holds things and lacks it, perhaps somebody's
            documents, is not overwritten.
        kind: what the marker, a manifest, must say that the folder is, in whatever version; None: anything.

    Raises:
        StorageError: if the target exists and `overwrite` is not given, another process is making the same folder, the
            disk is full, or the place can't be written.
    """
    target = Path(target).resolve()  # the folder that a link points to changes, the link stays
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with folder_lock(target):
            refuse_taken(target, overwrite, marker, kind)
            for stale in target.parent.glob(f".{glob_escape(target.name)}.{'[0-9a-f]' * 32}.new"):  # of killed builds
                shutil.rmtree(stale)
            staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}.new")
            staging.mkdir()
            try:
                yield staging
                for path in sorted(staging.rglob("*"), reverse=True):
                    _sync(path)
                _sync(staging)
                refuse_taken(target, overwrite, marker, kind)  # somebody may have put things there in the meantime
                if target.exists():
                    _exchange(staging, target)
                else:
                    os.rename(staging, target)
                _sync(target.parent)
            finally:
                shutil.rmtree(staging, ignore_errors=True)


def refuse_taken(target: Path, overwrite: bool, marker: str, kind: str | None = None) -> None:
    """Refuse what `new_folder` would, before the work is done whose result is to stand there.

    Raises:
        StorageError: it is a file, exists and isn't to be overwritten, or holds things and lacks the marker,
            or the marker tells of another kind.
    """
    if target.is_file():
        raise StorageError(f"{target}: is a file, wanted a folder; choose another name")
    if target.exists() and not overwrite:
        raise StorageError(f"{target}: exists already; choose another name, or overwrite it (--overwrite)")
    if target.exists() and any(target.iterdir()) and not (target / marker).is_file():
        raise StorageError(f"{target}: holds no {marker}, so it isn't overwritten; choose another name")
    if kind is not None and (target / marker).is_file():
        family = kind.split("/")[0]
        if f'"kind": "{family}/'.encode() not in (target / marker).read_bytes():
            raise StorageError(f"{target}: is no {family} folder, so it isn't overwritten; choose another name")


def glob_escape(name: str) -> str:
    """Escape what `Path.glob` would read as a pattern."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows can't open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Let two folders change names in one step; without help from the kernel, in two."""
    a, b = os.fsencode(new), os.fsencode(old)
    failed = -1
    if os.name == "posix":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "renameat2"):  # Linux
            failed = libc.renameat2(-100, a, -100, b, 2)  # AT_FDCWD, RENAME_EXCHANGE
        elif hasattr(libc, "renamex_np"):  # macOS
            failed = libc.renamex_np(a, b, 2)  # RENAME_SWAP
    if failed:
        aside = new.with_name(f"{new.name}.old")
        os.rename(old, aside)
        try:
            os.rename(new, old)
        except BaseException:
            os.rename(aside, old)
            raise
        os.rename(aside, new)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
