"""Readers for texts in several versions: of other reading levels, split, simplified."""

from __future__ import annotations

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows
from tart.errors import DataError


@reader("levels")
def read_levels(files: SourceFiles) -> Rows:
    """OneStopEnglish: blocks of two lines, the harder sentence first; a line of stars ends a block."""
    names = {"ADV": "advanced", "INT": "intermediate", "ELE": "elementary"}
    rows: dict[str, dict[str, str | list[str] | None]] = {}
    for name in files.names:
        harder, easier = (names[part] for part in name.split(".")[0].split("-"))
        block: list[str] = []
        for number, line in [*files.lines(name), (0, "***")]:
            if not line.startswith("***"):
                block += [line.strip()] if line.strip() else []
                continue
            if len(block) == 2:
                rows.setdefault(f"{harder} {block[0]}", {harder: block[0]})[easier] = block[1]
            elif block:
                files.bad(f"wanted two sentences in a block, found {len(block)}", name, number or None)
            block = []
    yield from rows.values()


@reader("wikisplit")
def read_wikisplit(files: SourceFiles) -> Rows:
    """Tab-separated: a long sentence, and the two that replaced it with `<::::>` between them."""
    for name in files.names:
        for number, line in files.lines(name):
            long, tab, short = line.partition("\t")
            if not tab or "<::::>" not in short:
                files.bad("wanted a sentence, a tab, and two sentences with <::::> between them", name, number)
                continue
            yield {"long": long, "short": " ".join(part.strip() for part in short.split("<::::>"))}


@reader("parallel")
def read_parallel(files: SourceFiles, *, original: str, others: str, field: str) -> Rows:
    """Lines of one file, each with the same line of several others as the texts of one field.

    Args:
        files: the source's files.
        original: name of the file with the originals.
        others: pattern of the others.
        field: what their lines are called.

    Raises:
        DataError: if a file has another number of lines.
    """
    lines = [text for _, text in files.lines(original)]
    versions = {name: [text for _, text in files.lines(name)] for name in files.matching(others)}
    for name, texts in versions.items():
        if len(texts) != len(lines):
            raise DataError(f"has {len(texts):,} lines, {original} has {len(lines):,}", path=files.path(name))
    for number, line in enumerate(lines):
        yield {"original": line, field: [texts[number] for texts in versions.values()]}
