"""Test collections to keep out of training data: the texts of BEIR, LoTTE and X² folders, and of TREC topic files."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tart.errors import ConfigError, DataError
from tart.files import parse_json_object, read_lines, sha256_file

TEST_COLLECTIONS = (
    "ambigqa", "arguana", "bioasq", "climate-fever", "codesearchnet", "cosqa", "cqadupstack", "dbpedia-entity", "fever",
    "fiqa", "followir", "hotpotqa", "instructir", "linkso", "lotte", "msmarco", "nfcorpus", "nq", "perspectrum",
    "quora", "robust04", "scidocs", "scifact", "signal1m", "squad", "touche-2020", "trec-covid", "trec-news", "trecqa",
    "wikiqa",
)  # fmt: skip
"""Names of test collections in use. A card's `overlaps` are of these; one that is named in place of a folder keeps out
every source whose card lists it."""

_KNOWN = re.compile(r"(corpus|queries).*\.jsonl|collection\.tsv|questions\..*tsv|topics.*")
_PACKED = {".gz", ".bz2", ".xz", ".zst", ".zip"}
_TOPIC = re.compile(r"<top(?:ic)?\b", re.IGNORECASE)
_FIELD = re.compile(r"<(?:title|query|question)>\s*(?:Topic:)?(.*?)\s*(?=<|$)", re.IGNORECASE | re.DOTALL)


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


def test_texts(folders: Sequence[Path]) -> Iterator[TestText]:
    """All texts of test collections.

    Args:
        folders: searched through: `corpus*.jsonl` and `queries*.jsonl` (BEIR), `collection.tsv` and `questions.*.tsv`
            (LoTTE), `topics*` (TREC: `<title>`, `<query>` and `<question>` fields, or `id<TAB>text` lines).

    Raises:
        DataError: a folder that is missing or holds none of these; a link, or one of these that is packed, which would
            not be compared; a file that holds something, but no text; or one that can't be read, by line.
    """
    for folder in folders:
        for path in _files(folder):
            name = path.parent.relative_to(folder).as_posix()
            name = folder.name if name == "." else name
            if path.name.startswith("topics"):
                texts = _topics(path, name)
            elif path.suffix == ".jsonl":
                texts = _beir(path, name, "query" if path.name.startswith("queries") else "document")
            else:
                texts = _lines(path, name, "document" if path.name == "collection.tsv" else "query")
            found = False
            for one in texts:
                found = True
                yield one
            if not found and path.stat().st_size:  # a distractor's queries are an empty file
                raise DataError("holds no text to compare with; mend it, or take it away", path=path)


def against_key(folders: Sequence[Path]) -> str:
    """What changes with any text of test collections.

    Raises:
        DataError: as `test_texts`, but for what stands in the files.
    """
    files = [(path.relative_to(folder).as_posix(), path) for folder in folders for path in _files(folder)]
    digests = sorted(f"{name} {sha256_file(path)}" for name, path in files)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    """The files of a folder that hold texts of test collections."""
    if not folder.is_dir():
        raise DataError("no such folder", path=folder)
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and (path.is_dir() or _KNOWN.fullmatch(path.name)):
            raise DataError(
                "is a link, and links are not followed; name its target with --against, or put a copy there", path=path
            )
        packed = path.suffix in _PACKED and _KNOWN.fullmatch(path.stem)
        if packed and path.is_file() and not path.with_suffix("").is_file():
            raise DataError("is packed; unpack it", path=path)
        if path.is_file() and not packed and _KNOWN.fullmatch(path.name):
            files.append(path)
    if not files:
        raise DataError("holds no corpus.jsonl, queries.jsonl, collection.tsv, questions.*.tsv or topics*", path=folder)
    return files


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
        if text.strip():
            yield TestText(name, text_id, kind, text)


def _topics(path: Path, name: str) -> Iterator[TestText]:
    content = "\n".join(text for _, text in read_lines(path))
    topics = _TOPIC.split(content)[1:]
    for number, topic in enumerate(topics, start=1):
        yield from (TestText(name, str(number), "query", match[1]) for match in _FIELD.finditer(topic) if match[1])
    if not topics:
        yield from _lines(path, name, "query")
