"""Test collections to keep out of training data: the texts of BEIR, LoTTE and X² folders, and of TREC topic files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tart.errors import ConfigError, DataError
from tart.files import parse_json_object, read_lines

TEST_COLLECTIONS = (
    "ambigqa", "arguana", "bioasq", "climate-fever", "codesearchnet", "cosqa", "cqadupstack", "dbpedia-entity", "fever",
    "fiqa", "followir", "hotpotqa", "instructir", "linkso", "lotte", "msmarco", "nfcorpus", "nq", "perspectrum",
    "quora", "robust04", "scidocs", "scifact", "signal1m", "squad", "touche-2020", "trec-covid", "trec-news", "trecqa",
    "wikiqa",
)  # fmt: skip
"""Names of test collections in use. A card's `overlaps` are of these; one that is named in place of a folder keeps out
every source whose card lists it."""

_TOPIC = re.compile(r"<title>\s*(?:Topic:)?(.*?)\s*(?=<|$)", re.IGNORECASE | re.DOTALL)


class TestText(NamedTuple):
    """A text that training must not hold.

    Args:
        collection: the name of its folder.
        text_id: its id there.
        kind: "query" or "document".
        text: the text; a document's title and text are two.
    """

    collection: str
    text_id: str
    kind: str
    text: str


def folders_and_names(against: Sequence[str | Path]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """What is to be kept out: folders to compare with, and names of collections that aren't at hand.

    Raises:
        ConfigError: neither a folder nor a known name (near ones are suggested).
    """
    folders, names = [], []
    for one in against:
        if Path(one).is_dir():
            folders.append(Path(one))
        elif (name := str(one).casefold()) in TEST_COLLECTIONS:
            names.append(name)
        else:
            near = difflib.get_close_matches(name, TEST_COLLECTIONS, n=3) or TEST_COLLECTIONS
            raise ConfigError(f"{str(one)!r} is neither a folder nor a known name; known are {', '.join(near)}")
    return tuple(folders), tuple(sorted(set(names)))


def test_texts(folders: Sequence[str | Path]) -> Iterator[TestText]:
    """All texts of test collections.

    Args:
        folders: searched through: `corpus*.jsonl` and `queries*.jsonl` (BEIR), `collection.tsv` and `questions.*.tsv`
            (LoTTE), `topics*` (TREC: `<title>` fields, or `id<TAB>text` lines). Links are not followed.

    Raises:
        DataError: a folder that is missing or holds none of these, or a file that can't be read, by line.
    """
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise DataError("no such folder", path=folder)
        found = False
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
            name = path.parent.relative_to(folder).as_posix()
            name = folder.name if name == "." else name
            if re.fullmatch(r"(corpus|queries).*\.jsonl", path.name):
                found = True
                yield from _beir(path, name, "query" if path.name.startswith("queries") else "document")
            elif path.name == "collection.tsv" or re.fullmatch(r"questions\..*tsv", path.name):
                found = True
                yield from _lines(path, name, "document" if path.name == "collection.tsv" else "query")
            elif path.name.startswith("topics"):
                found = True
                yield from _topics(path, name)
        if not found:
            raise DataError(
                "holds no corpus.jsonl, queries.jsonl, collection.tsv, questions.*.tsv or topics*", path=folder
            )


def _beir(path: Path, name: str, kind: str) -> Iterator[TestText]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        row = parse_json_object(line, path, number)
        if "_id" not in row or "text" not in row:
            raise DataError("wanted _id and text", path=path, line=number)
        for text in (row["text"], row.get("title")):
            if isinstance(text, str) and text.strip():
                yield TestText(name, str(row["_id"]), kind, text)


def _lines(path: Path, name: str, kind: str) -> Iterator[TestText]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        text_id, tab, text = line.partition("\t")
        if not tab:
            raise DataError("wanted an id, a tab and a text", path=path, line=number)
        yield TestText(name, text_id, kind, text)


def _topics(path: Path, name: str) -> Iterator[TestText]:
    content = "\n".join(text for _, text in read_lines(path))
    if "<top" in content.casefold():
        for number, match in enumerate(_TOPIC.finditer(content), start=1):
            yield TestText(name, str(number), "query", match[1])
    else:
        yield from _lines(path, name, "query")
