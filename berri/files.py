"""SourceFiles: the files of one source, opened safely, whatever they are packed in."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from tart.errors import DataError
from tart.files import decode_lines

MOST_BYTES = 1 << 30  # of one member of an archive, or one packed file: what is larger is a bomb

OnBad = Callable[[DataError], None]


def refuse(error: DataError) -> None:
    """Stop at the first bad row."""
    raise error


class SourceFiles:
    """The files of a source for its reader.

    Args:
        folder: where they lie.
        names: their names below the folder, in the card's order.
        on_bad: gets each bad row as a DataError; it raises it, or counts it so that reading goes on.
        elsewhere: where some of them lie instead, by name.

    Attributes:
        opened: name of the file that was opened last; "" before.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], on_bad: OnBad = refuse, elsewhere: Mapping[str, Path] | None = None
    ) -> None:
        self.folder, self.names, self.opened = folder, tuple(names), ""
        self._on_bad, self._elsewhere = on_bad, elsewhere or {}

    def path(self, name: str) -> Path:
        """Where a file lies."""
        return self._elsewhere.get(name, self.folder / name)

    def bad(self, problem: str, name: str, line: int | None = None, field: str | None = None) -> None:
        """Tell that a row can't be used: by file, 1-based line (or number of the item) and field."""
        self._on_bad(DataError(problem, path=self.path(name), line=line, field=field))

    def matching(self, pattern: str = "*") -> list[str]:
        """The source's files whose name fits a pattern such as "*_train.csv".

        Raises:
            DataError: if none does: the card and its reader's settings disagree.
        """
        found = [name for name in self.names if PurePosixPath(name).match(pattern)]
        if not found:
            raise DataError(f"no file fits {pattern!r}; the card lists {', '.join(self.names)}", path=self.folder)
        return found

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file's bytes; `.gz` and `.bz2` are unpacked on the way.

        Raises:
            DataError: if it is missing, truncated or damaged.
        """
        path = self.path(name)
        self.opened = name
        openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
        try:
            with openers.get(path.suffix, open)(path, "rb") as file:
                yield cast(BinaryIO, _Limited(file, path)) if path.suffix in openers else file
        except FileNotFoundError:
            raise DataError("no such file", path=path) from None
        except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
            raise DataError(f"truncated or damaged ({error})", path=path) from None

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """(1-based number, text) of each line."""
        with self.open(name) as file:
            yield from decode_lines(file, self.path(name))

    def text(self, name: str) -> str:
        """A whole file.

        Raises:
            DataError: if it isn't UTF-8.
        """
        with self.open(name) as file:
            return self.decode(file.read(), name)

    def json(self, name: str) -> Any:
        """A whole JSON file.

        Raises:
            DataError: if it isn't UTF-8 or no valid JSON.
        """
        return self.parse_json(self.text(name), name)

    def parse_json(self, text: str, name: str) -> Any:
        """JSON text, of a file or of a member of an archive.

        Raises:
            DataError: naming the file.
        """
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not valid JSON ({error})", path=self.path(name)) from None

    def decode(self, content: bytes, name: str) -> str:
        """Bytes as UTF-8 text without a BOM.

        Raises:
            DataError: naming the file.
        """
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8 (byte {error.start + 1})", path=self.path(name)) from None

    def members(self, name: str, pattern: str = "*") -> Iterator[tuple[str, bytes]]:
        """(path inside, content) of each file in a tar archive or a wheel that fits a pattern, in the archive's order.

        Nothing is written to the disk.

        Raises:
            DataError: naming the archive and the member: `..` or an absolute path, a link or a device, too large; or
                the archive is damaged.
        """
        path = self.path(name)
        self.opened = name
        try:
            yield from (_in_wheel if path.suffix == ".whl" else _in_tar)(path, pattern)
        except FileNotFoundError:
            raise DataError("no such file", path=path) from None
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            raise DataError(f"no whole archive ({error})", path=path) from None


def _in_tar(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isdir():
                continue
            _check_member(path, member.name, member.size, is_file=member.isreg())
            file = archive.extractfile(member)
            if file is not None and PurePosixPath(member.name).match(pattern):
                yield member.name, file.read()


def _in_wheel(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            is_file = not stat.S_ISLNK(member.external_attr >> 16)
            _check_member(path, member.filename, member.file_size, is_file=is_file)
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f"refused: member {member.filename!r} is encrypted or packed unusually", path=path)
            if PurePosixPath(member.filename).match(pattern):
                with archive.open(member) as file:
                    yield member.filename, file.read(member.file_size)  # no more than it says, whatever it holds


def _check_member(path: Path, name: str, size: int, *, is_file: bool) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"refused: member {name!r} points outside the archive", path=path)
    if not is_file:
        raise DataError(f"refused: member {name!r} is a link or a device", path=path)
    if size > MOST_BYTES:
        raise DataError(f"refused: member {name!r} has {size:,} bytes", path=path)


class _Limited(io.RawIOBase):
    """A packed file that refuses to grow without end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._left = file, path, MOST_BYTES

    def readable(self) -> bool:
        return True

    def _count(self, block: bytes) -> bytes:
        self._left -= len(block)
        if self._left < 0:
            raise DataError(f"refused: unpacks to over {MOST_BYTES:,} bytes", path=self._path)
        return block

    def read(self, size: int = -1) -> bytes:
        return self._count(self._file.read(MOST_BYTES + 1 if size is None or size < 0 else size))

    def readline(self, size: int | None = -1) -> bytes:
        return self._count(self._file.readline(-1 if size is None else size))
