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


@reader("scisummnet")
def read_scisummnet(files: SourceFiles) -> Rows:
    """Papers whose summary is title, `abstract` and more in one: taken apart into `title` and `reception`."""
    for number, row in enumerate(read_jsonl(files, fields={"abstract": "q", "summary": "d"}), start=1):
        abstract, summary = str(row["abstract"] or ""), str(row["summary"] or "")
        title, found, reception = summary.partition(abstract) if abstract else ("", "", "")
        if not found:
            files.bad("wanted an abstract, and a summary that holds it", files.names[0], number, "d")
            continue
        yield {"abstract": abstract, "title": title.strip(), "reception": reception.strip()}
