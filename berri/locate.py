"""Finding the files of a source: in a mirror, in the cache, or at their address; always checked against the card."""

from __future__ import annotations

import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from berri.card import Source, SourceFile
from berri.files import MOST_BYTES, OnBad, SourceFiles, refuse
from tart.errors import DataError, DownloadError
from tart.files import atomic_write, sha256_file
from tart.models.packaged import cache_folder

TRIES, WAIT, TIMEOUT = 3, 2.0, 30.0  # seconds


def locate(source: Source, mirror: Path | None, download: bool, on_bad: OnBad = refuse) -> SourceFiles:
    """The files of a source.

    Args:
        source: its facts.
        mirror: a folder with one folder for each source; None if there is none.
        download: whether what the mirror lacks may come from its address; it is kept in the cache.
        on_bad: gets each bad row.

    Raises:
        DataError: a file of the mirror has another sha256 than the card wants.
        DownloadError: a file is neither in the mirror nor to be had.
    """
    names = [file.name for file in source.files]
    here = None if mirror is None else mirror / source.name
    if here is not None and (here.is_dir() or not download):
        for file in source.files:
            _check(here / file.name, file)
        return SourceFiles(here, names, on_bad)
    cache = cache_folder() / "sources" / source.name
    for file in source.files:
        if not (cache / file.name).is_file():
            _download(file, cache / file.name, download)
        _check(cache / file.name, file)
    return SourceFiles(cache, names, on_bad)


def _check(path: Path, file: SourceFile) -> None:
    if not path.is_file():
        raise DownloadError(f"{path}: no such file")
    found = sha256_file(path)
    if found != file.sha256:
        raise DataError(
            f"has the sha256 {found}, the card wants {file.sha256}: another revision, or damaged", path=path
        )


def _download(file: SourceFile, path: Path, download: bool) -> None:
    if not file.url:
        raise DownloadError(f"{file.name} has no address of its own; put it into a mirror (--mirror)")
    if not download:
        raise DownloadError(f"{file.name} is not here, and nothing is downloaded")
    for attempt in range(TRIES):
        try:
            answer = urllib.request.urlopen(file.url, timeout=TIMEOUT)  # noqa: S310 (cards take https addresses only)
            with answer, atomic_write(path) as target:
                _copy(answer, target, file)
            break
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            if attempt == TRIES - 1 or isinstance(error, urllib.error.HTTPError):
                raise DownloadError(f"{file.url}: can't be downloaded ({error})") from error
            time.sleep(WAIT * 2**attempt)
    found = sha256_file(path)
    if found != file.sha256:
        path.unlink()
        raise DownloadError(f"{file.url}: came with the sha256 {found}, the card wants {file.sha256}")


def _copy(answer: BinaryIO, target: BinaryIO, file: SourceFile) -> None:
    shutil.copyfileobj(answer, target, 1 << 20)
    if target.tell() > MOST_BYTES:
        raise DownloadError(f"{file.url}: has over {MOST_BYTES:,} bytes")
