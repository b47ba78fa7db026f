"""manifest.json: the facts of a folder and a checksum of each of its parts, written last.

A folder without a manifest is not finished. The manifest carries a checksum of itself, so that a flipped byte in it is
found like any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tart.errors import DataError
from tart.files import atomic_write, parse_json_object, read_lines, sha256_file, sha256_once

NAME = "manifest.json"


def _self_checksum(facts: dict[str, Any]) -> str:
    rest = {key: value for key, value in facts.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _part(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    # The checksum is of what will be read: number keys become strings, which sort differently.
    manifest = json.loads(json.dumps(manifest))
    manifest["sha256"] = _self_checksum(manifest)
    with atomic_write(folder / NAME) as file:
        file.write((json.dumps(manifest, indent=2) + "\n").encode())


def write_manifest(folder: Path, kind: str, facts: dict[str, Any]) -> None:
    """Write `folder/manifest.json`: the facts, and size and sha256 of every other file that the folder holds now.

    Args:
        folder: a finished folder.
        kind: what the folder is, with the version of its layout, such as "tart-index/1".
        facts: JSON-able; must not use the keys "kind", "parts" and "sha256".
    """
    parts = {
        path.relative_to(folder).as_posix(): _part(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / NAME
    }
    _write(folder, {"kind": kind, **facts, "parts": parts})


def replace_manifest(
    folder: Path, manifest: dict[str, Any], *, added: Sequence[str] = (), removed: Sequence[str] = ()
) -> None:
    """Write the manifest of a finished folder anew, in one step; of parts that stay the checksums stay too.

    Args:
        folder: a finished folder.
        manifest: what `read_manifest` gave, with other facts.
        added: names of parts that have come.
        removed: names of parts that will go.
    """
    parts = {name: facts for name, facts in manifest["parts"].items() if name not in removed}
    _write(folder, {**manifest, "parts": {**parts, **{name: _part(folder / name) for name in added}}})


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """Read a manifest and check it: its own checksum, its kind, and that each part is there in its full size.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    path = folder / NAME
    if not folder.is_dir():
        raise DataError("no such folder", path=folder)
    if not path.is_file():
        raise DataError(f"no finished {kind.split('/')[0]} folder: {NAME} is missing", path=folder)
    manifest = parse_json_object("\n".join(text for _, text in read_lines(path)), path)
    if manifest.get("sha256") != _self_checksum(manifest):
        raise DataError("damaged: its checksum doesn't fit its content; build the folder again", path=path)
    if manifest.get("kind") != kind:
        raise DataError(f"wanted {kind!r}, found {manifest.get('kind')!r}", path=path, field="kind")
    for name, facts in manifest["parts"].items():
        part = folder / name
        size = part.stat().st_size if part.is_file() else None
        if size != facts["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise DataError(f"damaged: {found}, wanted {facts['bytes']:,}; build the folder again", path=part)
    return manifest


def verify_parts(folder: Path, manifest: dict[str, Any]) -> None:
    """Read every part and compare its sha256.

    Raises:
        DataError: naming the first part that differs.
    """
    for name, facts in manifest["parts"].items():
        if sha256_once(folder / name) != facts["sha256"]:
            raise DataError("damaged: its sha256 is not the manifest's; build the folder again", path=folder / name)
