"""Downloading a BEIR collection: beir's own loader, a checksum, and an archive that can't write where it likes."""

from __future__ import annotations

import difflib
import errno
import hashlib
from pathlib import Path

from tart.archives import unpack_zip
from tart.errors import ConfigError, DataError, DownloadError, StorageError
from tart.files import new_folder

HOST = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"

MD5 = {
    "arguana": "8ad3e3c2a5867cdced806d6503f29b99",
    "climate-fever": "8b66f0a9126c521bae2bde127b4dc99d",
    "cqadupstack": "4e41456d7df8ee7760a7f866133bda78",
    "dbpedia-entity": "c2a39eb420a3164af735795df012ac2c",
    "fever": "5a818580227bfb4b35bb6fa46d9b6c03",
    "fiqa": "17918ed23cd04fb15047f73e6c3bd9d9",
    "hotpotqa": "f412724f78b0d91183a0e86805e16114",
    "msmarco": "444067daf65d982533ea17ebd59501e4",
    "nfcorpus": "a89dba18a62ef92f7d323ec890a0d38d",
    "nq": "d4d3d2e48787a744b6f6e691ff534307",
    "quora": "18fb154900ba42a600f84b839c173167",
    "scidocs": "38121350fc3a4d2f48850f6aff52e4a9",
    "scifact": "5f7d1de60b170fc8027bb7898e2efca1",
    "trec-covid": "ce62140cb23feb9becf6270d0d1fe6d1",
    "webis-touche2020": "46f650ba5a527fc69e0a6521c5a23563",
}
"""Archive name -> md5. Source: the table of data sets in beir 2.2.0's README."""


LICENSED = ("bioasq", "robust04", "signal1m", "trec-news")
"""Sets of BEIR that its authors may not give away."""


def fetch_with_beir(url: str, path: str) -> None:
    """Download a file with beir's own function, which shows a progress bar."""
    from beir.util import download_url

    download_url(url, path)


def download_beir(name: str, cache: str | Path) -> Path:
    """The folder of a BEIR collection, downloaded once.

    Args:
        name: as BEIR writes it, such as "scifact".
        cache: where collections are kept; each in a folder of its name, which appears when it is whole.

    Raises:
        ConfigError: no public BEIR collection of that name; near names are suggested.
        DownloadError: the network fails, the checksum doesn't fit, or the archive is broken or hostile; nothing stays.
        StorageError: the disk is full, or somebody else is downloading the same set.
    """
    if name in LICENSED:
        raise ConfigError(
            f"{name!r} can't be downloaded: its documents are licensed; beir's README tells how to get it"
        )
    if name not in MD5:
        near = difflib.get_close_matches(name, MD5, n=3, cutoff=0.4) or sorted(MD5)
        raise ConfigError(f"no public BEIR collection {name!r}; did you mean {', '.join(near)}?")
    target, url = Path(cache) / name, f"{HOST}/{name}.zip"
    if target.is_dir():
        return target
    with new_folder(target) as folder:
        archive = folder / f"{name}.zip"
        _fetch(url, archive)
        found = _md5(archive)
        if found != MD5[name]:
            size = archive.stat().st_size
            raise DownloadError(f"{url}: {size:,} bytes came with md5 {found}, wanted {MD5[name]}; try again")
        try:
            unpack_zip(archive, folder)
        except DataError as error:
            raise DownloadError(f"{url}: {error.problem}") from error
        archive.unlink()
        if not (folder / "corpus.jsonl").is_file() and not any(folder.glob("*/corpus.jsonl")):
            raise DownloadError(f"{url}: the archive holds neither corpus.jsonl nor folders with one")
    return target


def _fetch(url: str, archive: Path) -> None:
    try:
        fetch_with_beir(url, str(archive))
    except StorageError:
        raise
    except Exception as error:  # whatever the network or the library may bring
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = " ".join(str(error).split())[:160]
        advice = "fetch it elsewhere, unpack it, and give its folder with --data"
        raise DownloadError(f"{url}: can't be downloaded ({reason}); {advice}") from error


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
