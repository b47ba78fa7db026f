"""Readers: the files of a source to rows. A card names its reader and gives the settings."""

from __future__ import annotations

from berri.readers.registry import READERS, Reader, find_reader, reader
from berri.readers.tables import read_csv, read_json, read_jsonl, read_lines_side_by_side

__all__ = [
    "READERS",
    "Reader",
    "find_reader",
    "read_csv",
    "read_json",
    "read_jsonl",
    "read_lines_side_by_side",
    "reader",
]
