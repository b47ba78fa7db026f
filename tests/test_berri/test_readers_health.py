"""Readers of health questions and medical abstracts: rows worked out by hand, and what is broken told by file."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
TEXTS = f"<sst {MAIN}><si><t>Asked</t></si><si><t>Told</t></si><si><r><t>Is it </t></r><r><t>so?</t></r></si></sst>"
ROWS = (
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c></row>'
    '<row r="2"><c r="A2" t="s"><v>2</v></c><c r="C2" t="inlineStr"><is><t>Yes_x000D_</t></is></c></row>'
    '<row r="3"><c r="A3"/></row>'
)


def workbook(folder: Path, texts: str = TEXTS, rows: str = ROWS) -> SourceFiles:
    with zipfile.ZipFile(folder / "a.xlsx", "w") as archive:
        archive.writestr("xl/sharedStrings.xml", texts)
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>")
    return SourceFiles(folder, ["a.xlsx"])


def test_a_spreadsheet_gives_the_cells_under_its_titles(tmp_path: Path) -> None:
    rows = find_reader("xlsx")(workbook(tmp_path), fields={"question": "Asked", "answer": "Told"})
    assert list(rows) == [{"question": "Is it so?", "answer": "Yes"}]


def test_a_damaged_spreadsheet_a_missing_column_and_a_document_type_are_refused(tmp_path: Path) -> None:
    read = find_reader("xlsx")
    with pytest.raises(DataError, match=r"a\.xlsx:1: no column 'Why'; found Asked, Told"):
        list(read(workbook(tmp_path), fields={"x": "Why"}))
    with pytest.raises(DataError, match=r"a\.xlsx: refused: declares a document type"):
        list(read(workbook(tmp_path, texts='<!DOCTYPE a [<!ENTITY b "c">]>' + TEXTS), fields={"x": "Asked"}))
    with pytest.raises(DataError, match=r"a\.xlsx:1: not valid XML"):
        list(read(workbook(tmp_path, rows="<row>"), fields={"x": "Asked"}))
    (tmp_path / "a.xlsx").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"a\.xlsx: no whole spreadsheet"):
        list(read(SourceFiles(tmp_path, ["a.xlsx"]), fields={"x": "Asked"}))


def test_answers_are_right_from_grade_three_on_and_an_unknown_grade_is_told(tmp_path: Path) -> None:
    answers = "".join(
        f'<Answer ReferenceScore="{grade}"><AnswerText>{text}</AnswerText></Answer>'
        for grade, text in (("4", "rest\n  well"), ("3", "drink"), ("2", "sing"), ("high", "run"))
    )
    question = f"<Question><QuestionText>What  helps?</QuestionText><AnswerList>{answers}</AnswerList></Question>"
    (tmp_path / "q.xml").write_text(f"<Set>{question}</Set>")
    told: list[DataError] = []
    rows = list(find_reader("mediqa-answers")(SourceFiles(tmp_path, ["q.xml"], told.append)))
    assert rows == [{"question": "What helps?", "answer": ["rest well", "drink"], "wrong": ["sing"]}]
    assert [str(one).partition("q.xml")[2] for one in told] == [
        ":1: field 'ReferenceScore': wanted a grade from 1 to 4, found 'high'"
    ]


def test_entailed_questions_are_the_same_others_not_and_equal_ones_are_left_out(tmp_path: Path) -> None:
    pairs = (("true", "I am ill. What now?", "What now?"), ("false", "Why me?", "What now?"), ("true", "So?", "so?"))
    body = "".join(f'<pair value="{kind}"><chq>\n{long}</chq><faq>{short}</faq></pair>' for kind, long, short in pairs)
    (tmp_path / "p.xml").write_text(f"<Set>{body}</Set>")
    files = SourceFiles(tmp_path, ["p.xml"])
    rows = list(find_reader("mediqa-entailment")(files))
    assert rows == [
        {"question": "I am ill. What now?", "same": "What now?"},
        {"question": "Why me?", "other": "What now?"},
    ]
    (tmp_path / "p.xml").write_text('<Set><pair value="maybe"><chq>a</chq><faq>b</faq></pair></Set>')
    with pytest.raises(DataError, match=r"p\.xml:1: field 'value': wanted true or false, found 'maybe'"):
        list(find_reader("mediqa-entailment")(files))


def papers(folder: Path, **members: str) -> SourceFiles:
    with tarfile.open(folder / "raw.tar", "w") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return SourceFiles(folder, ["raw.tar"])


def test_a_paper_has_a_conclusion_only_if_its_last_sentence_opens_like_one(tmp_path: Path) -> None:
    files = papers(tmp_path, a="On feet.\n We ran.\n These data suggest rest.\n", b="On hands.\n We held.\n It hurt.\n")
    assert list(find_reader("medline")(files)) == [
        {"title": "On feet.", "abstract": "We ran. These data suggest rest.", "conclusion": "These data suggest rest."},
        {"title": "On hands.", "abstract": "We held. It hurt.", "conclusion": None},
    ]


def test_a_paper_without_abstract_is_told_by_its_name_in_the_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"raw\.tar/a: wanted a title and an abstract"):
        list(find_reader("medline")(papers(tmp_path, a="Only a title\n")))
