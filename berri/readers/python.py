"""Python functions and what their documentation says of them, out of wheels; nothing in a wheel is run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Row, Rows
from tart.errors import DataError

Function = ast.FunctionDef | ast.AsyncFunctionDef

LINES = (2, 60)  # of the code, docstrings apart
SUMMARY_WORDS, DETAILS_WORDS, NAME_WORDS = (4, 40), (12, 150), 3
_NOT_ITS_OWN = re.compile(
    r"(^|/)(_?tests?|_?testing|_?vendor(ed)?|_?externals?|extern|third_?party|conftest\.py|test_[^/]*|[^/]*_test\.py)(/|$)"
)
_MARKS = (  # of reStructuredText and epytext, and the words in them
    (re.compile(r":[\w:+-]+:`[~!.]*([^`<]*[^`<\s])(?:\s*<[^>]*>)?`"), r"\1"),
    (re.compile(r"`{1,2}([^`<]*[^`<\s])(?:\s*<[^>]*>)?`{1,2}(?:_{1,2}(?!\w))?"), r"\1"),
    (re.compile(r"\b[A-Z]\{([^{}<]*)(?:\s*<[^>]*>)?\}"), r"\1"),
    (re.compile(r"(?<!\w)\*{1,2}([\w.]+)\*{1,2}(?!\w)"), r"\1"),
)
_NO_PROSE = re.compile(
    r"""
    ^\s*(  # begins as
        [:@>+\-=~|] | \.\.\  | \*\  | \d+[.)]\s  # a field, a quotation, a table, a directive, an item of a list
        | \w[\w ,*]*\n\s*[-=~^]{3,}  # an underlined heading
        | \w[\w ]*:\s*(\n|$)  # a heading with a colon
    )
    | ::\s*$ | >>>  # code follows, or is there
    | %\( | \{\w*\}  # a template
    """,
    re.VERBOSE,
)
_FIELDS = re.compile(
    r"^\s*([:@]\w+.*:|\.\. |>>>|(Args|Arguments|Parameters|Params|Returns?|Raises|Yields?|Examples?|Notes?|Usage)\s*:)",
    re.M,
)


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
            for node in _functions(tree):
                if not node.name.startswith("_"):
                    yield from _row(node, lines)


def _functions(node: ast.AST) -> Iterator[Function]:
    """Functions of a module and of its classes, not those within functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child
        else:
            yield from _functions(child)


def _row(node: Function, lines: list[str]) -> Iterator[Row]:
    paragraphs = re.split(r"\n\s*\n", ast.get_docstring(node) or "")
    summary = _prose(paragraphs[0])
    code = _code(node, lines)
    if not SUMMARY_WORDS[0] <= len(summary.split()) <= SUMMARY_WORDS[1] or not code:
        return
    details = []
    for paragraph in paragraphs[1:] if not _FIELDS.search(paragraphs[0]) else ():
        found = _prose(paragraph)
        details.append(found)
        if not found or _FIELDS.search(paragraph):
            break  # parameters and examples begin here
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", node.name)]
    prose = " ".join(details).split()
    yield {
        "code": code,
        "summary": summary,
        "details": " ".join(prose[: DETAILS_WORDS[1]]) if len(prose) >= DETAILS_WORDS[0] else None,
        "name": " ".join(words) if sum(len(word) > 1 and word.isalpha() for word in words) >= NAME_WORDS else None,
    }


def _prose(paragraph: str) -> str:
    """A paragraph up to its fields, on one line and without markup; "" if it is a list, a table, code or a heading."""
    found = _FIELDS.search(paragraph)
    text = paragraph[: found.start()] if found else paragraph
    for mark, words in _MARKS:
        text = mark.sub(words, text)
    return "" if _NO_PROSE.search(text) else " ".join(text.split())


def _code(node: Function, lines: list[str]) -> str:
    """The source from `def` on, without docstrings; "" if that is too short or too long, or does nothing."""
    if all(_does_nothing(one) for one in node.body):
        return ""
    gone: set[int] = set()
    for one in ast.walk(node):
        if isinstance(one, Function | ast.ClassDef) and ast.get_docstring(one) is not None:
            gone.update(range(one.body[0].lineno, (one.body[0].end_lineno or 0) + 1))
    kept = [
        lines[number - 1][node.col_offset :]
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
        if number not in gone
    ]
    code = "\n".join(kept)
    if not LINES[0] <= len(kept) <= LINES[1]:
        return ""
    try:
        ast.parse(code)
    except SyntaxError:  # a docstring beside code on one line, or text at the left edge
        return ""
    return code


def _does_nothing(node: ast.stmt) -> bool:
    """pass, an ellipsis or a docstring, or only raising."""
    return isinstance(node, (ast.Pass, ast.Raise)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
