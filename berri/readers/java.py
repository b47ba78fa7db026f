"""Reader for methods and their comments in two files of numbered lines."""

from __future__ import annotations

import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows


@reader("numbered-code")
def read_numbered_code(files: SourceFiles, *, parts: list[str]) -> Rows:
    """`number<TAB>text` in `PART.token.nl` and `PART.token.code`: a `comment` and the `method` of the same number.

    Args:
        files: the source's files.
        parts: their names before the first dot.
    """
    for part in parts:
        methods: dict[str, str] = {}
        for kind in ("code", "nl"):
            name = f"{part}.token.{kind}"
            for number, line in files.lines(name):
                key, tab, text = line.partition("\t")
                if not tab:
                    files.bad("wanted a number, a tab and a text", name, number)
                elif kind == "code":
                    methods[key] = text.strip()
                elif key not in methods:
                    files.bad(f"no method has number {key!r}", name, number)
                else:
                    yield {"comment": re.sub(r" ([.,;:?!)])", r"\1", text.strip()), "method": methods[key]}
