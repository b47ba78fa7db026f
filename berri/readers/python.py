"""Python functions and what their documentation says of them, out of wheels; nothing in a wheel is run."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Row, Rows
from tart.errors import DataError

Function = ast.FunctionDef | ast.AsyncFunctionDef

LINES = (2, 60)  # of the code, docstring apart
SUMMARY_WORDS, DETAILS_WORDS, NAME_WORDS = (4, 40), (12, 150), 3
_NOT_ITS_OWN = re.compile(r"(^|/)(tests?|testing|_?vendor(ed)?|extern(al|s)?|conftest\.py|test_[^/]*)(/|$)")
_MARKS = re.compile(r":[a-z:]+:`~?\.?([^`<]+)(?:<[^>]*>)?`|`{1,2}([^`]+)`{1,2}")
_NO_PROSE = re.compile(r"^\s*([:@>.*+\-=~|\d]|\w[\w ,*]*\n\s*[-=~]{3,}|\w[\w ]*:\s*(\n|$))|::\s*$|>>>|%\(|\{\w*\}")


@reader("python-wheels")
def read_python_wheels(files: SourceFiles) -> Rows:
    """Functions and methods with a docstring: `code` without it, its `summary` (the first paragraph), the `details`
    (the prose below it) and the `name` in words, where it has three or more."""
    for name in files.names:
        for path, content in files.members(name, "*.py"):
            if _NOT_ITS_OWN.search(path):
                continue
            try:
                text = files.decode(content, path)
                with warnings.catch_warnings():  # of escapes in other people's strings
                    warnings.simplefilter("ignore")
                    tree = ast.parse(text)
            except DataError as error:
                files.bad(error.problem, path)
                continue
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                files.bad(f"no Python of this version ({error})", path)
                continue
            lines = re.split(r"\r\n?|\n", text)  # as the parser counts them
            for node in ast.walk(tree):
                if isinstance(node, Function) and not node.name.startswith("_"):
                    yield from _row(node, lines)


def _row(node: Function, lines: list[str]) -> Iterator[Row]:
    paragraphs = re.split(r"\n\s*\n", ast.get_docstring(node) or "")
    summary = _prose(paragraphs[0])
    code = _code(node, lines)
    if not SUMMARY_WORDS[0] <= len(summary.split()) <= SUMMARY_WORDS[1] or not code:
        return
    details = []
    for paragraph in paragraphs[1:]:
        if not (found := _prose(paragraph)):
            break  # parameters and examples begin here
        details.append(found)
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", node.name)]
    prose = " ".join(details).split()
    yield {
        "code": code,
        "summary": summary,
        "details": " ".join(prose[: DETAILS_WORDS[1]]) if len(prose) >= DETAILS_WORDS[0] else None,
        "name": " ".join(words) if len(words) >= NAME_WORDS else None,
    }


def _prose(paragraph: str) -> str:
    """A paragraph on one line, without reStructuredText's marks; "" if it is a list, a table, code or a heading."""
    if _NO_PROSE.search(paragraph):
        return ""
    return " ".join(_MARKS.sub(lambda found: (found[1] or found[2]).strip(), paragraph).split())


def _code(node: Function, lines: list[str]) -> str:
    """The source from `def` on, without docstring; "" if it is too short or too long, or there is only a docstring."""
    if len(node.body) < 2:
        return ""
    docstring = node.body[0]
    before, after = lines[node.lineno - 1 : docstring.lineno - 1], lines[docstring.end_lineno : node.end_lineno]
    if not LINES[0] <= len(before) + len(after) <= LINES[1]:
        return ""
    return textwrap.dedent("\n".join((*before, *after)))
