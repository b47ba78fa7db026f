"""Reader for news articles packed in an archive, one a file."""

from __future__ import annotations

import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows

_SHORTEST_LEAD, _LONGEST_LEAD = 60, 300  # characters: less is a dateline or a heading
_NEXT_SENTENCE = re.compile(r"[a-z][.!?][\"']? [A-Z\"']")


@reader("bbc")
def read_bbc(files: SourceFiles) -> Rows:
    """BBC news: `headline`, the whole `article`, its `lead` (first sentence, set apart) and the `rest` after it."""
    for path, content in files.members(files.names[0], "*.txt"):
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("latin-1")  # one of the articles: its pound sign
        headline, *paragraphs = [line.strip() for line in text.splitlines() if line.strip()] or [""]
        if not paragraphs:
            files.bad("wanted a headline and an article", f"{files.names[0]}/{path}")
            continue
        lead, rest = paragraphs[0], paragraphs[1:]
        fits = bool(rest) and _SHORTEST_LEAD <= len(lead) <= _LONGEST_LEAD and not _NEXT_SENTENCE.search(lead)
        yield {
            "headline": headline,
            "article": "\n".join(paragraphs),
            "lead": lead if fits else None,
            "rest": "\n".join(rest) if fits else None,
        }
