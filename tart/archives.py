"""Unpacking zip archives from strangers: nothing is written outside the folder, and nothing absurdly large."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tart.errors import DataError

MOST_TIMES = 200  # text packs to a tenth; a bomb to a thousandth


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack the one folder that an archive holds; its own name is left out.

    Args:
        archive: the zip file.
        folder: exists; gets what the archive's top folder holds.

    Raises:
        DataError: naming the archive and the member: it is no zip or damaged, a member has an absolute path or `..`, is
            a link, stands outside the one top folder, comes twice, or the whole would be implausibly large.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            _check(archive, members)
            for member in members:
                goal = folder.joinpath(*_parts(member)[1:])
                goal.parent.mkdir(parents=True, exist_ok=True)
                with content.open(member) as source, goal.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise DataError(f"no whole zip archive ({error})", path=archive) from None


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """Of a member's path; some archivers write backslashes between them."""
    return PurePosixPath(member.filename.replace("\\", "/")).parts


def _check(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    seen: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    tops: set[str] = set()
    for member in members:
        path = PurePosixPath(*_parts(member))
        problem = ""
        if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            problem = "points outside the archive's folder"
        elif stat.S_ISLNK(member.external_attr >> 16):
            problem = "is a link"
        elif member.flag_bits & 1:
            problem = "is encrypted"
        elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = "is packed in another way than deflate"
        elif len(path.parts) < 2:
            problem = "stands outside the archive's one top folder"
        elif path in seen or path in folders or not seen.isdisjoint(path.parents):
            problem = "comes twice, or is a file and a folder"
        if problem:
            raise DataError(f"refused: member {member.filename!r} {problem}", path=archive)
        seen.add(path)
        folders.update(path.parents)
        tops.add(path.parts[0])
    if len(tops) != 1:
        raise DataError(f"refused: wanted one top folder, found {len(tops)}", path=archive)
    total = sum(member.file_size for member in members)
    if total > MOST_TIMES * archive.stat().st_size:
        raise DataError(f"refused: would unpack to {total:,} bytes, over {MOST_TIMES} times its size", path=archive)
