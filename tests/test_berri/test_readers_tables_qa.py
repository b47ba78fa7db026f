"""Readers of tables with questions and statements, on tables made here."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError


def rows(name: str, folder: Path, names: list[str], **settings: Any) -> list[dict[str, Any]]:
    found = find_reader(name)(SourceFiles(folder, names), **settings)
    return [{key: value for key, value in row.items() if value} for row in found]


def archive(path: Path, members: dict[str, str]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))


def facts(folder: Path, content: object) -> list[dict[str, Any]]:
    archive(folder / "raw.tar", {"all_csv/t1.csv": "team#goals\nred#3\nblue#1\n"})
    (folder / "a.json").write_text(json.dumps(content))
    return rows("tabfact", folder, ["a.json", "raw.tar"], tables="raw.tar")


def test_statements_on_a_table_are_sorted_into_true_and_false(tmp_path: Path) -> None:
    assert facts(tmp_path, {"t1.csv": [["red has 3", "blue wins", "blue has 1"], [1, 0, 1], "the cup"]}) == [
        {
            "table": "team | goals\nred | 3\nblue | 1",
            "title": "the cup",
            "statement": ["red has 3", "blue wins", "blue has 1"],
            "true": ["red has 3", "blue has 1"],
            "false": ["blue wins"],
        }
    ]


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"t2.csv": [["x"], [1], "t"]}, "raw.tar holds no table 't2.csv'"),
        ({"t1.csv": [["x", "y"], [1], "t"]}, "wanted statements, as many labels, and a title"),
        ({"t1.csv": [["x"], [1]]}, "wanted statements, as many labels, and a title"),
        ({"t1.csv": None}, "wanted statements, as many labels, and a title"),
    ],
)
def test_a_broken_table_of_statements_is_told_by_its_number(tmp_path: Path, second: object, problem: str) -> None:
    first = {"t0.csv": [["x"], [1], "t"]}
    archive(tmp_path / "raw.tar", {"t0.csv": "a#b", "t1.csv": "a#b"})
    (tmp_path / "a.json").write_text(json.dumps(first | second if isinstance(second, dict) else first))
    with pytest.raises(DataError, match=rf"a\.json:2: {problem}"):
        rows("tabfact", tmp_path, ["a.json", "raw.tar"], tables="raw.tar")


def test_statements_that_are_no_json_are_refused(tmp_path: Path) -> None:
    archive(tmp_path / "raw.tar", {"t0.csv": "a#b"})
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json: not valid JSON"):
        rows("tabfact", tmp_path, ["a.json", "raw.tar"], tables="raw.tar")


TABLES = {"csv/2-csv/7.tsv": "Year\tWinner\n2001\tA\\nB\n", "page/2-page/7.json": '{"title": "The Winter Cup"}'}


def test_a_question_gets_its_table_and_the_page_this_comes_from(tmp_path: Path) -> None:
    archive(tmp_path / "raw.tar", TABLES)
    asked = "".join(f"nt-0\t{question}\tcsv/2-csv/7.csv\tA\n" for question in ("who won?", "who won in winter 2001?"))
    (tmp_path / "q.tsv").write_text(f"id\tutterance\tcontext\ttargetValue\n{asked}")
    found = rows("table-questions", tmp_path, ["q.tsv", "raw.tar"], questions="q.tsv", tables="raw.tar")
    same = {"table": "Year | Winner\n2001 | A B", "page": "The Winter Cup"}
    assert found == [
        {"question": "who won?", **same},
        {"question": "who won in winter 2001?", **same, "named": "The Winter Cup"},
    ]


@pytest.mark.parametrize("line", ["nt-0\twho won?", "nt-0\twho won?\tcsv/9-csv/9.csv\tA"])
def test_a_question_without_its_table_is_told_by_line(tmp_path: Path, line: str) -> None:
    archive(tmp_path / "raw.tar", TABLES)
    (tmp_path / "q.tsv").write_text(f"id\tutterance\tcontext\ttargetValue\n{line}\n")
    with pytest.raises(DataError, match=r"q\.tsv:2: wanted a question and the path of a table in raw\.tar"):
        rows("table-questions", tmp_path, ["q.tsv", "raw.tar"], questions="q.tsv", tables="raw.tar")
