"""Rows of datasets on the hub, read as a stream at a pinned revision; no code of theirs is run."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import row_of
from berri.record import Rows
from tart.errors import ConfigError, DataError, DownloadError

QUICK = 10.0  # seconds until the hub counts as out of reach


@reader("hub")
def read_hub(
    files: SourceFiles, *, fields: Mapping[str, str], where: Mapping[str, list[Any]] | None = None, **place: Any
) -> Rows:
    """Rows of a dataset.

    Args:
        files: takes bad rows.
        fields: field name -> column; a dot goes into objects and lists, as in JSON lines.
        where: column -> the values of the rows that are taken.
        place: as `hub_items` takes it.
    """
    for number, item in hub_items(**place):
        missing = [key for key in fields.values() if key.partition(".")[0] not in item]
        if missing:
            columns = ", ".join(sorted(item))
            raise DataError(f"no column {missing[0]!r}; found {columns}", path=files.folder / place["dataset"])
        yield from row_of(files, place["dataset"], number, item, fields, where or {})


def hub_items(
    *, dataset: str, revision: str, config: str = "", pattern: str = "", split: str = "train", most: int = 0
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(1-based number, item) of each row of a dataset.

    Args:
        dataset: its name on the hub, such as "abisee/cnn_dailymail"; or a folder, by its absolute path.
        revision: a commit or tag.
        config: which of its configurations; "" if it has one, or `pattern` is given.
        pattern: which of its files, instead of a configuration.
        split: which part.
        most: how many rows are read, from the start; 0: all.

    Raises:
        ConfigError: the revision is blank.
        DataError: there is no such configuration or split, or a file of it can't be parsed.
        DownloadError: the hub is switched off or out of reach, or has no such dataset.
    """
    if not revision.strip():
        raise ConfigError(f"{dataset}: wanted a revision, a commit of the dataset, so that its rows stay the same")
    is_folder = Path(dataset).is_absolute()
    if not is_folder:
        _reach(dataset)
    from datasets import load_dataset

    try:
        rows = load_dataset(
            dataset,
            config or None,
            data_files=pattern or None,
            split=split,
            revision=None if is_folder else revision,
            streaming=True,
        )
        yield from enumerate(rows.take(most) if most else rows, start=1)
    except ValueError as error:  # also what pyarrow raises for a damaged file
        raise DataError(f"can't be read ({_short(error)})", path=f"{dataset} at {revision}") from error
    except Exception as error:  # whatever the network or the library may bring
        raise DownloadError(f"{dataset} at {revision}: can't be had from the hub ({_short(error)})") from error


def _reach(dataset: str) -> None:
    """Fail at once where the hub's own client would try again for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise DownloadError(f"{dataset}: comes from the hub, which is switched off (HF_HUB_OFFLINE)")
    try:
        asked = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 (the hub's own address)
        urllib.request.urlopen(asked, timeout=QUICK).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # it answers
    except OSError as error:
        raise DownloadError(f"{dataset}: the hub can't be reached ({_short(error)})") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
