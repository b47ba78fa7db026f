"""The raw files of the six tasks of X2-Retrieval and its distractor, each read into documents and questions.

A reader yields the documents of a task, and questions that name the ids of the documents that answer them. It repeats
what the files repeat: `eval.x2_paper` merges identical documents.
"""

from __future__ import annotations

import gzip
import io
import json
import token
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from eval.beir_suite import read_qrels
from tart.collection import Document
from tart.errors import DataError
from tart.files import decode_lines, parse_json_object, read_lines
from tart.index.readers import read_documents, read_queries

WIKIQA_COLUMNS = "QuestionID Question DocumentID DocumentTitle SentenceID Sentence Label".split()
DOCSTRING_LENGTH = range(51, 300)  # characters: "50 to 300", both left out, as the original has it


class Question(NamedTuple):
    """A query and the documents that answer it."""

    query_id: str
    text: str
    doc_ids: tuple[str, ...]


Item = Document | Question


def read_wikiqa(folder: Path, counts: Counter[str]) -> Iterator[Item]:
    """WikiQA: each sentence is a document; dev and test questions with a right sentence ask for it."""
    for part in ("train", "dev", "test"):
        path = folder / f"WikiQACorpus/WikiQA-{part}.tsv"
        right: dict[tuple[str, str], list[str]] = defaultdict(list)
        for number, line in read_lines(path):
            columns = line.split("\t")
            if len(columns) != len(WIKIQA_COLUMNS) or (number == 1 and columns != WIKIQA_COLUMNS):
                raise DataError(f"wanted the columns {', '.join(WIKIQA_COLUMNS)}", path=path, line=number)
            if number == 1:
                continue
            row = dict(zip(WIKIQA_COLUMNS, columns, strict=True))
            doc_id = f"{part}-{number}"  # a sentence id such as D1-0 comes once for each question on its article
            yield Document(doc_id, row["Sentence"], row["DocumentTitle"])
            if part != "train" and row["Label"] == "1":
                right[row["QuestionID"], row["Question"]].append(doc_id)
        yield from (Question(query_id, text, tuple(doc_ids)) for (query_id, text), doc_ids in right.items())


def read_ambigqa(folder: Path, counts: Counter[str]) -> Iterator[Item]:
    """AmbigQA: a dev question that was found ambiguous asks for the questions that say which meaning is meant."""
    for part in ("train", "dev"):
        path = folder / f"ambignq_light/{part}_light.json"
        content = "\n".join(line for _, line in read_lines(path))
        try:
            rows = json.loads(content)
            for place, row in enumerate(rows):
                doc_ids: list[str] = []
                for annotation in row["annotations"]:
                    for pair in annotation["qaPairs"] if annotation["type"] == "multipleQAs" else ():
                        doc_ids.append(f"{part}-{place}-{len(doc_ids)}")
                        yield Document(doc_ids[-1], pair["question"])
                if part == "dev" and doc_ids:
                    yield Question(str(row["id"]), row["question"], tuple(doc_ids))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"not AmbigQA's layout ({type(error).__name__}: {error})", path=path) from None


def read_scifact(folder: Path, counts: Counter[str]) -> Iterator[Item]:
    """SciFact as BEIR has it, its test part."""
    yield from read_documents(folder / "scifact/corpus.jsonl")
    qrels = read_qrels(folder / "scifact/qrels/test.tsv")
    for query in read_queries(folder / "scifact/queries.jsonl"):
        answers = tuple(doc_id for doc_id, grade in qrels.get(query.query_id, {}).items() if grade > 0)
        if answers:
            yield Question(query.query_id, query.text, answers)


def read_gooaq(folder: Path, counts: Counter[str]) -> Iterator[Item]:
    """GooAQ: the snippets from stackoverflow.com, asked for by their questions; the same question asks for all."""
    found: dict[str, tuple[str, list[str]]] = {}
    for path, number, row in _json_rows(folder / "gooaq.jsonl"):
        if (
            row.get("answer_type") != "feat_snip"
            or urlsplit(row.get("answer_url") or "").hostname != "stackoverflow.com"
        ):
            continue
        question, answer = row.get("question"), row.get("answer")
        if not isinstance(question, str) or not isinstance(answer, str) or "id" not in row:
            raise DataError("wanted id, question and answer", path=path, line=number)
        if not question.strip() or not answer.strip():
            counts["rows with a blank question or answer, left out"] += 1
            continue
        yield Document(f"stackoverflow-{row['id']}", answer)
        found.setdefault(question.strip(), (str(row["id"]), []))[1].append(f"stackoverflow-{row['id']}")
    yield from (Question(query_id, text, tuple(doc_ids)) for text, (query_id, doc_ids) in found.items())


