"""Reader of labelled pairs: partners gathered by text, right ones never among the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError

SETTINGS: dict[str, Any] = {
    "first": "claim",
    "second": "text",
    "label": "label",
    "names": {"yes": ["support", "evidence"], "no": ["oppose", "evidence"], "none": ["neutral"]},
    "right": ["support", "oppose", "evidence"],
}


def source(folder: Path, text: str) -> SourceFiles:
    (folder / "a.csv").write_text(text)
    return SourceFiles(folder, ["a.csv"])


def test_partners_are_gathered_by_label_and_right_ones_are_not_wrong_too(tmp_path: Path) -> None:
    table = "claim,text,label,by\nA, one,yes,x\nA,two,no,y\nB,three,none,z\nA,two,none,x\nA,four,none,x\n"
    rows = list(find_reader("by-label")(source(tmp_path, table), **SETTINGS, keep={"who": "by"}))
    assert rows == [
        {
            "first": "A",
            "who": ["x"],
            "support": ["one"],
            "oppose": ["two"],
            "evidence": ["one", "two"],
            "neutral": ["four"],
        },
        {"first": "B", "who": ["z"], "neutral": ["three"]},
    ]


def test_an_unknown_label_and_a_short_row_are_told(tmp_path: Path) -> None:
    read = find_reader("by-label")
    with pytest.raises(DataError, match=r"a\.csv: field 'label': unknown label 'perhaps'; known are yes, no, none"):
        list(read(source(tmp_path, "claim,text,label\nA,one,perhaps\n"), **SETTINGS))
    with pytest.raises(DataError, match=r"a\.csv:3: field 'label': has 2 columns, wanted 3"):
        list(read(source(tmp_path, "claim,text,label\nA,one,yes\nB,two\n"), **SETTINGS))
