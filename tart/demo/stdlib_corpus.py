"""Real text that every machine has: the running Python's standard library, as three kinds of documents.

"code" is the source of documented functions and classes with the docstring cut out, "documentation" the paragraphs of
docstrings, "topic" the language topics that `help()` shows. The first two are about the same things, so that only an
instruction can tell which is wanted.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tart.collection import Document

Kind = Literal["code", "documentation", "topic"]
KINDS: tuple[Kind, ...] = ("code", "documentation", "topic")

_LEFT_OUT = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "lib2to3",
    "distutils",
    "ensurepip",
}
_MOST = 10_500  # so that two cores index them in two minutes
_CODE_LINES = range(2, 31)  # of a function or class header, without its docstring
_CODE_CHARACTERS = 350
_PARAGRAPHS = 3  # of each docstring, from its beginning
_PARAGRAPH_CHARACTERS = range(40, 251)

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def kind_of(doc_id: str) -> Kind:
    """The kind of a document of this corpus."""
    prefix = doc_id.partition(":")[0]
    return "code" if prefix == "code" else "topic" if prefix == "topic" else "documentation"


def stdlib_documents() -> Iterator[Document]:
    """The documents, in an order and with ids that are the same at each call; of more than 10,500 an even choice.

    Ids are `code:NAME`, `docs:NAME#PARAGRAPH` and `topic:NAME#PARAGRAPH`; a name that is defined several times in a
    module is followed by its line.
    """
    found = [*_library_documents(), *_topic_documents()]
    kept = min(len(found), _MOST)
    return (found[number * len(found) // kept] for number in range(kept))


def _library_documents() -> Iterator[Document]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if not _LEFT_OUT.intersection(inside.parts) and not inside.name.startswith("test_"):
            yield from _module_documents(path, ".".join(inside.with_suffix("").parts).removesuffix(".__init__"))


def _module_documents(path: Path, module: str) -> Iterator[Document]:
    try:
        source = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old escape sequences
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return
    lines = source.splitlines()
    yield from _paragraphs(f"docs:{module}", module, ast.get_docstring(tree) or "", _PARAGRAPHS)
    seen: set[str] = set()
    for name, node in _definitions(tree, module):
        label = name if name not in seen else f"{name}@{node.lineno}"
        seen.add(name)
        docstring = ast.get_docstring(node)
        if docstring is None:
            continue
        code = _code_of(node, lines)
        if code:
            yield Document(f"code:{label}", code, name)
        yield from _paragraphs(f"docs:{label}", name, docstring, _PARAGRAPHS)


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, _Definition]]:
    """Functions and classes of a module and of its classes, with their full names; private ones are left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Definition) and (not child.name.startswith("_") or child.name == "__init__"):
            name = f"{prefix}.{child.name}"
            yield name, child
            if isinstance(child, ast.ClassDef):
                yield from _definitions(child, name)


def _code_of(node: _Definition, lines: list[str]) -> str:
    """Source of a documented function, or class up to its first method, without the docstring; "" if out of range."""
    last = node.end_lineno or node.lineno
    if isinstance(node, ast.ClassDef):
        methods = (child for child in node.body if isinstance(child, _Definition))
        first = next(methods, None)
        if first is not None:
            last = min([first.lineno, *(decorator.lineno for decorator in first.decorator_list)]) - 1
    kept = set(range(node.lineno, last + 1))
    docstring = node.body[0]
    kept -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    code = textwrap.dedent("\n".join(lines[line - 1] for line in sorted(kept) if lines[line - 1].strip()))
    return code if code.count("\n") + 1 in _CODE_LINES and len(code) <= _CODE_CHARACTERS else ""


def _paragraphs(label: str, title: str, text: str, most: int | None = None) -> Iterator[Document]:
    """The first paragraphs that are neither too short to say something nor too long for a small model to read."""
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    fitting = [(number, block) for number, block in enumerate(blocks, 1) if len(block) in _PARAGRAPH_CHARACTERS]
    for number, block in fitting[:most]:
        yield Document(f"{label}#{number}", block, title)


def _topic_documents() -> Iterator[Document]:
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        title, _, body = text.partition("\n")
        yield from _paragraphs(f"topic:{name}", title.strip() or name, body)