def read_linkso(folder: Path, counts: Counter[str]) -> Iterator[Item]:
    """LinkSO, Python: the title of a test question asks for every question that is marked as its duplicate.

    The query's own question stays in the corpus under its id, for the other queries: it has to be dropped.
    """
    place = folder / "linkso/topublish/python"
    asked = {line.strip(): "" for _, line in read_lines(place / "python_test_qid.txt") if line.strip()}
    path = place / "python_qid2all.txt"
    there: set[str] = set()
    for number, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) < 3:
            raise DataError("wanted id, title and body, separated by tabs", path=path, line=number)
        yield Document(columns[0], columns[2], columns[1])
        there.add(columns[0])
        if columns[0] in asked:
            asked[columns[0]] = columns[1].strip()
    duplicates: dict[str, dict[str, None]] = defaultdict(dict)
    path = place / "python_cosidf.txt"
    for number, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != 4 or (number == 1 and columns[0] != "qid1"):
            raise DataError("wanted the columns qid1, qid2, score, label", path=path, line=number)
        if columns[3].strip() == "1" and columns[0] != columns[1] and there >= {columns[0], columns[1]}:
            duplicates[columns[0]][columns[1]] = None
            duplicates[columns[1]][columns[0]] = None  # to be a duplicate goes both ways
    for query_id, title in asked.items():
        if title and duplicates[query_id]:
            yield Question(query_id, title, tuple(duplicates[query_id]))
        else:
            counts["test questions without a title or a duplicate in the corpus, left out"] += 1


def read_codesearchnet(folder: Path, counts: Counter[str]) -> Iterator[Item]:
    """CodeSearchNet, Python: a docstring of the test part asks for every function that had exactly this docstring."""
    by_docstring: dict[str, list[str]] = defaultdict(list)
    asked: dict[str, None] = {}
    for part in ("train", "valid", "test"):
        place = folder / f"python/final/jsonl/{part}"
        serial = 0
        for file in sorted(place.glob("*.jsonl*")):
            for path, number, row in _json_rows(file):
                code, docstring = row.get("code"), row.get("docstring")
                if not isinstance(code, str) or not isinstance(docstring, str):
                    raise DataError("wanted code and docstring", path=path, line=number)
                body = without_docstring(code)
                doc_id = f"{part}-{serial}"
                serial += 1
                yield Document(doc_id, code if body is None else body)
                if body is None:
                    counts["functions whose docstring can't be cut out: documents, but no queries"] += 1
                elif len(docstring) in DOCSTRING_LENGTH and docstring.strip():
                    by_docstring[docstring].append(doc_id)
                    if part == "test":
                        asked[docstring] = None
        if not serial:
            raise DataError("holds no .jsonl or .jsonl.gz file with functions", path=place)
    for docstring in asked:
        ids = by_docstring[docstring]
        first = next(doc_id for doc_id in ids if doc_id.startswith("test-"))
        yield Question(f"docstring-{first}", docstring, tuple(ids))


def read_nq(folder: Path, counts: Counter[str]) -> Iterator[Item]:
    """Natural Questions as BEIR has it: documents only, a distractor."""
    yield from read_documents(folder / "nq/corpus.jsonl")


def without_docstring(code: str) -> str | None:
    """A function's source without its docstring, found by Python's tokenizer; so Python 2 is read as well.

    Returns:
        The source; None if it has no docstring, or isn't Python.

    >>> print(without_docstring('def f(x):\\n    "Says what it does."\\n    return x'))
    def f(x):
        return x
    """
    try:
        place = _docstring_place(code)
    except (tokenize.TokenError, SyntaxError):  # an IndentationError is a SyntaxError
        return None
    if place is None:
        return None
    (first, start), (last, end) = place
    lines = code.split("\n")
    before, after = lines[first - 1][:start], lines[last - 1][end:].strip().removeprefix(";").strip()
    middle = [before + after] if before.strip() or after else []
    return "\n".join([*lines[: first - 1], *middle, *lines[last:]])


def _docstring_place(code: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(line from 1, column) where the docstring begins and ends. Reads no further than its end."""
    depth, header, body = 0, False, False
    found: tuple[tuple[int, int], tuple[int, int]] | None = None
    for kind, text, start, end, _ in tokenize.generate_tokens(io.StringIO(code).readline):
        if found and kind != token.STRING:
            whole = kind in (token.NEWLINE, tokenize.COMMENT, token.ENDMARKER, tokenize.NL) or text == ";"
            return found if whole else None  # "..." % x, or "...".join(x), is an expression
        if body and kind == token.STRING:
            if {"b", "f"} & set(text.partition(text[-1])[0].lower()):
                return None  # b"..." and f"..." are no docstrings
            found = (found[0] if found else start, end)
        elif body and kind not in (token.NEWLINE, token.INDENT, tokenize.NL, tokenize.COMMENT):
            return None
        elif kind == token.NAME and text == "def" and depth == 0:
            header = True
        elif kind == token.OP and text in "([{":
            depth += 1
        elif kind == token.OP and text in ")]}":
            depth -= 1
        elif header and text == ":" and depth == 0:
            body = True
    return found


def _json_rows(path: Path) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Rows of a JSONL file, or of one that is packed and has ".gz" behind its name."""
    packed = path if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    if path.suffix != ".gz" and (path.is_file() or not packed.is_file()):
        lines = read_lines(path)
    else:
        path, lines = packed, _unpacked_lines(packed)
    for number, line in lines:
        if line.strip():
            yield path, number, parse_json_object(line, path, number)


def _unpacked_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, "rb") as file:
            yield from decode_lines(file, path)  # type: ignore[arg-type]
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"no whole gzip file ({error})", path=path) from None
