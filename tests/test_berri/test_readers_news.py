"""Reader of news articles: rows by hand, a broken article told."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError

LEAD = "A town by the sea has opened the longest pier of the whole country, its mayor said."


def archive(folder: Path, **articles: bytes) -> SourceFiles:
    with tarfile.open(folder / "raw.tar", "w") as packed:
        for name, content in articles.items():
            info = tarfile.TarInfo(f"bbc/travel/{name}.txt")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return SourceFiles(folder, ["raw.tar"])


def test_the_first_sentence_stands_apart_from_the_rest(tmp_path: Path) -> None:
    files = archive(tmp_path, a=f"Pier opens\n\n{LEAD}\n\nIt cost much.\n\nShips can land.\n".encode())
    assert list(find_reader("bbc")(files)) == [
        {
            "headline": "Pier opens",
            "article": f"{LEAD}\nIt cost much.\nShips can land.",
            "lead": LEAD,
            "rest": "It cost much.\nShips can land.",
        }
    ]


def test_an_opening_of_one_line_or_two_sentences_is_no_lead(tmp_path: Path) -> None:
    files = archive(
        tmp_path, a=b"Pier opens\n\nAt the sea\n\nIt cost much.", b=f"Two\n\n{LEAD} It cost much.\n\nX.".encode()
    )
    assert [(row["headline"], row["lead"], row["rest"]) for row in find_reader("bbc")(files)] == [
        ("Pier opens", None, None),
        ("Two", None, None),
    ]


def test_an_article_in_latin_1_keeps_its_pound_sign(tmp_path: Path) -> None:
    (row,) = find_reader("bbc")(archive(tmp_path, a=b"Prices\n\nIt cost \xa35."))
    assert row["article"] == "It cost £5."


def test_an_article_without_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"raw\.tar/bbc/travel/a\.txt: wanted a headline and an article"):
        list(find_reader("bbc")(archive(tmp_path, a=b"Pier opens\n")))
