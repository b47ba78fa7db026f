"""Finding the files of a source: in a mirror, in the cache, or at their address; always checked against the card."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from berri.card import Source, SourceFile
from berri.files import MOST_BYTES, OnBad, SourceFiles, refuse
from tart.errors import DataError, DownloadError, TartError
from tart.files import atomic_write, sha256_file
from tart.models.packaged import cache_folder

TRIES, WAIT, TIMEOUT = 3, 2.0, 30.0  # seconds; the wait doubles from try to try
HUB = Path("huggingface.co/datasets")  # what errors call the place of rows that have no file of ours

_hashed: dict[Path, tuple[tuple[int, int], str]] = {}


def locate(source: Source, mirror: Path | None, download: bool, on_bad: OnBad = refuse) -> SourceFiles:
    """The files of a source, each by itself: from the mirror if it is there, else from the cache.

    Args:
        source: its facts.
        mirror: a folder with one folder for each source; None if there is none.
        download: whether files that are neither in the mirror nor in the cache may come from their addresses. They
            are kept in the cache.
        on_bad: gets each bad row.

    Raises:
        DataError: a file has another sha256 than the card wants.
        DownloadError: a file is neither here nor to be had; or the source is on the hub and nothing is downloaded.
    """
    if not source.files:
        if not download:
            raise DownloadError(f"{source.name} comes from the hub, and nothing is downloaded")
        return SourceFiles(HUB, (), on_bad)
    names = [_safe_name(file) for file in source.files]
    cache = cache_folder() / "sources" / source.name
    places = [cache] if mirror is None else [mirror / source.name, cache]
    found: dict[str, Path] = {}
    for file in source.files:
        found[file.name] = next((one for place in places if (one := place / file.name).is_file()), cache / file.name)
        if not found[file.name].is_file():
            _download(file, found[file.name], places[0] / file.name, download)
    for file in source.files:
        _check(found[file.name], file.sha256)
    return SourceFiles(places[0], names, on_bad, found)


def _safe_name(file: SourceFile) -> str:
    name = PurePosixPath(file.name)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"the file name {file.name!r} points outside the source's folder")
    return file.name


def _check(path: Path, wanted: str) -> None:
    """Hash a file, once in a run as long as its size and time stay."""
    status = path.stat()
    state = (status.st_size, status.st_mtime_ns)
    if path not in _hashed or _hashed[path][0] != state:
        _hashed[path] = (state, sha256_file(path))
    found = _hashed[path][1]
    if found != wanted:
        problem = f"has the sha256 {found}, the card wants {wanted}: another revision, or damaged"
        raise DataError(f"{problem}; put the right file there, or remove it to have it downloaded", path=path)


def _download(file: SourceFile, path: Path, looked_for: Path, download: bool) -> None:
    if not download:
        raise DownloadError(f"{looked_for}: no such file, and nothing is downloaded")
    if not file.url:
        raise DownloadError(f"{looked_for}: no such file, and it has no address of its own; it has to be in a mirror")
    for attempt in range(TRIES):
        if attempt:
            time.sleep(WAIT * 2 ** (attempt - 1))
        try:
            _fetch(file, path)
            return
        except TartError:
            raise
        except (OSError, http.client.HTTPException) as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if final or attempt == TRIES - 1:
                advice = "put the file into a mirror, or try again"
                raise DownloadError(f"{file.url}: can't be downloaded ({error}); {advice}") from error


def _fetch(file: SourceFile, path: Path) -> None:
    """One try. The file takes its name only when all its bytes came and have the right hash."""
    digest = hashlib.sha256()
    with open_url(file.url) as answer, atomic_write(path) as target:
        _copy(answer, target, digest, file.url)
        if digest.hexdigest() != file.sha256:
            problem = f"came with the sha256 {digest.hexdigest()}, the card wants {file.sha256}; it was not kept"
            raise DataError(problem, path=file.url)


def _copy(answer: Any, target: BinaryIO, digest: Any, url: str) -> None:
    length = answer.headers.get("Content-Length")
    done = 0
    while block := answer.read(1 << 20):
        done += len(block)
        if done > MOST_BYTES:
            raise DownloadError(f"{url}: has over {MOST_BYTES:,} bytes; it was not kept")
        digest.update(block)
        target.write(block)
    if length is not None and done != int(length):
        raise ConnectionError(f"only {done:,} of {int(length):,} bytes came")


def open_url(url: str) -> Any:
    """Open an https address; redirects to anything else are refused.

    Raises:
        DownloadError: if the address, or where it leads, isn't https.
        OSError: if the network fails.
    """
    if not url.startswith("https://"):
        raise DownloadError(f"{url}: wanted an https address")
    return urllib.request.build_opener(_HttpsOnly).open(url, timeout=TIMEOUT)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise DownloadError(f"{req.full_url}: leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
