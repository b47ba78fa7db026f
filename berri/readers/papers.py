"""Readers for collections of scientific papers."""

from __future__ import annotations

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import read_jsonl
from berri.record import Rows


@reader("scitldr")
def read_scitldr(files: SourceFiles) -> Rows:
    """Papers with `abstract`, `title` and one or more `tldr`."""
    for row in read_jsonl(files, fields={"title": "title", "sentences": "source", "tldr": "target"}):
        sentences = row.get("sentences") or []
        yield {**row, "abstract": " ".join(sentences), "sentences": None}
