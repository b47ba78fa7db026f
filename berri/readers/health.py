"""Readers for health questions, packed as XML or as a spreadsheet, and for medical abstracts."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from xml.etree import ElementTree

from berri.files import MOST_BYTES, SourceFiles
from berri.readers.registry import reader
from berri.record import Rows
from tart.errors import DataError

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_GOOD = 3  # of 4: the least grade of an answer that is right
_CONCLUDES = re.compile(
    r"(In conclusion|In summary|Thus|Therefore|Hence|We conclude|It is concluded|We suggest that|We propose that"
    r"|(These|Our|The|This) (present )?(results?|data|findings?|observations?|stud(y|ies)) (\w+ )?"
    r"(suggests?|indicates?|demonstrates?|shows?|supports?|confirms?))\b"
)


def _xml(files: SourceFiles, name: str, content: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # entities can be nested into a bomb
        raise DataError("refused: declares a document type", path=files.path(name))
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise DataError(f"not valid XML ({error.msg})", path=files.path(name), line=error.position[0]) from None


def _text(element: ElementTree.Element, tag: str) -> str:
    return " ".join((element.findtext(tag) or "").split())


@reader("xlsx")
def read_xlsx(files: SourceFiles, *, fields: Mapping[str, str], sheet: str = "xl/worksheets/sheet1.xml") -> Rows:
    """Rows of a spreadsheet whose first row holds the titles.

    Args:
        files: the source's files.
        fields: field name -> column, by its title.
        sheet: which sheet, by its place in the file.
    """
    for name in files.names:
        parts = _parts(files, name, ("xl/sharedStrings.xml", sheet))
        known = ["".join(one.text or "" for one in item.iter(f"{_SHEET}t")) for item in parts[0].iter(f"{_SHEET}si")]
        columns: dict[str, str] = {}
        for number, row in enumerate(parts[1].iter(f"{_SHEET}row"), start=1):
            cells = {_column(cell): _cell(cell, known) for cell in row.iter(f"{_SHEET}c")}
            if number == 1:
                columns = {title.strip(): column for column, title in cells.items()}
                if missing := [title for title in fields.values() if title not in columns]:
                    found = ", ".join(columns)
                    raise DataError(f"no column {missing[0]!r}; found {found}", path=files.path(name), line=1)
            elif any(cells.values()):
                yield {field: cells.get(columns[title], "").replace("_x000D_", "") for field, title in fields.items()}


def _parts(files: SourceFiles, name: str, members: tuple[str, ...]) -> list[ElementTree.Element]:
    with files.open(name) as file:
        packed = io.BytesIO(file.read())
    try:
        with zipfile.ZipFile(packed) as archive:
            for member in members:
                if (size := archive.getinfo(member).file_size) > MOST_BYTES:
                    raise DataError(f"refused: member {member!r} has {size:,} bytes", path=files.path(name))
            return [_xml(files, name, archive.read(member)) for member in members]
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"no whole spreadsheet ({error})", path=files.path(name)) from None


def _column(cell: ElementTree.Element) -> str:
    return cell.get("r", "").rstrip("0123456789")


def _cell(cell: ElementTree.Element, known: list[str]) -> str:
    value = cell.findtext(f"{_SHEET}v") or ""
    if cell.get("t") == "s" and value.isdigit() and int(value) < len(known):
        return known[int(value)]
    return value or "".join(one.text or "" for one in cell.iter(f"{_SHEET}t"))


@reader("mediqa-answers")
def read_mediqa_answers(files: SourceFiles) -> Rows:
    """Consumers' health questions with the web texts that doctors graded 3 or 4, `answer`, and 1 or 2, `wrong`."""
    for name in files.names:
        with files.open(name) as file:
            root = _xml(files, name, file.read())
        for number, question in enumerate(root.iter("Question"), start=1):
            kinds: dict[str, list[str]] = {"answer": [], "wrong": []}
            for answer in question.iter("Answer"):
                grade = answer.get("ReferenceScore", "")
                if grade.isdigit():
                    kinds["answer" if int(grade) >= _GOOD else "wrong"].append(_text(answer, "AnswerText"))
                else:
                    files.bad(f"wanted a grade from 1 to 4, found {grade!r}", name, number, "ReferenceScore")
            yield {"question": _text(question, "QuestionText"), **kinds}


@reader("mediqa-entailment")
def read_mediqa_entailment(files: SourceFiles) -> Rows:
    """Long health questions with a short one that asks the `same`, or with one that does not, `other`."""
    for name in files.names:
        with files.open(name) as file:
            root = _xml(files, name, file.read())
        for number, pair in enumerate(root.iter("pair"), start=1):
            kind = {"true": "same", "false": "other"}.get(pair.get("value", ""))
            long, short = _text(pair, "chq"), _text(pair, "faq")
            if kind is None:
                files.bad(f"wanted true or false, found {pair.get('value')!r}", name, number, "value")
            elif long.casefold() != short.casefold():
                yield {"question": long, kind: short}


@reader("medline")
def read_medline(files: SourceFiles) -> Rows:
    """An archive of papers, a sentence a line: `title`, `abstract`, and the last sentence if it says a `conclusion`."""
    for path, content in files.members(files.names[0]):
        title, *sentences = [line.strip() for line in files.decode(content, path).splitlines() if line.strip()] or [""]
        if not sentences:
            files.bad("wanted a title and an abstract", f"{files.names[0]}/{path}")
            continue
        last = sentences[-1] if len(sentences) > 1 and _CONCLUDES.match(sentences[-1]) else None
        yield {"title": title, "abstract": " ".join(sentences), "conclusion": last}
