"""The six tasks of the paper's X2-Retrieval and its distractor, rebuilt from the files that their sources publish.

The paper pools about 3.7 million documents. Its builder doesn't run as it was published, drew its queries without a
seed, and had faults. What is done here instead:

- Everywhere: identical documents (title and text) are one, and it is right for every question that any of its copies
  answers. In GooAQ and CodeSearchNet the original kept all copies and judged only the last, so that finding another
  counted as wrong. SciFact and NQ are taken as BEIR publishes them.
- WikiQA: a sentence's id is its first place in the files, not the title and a number, which blanks and slashes enter.
- AmbigQA: a question that two annotators wrote alike is one document, and the right one for both.
- GooAQ: the host of the address has to be stackoverflow.com; a question that comes several times is one query, and
  each of its answers is right.
- LinkSO: all duplicates are right, not only the last one listed, in whichever direction they are listed. The query's
  own question is dropped from the results (`drop_identical_ids` in the pool file).
- CodeSearchNet: the docstring is found by Python's tokenizer. The original split at triple quotation marks, which left
  docstrings in other marks where they stood, the query's words with them, cut code that held such marks, and joined
  lines. Every function that had exactly the query's docstring is right, not one of them.
- Drawn queries (GooAQ, CodeSearchNet: 1,000 each) come from a generator seeded with the seed and the task's name.

Figures will therefore differ from the paper's. The instructions are ours.

Source: arXiv 2211.09260, section 4.2; the builder in its authors' repository, read for facts.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from eval import x2_sources as sources_of
from eval.x2_sources import Item, Question
from tart.collection import Document
from tart.errors import ConfigError, DataError
from tart.files import new_folder, sha256_file
from tart.manifest import write_manifest
from tart.progress import Advance, progress, silent

logger = logging.getLogger(__name__)

KIND = "tart-x2/1"
POOL_FILE = "x2.toml"


class PaperTask(NamedTuple):
    """One task: what it wants, where its files come from, and how they are read.

    Args:
        unit, instruction: for the pool file; no instruction: a distractor.
        files: patterns below the folder of sources; each has to match.
        home: where the files are published.
        read: the reader.
        drawn: whether the queries are drawn from many.
        as_published: whether identical documents are left alone.
        drop_identical_ids: whether queries are documents themselves.
    """

    unit: str
    instruction: str
    files: tuple[str, ...]
    home: str
    read: Callable[[Path, Counter[str]], Iterator[Item]]
    drawn: bool = False
    as_published: bool = False
    drop_identical_ids: bool = False


PAPER_TASKS = {
    "ambigqa": PaperTask(
        "question",
        "Find another question that asks the same thing more precisely.",
        ("ambignq_light/train_light.json", "ambignq_light/dev_light.json"),
        "https://nlp.cs.washington.edu/ambigqa/data/ambignq_light.zip",
        sources_of.read_ambigqa,
    ),
    "wikiqa": PaperTask(
        "sentence",
        "Find a sentence from Wikipedia that answers this question.",
        ("WikiQACorpus/WikiQA-train.tsv", "WikiQACorpus/WikiQA-dev.tsv", "WikiQACorpus/WikiQA-test.tsv"),
        "https://www.microsoft.com/download/details.aspx?id=52419",
        sources_of.read_wikiqa,
    ),
    "scifact": PaperTask(
        "abstract",
        "Find the abstract of a scientific paper that supports or refutes this claim.",
        ("scifact/corpus.jsonl", "scifact/queries.jsonl", "scifact/qrels/test.tsv"),
        "BEIR, data set scifact",
        sources_of.read_scifact,
        as_published=True,
    ),
    "gooaq-technical": PaperTask(
        "answer",
        "Find a forum answer about programming that answers this question.",
        ("gooaq.jsonl*",),
        "https://github.com/allenai/gooaq",
        sources_of.read_gooaq,
        drawn=True,
    ),
    "linkso-python": PaperTask(
        "question",
        "Find a StackOverflow question about Python that asks the same thing.",
        tuple(f"linkso/topublish/python/python_{part}.txt" for part in ("qid2all", "cosidf", "test_qid")),
        "https://sites.google.com/view/linkso",
        sources_of.read_linkso,
        drop_identical_ids=True,
    ),
    "codesearchnet-python": PaperTask(
        "code",
        "Find a Python function that does this.",
        tuple(f"python/final/jsonl/{part}/*.jsonl*" for part in ("train", "valid", "test")),
        "https://github.com/github/CodeSearchNet",
        sources_of.read_codesearchnet,
        drawn=True,
    ),
    "nq": PaperTask("paragraph", "", ("nq/corpus.jsonl",), "BEIR, data set nq", sources_of.read_nq, as_published=True),
}


def build_paper_pool(
    sources: str | Path,
    output: str | Path,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    drawn: int = 1000,
    overwrite: bool = False,
    show_progress: bool = False,
) -> Path:
    """Build the tasks, each a folder in BEIR's layout, and the pool file that puts them together.

    Args:
        sources: holds the published files, as `PAPER_TASKS` names them.
        output: folder to make; manifest.json in it has counts, and the sha256 of every source and result.
        names: of the tasks; None: all seven.
        seed: of the draw.
        drawn: how many queries are drawn of a task that has many.
        overwrite: replace the folder if it exists.
        show_progress: show a bar on stderr.

    Returns:
        The pool file, which `load_pool` reads.

    Raises:
        ConfigError: an unknown name; near names are suggested.
        DataError: a file that is missing, with where to get it; or one that isn't as published.
        StorageError: the folder exists, or the disk is full.
    """
    sources, chosen = Path(sources), list(PAPER_TASKS) if names is None else list(names)
    if not chosen or drawn < 1:
        raise ConfigError(f"wanted at least one task and one query, got {len(chosen)} and {drawn}")
    for name in chosen:
        if name not in PAPER_TASKS:
            near = get_close_matches(name, PAPER_TASKS, n=3, cutoff=0.4) or list(PAPER_TASKS)
            raise ConfigError(f"X2-Retrieval has no task {name!r}; did you mean {', '.join(near)}?")
    files = {name: _source_files(sources, name) for name in chosen}
    facts: dict[str, Any] = {}
    with new_folder(output, overwrite=overwrite, kind=KIND) as folder:
        for name in chosen:
            with progress(f"Building {name}", None) if show_progress else nullcontext(silent) as advance:
                counts = _build(name, sources, folder / name, seed, drawn, advance)
            hashes = {file.relative_to(sources).as_posix(): sha256_file(file) for file in files[name]}
            facts[name] = {"counts": counts, "home": PAPER_TASKS[name].home, "sources": hashes}
            logger.info("%s: %s", name, ", ".join(f"{value:,} {what}" for what, value in counts.items()))
        (folder / POOL_FILE).write_text(_pool_file(chosen), encoding="utf-8")
        write_manifest(folder, KIND, {"seed": seed, "drawn": drawn, "tasks": facts})
    return Path(output) / POOL_FILE


def _source_files(sources: Path, name: str) -> list[Path]:
    found = []
    for pattern in PAPER_TASKS[name].files:
        matching = sorted(sources.glob(pattern))
        if not matching:
            raise DataError(f"no such file, which {name} needs; from {PAPER_TASKS[name].home}", path=sources / pattern)
        found += matching
    return found


def _build(name: str, sources: Path, folder: Path, seed: int, drawn: int, advance: Advance) -> dict[str, int]:
    """Write one task; returns its counts."""
    task = PAPER_TASKS[name]
    counts: Counter[str] = Counter(documents=0, **{"copies merged": 0})
    (folder / "qrels").mkdir(parents=True)
    first_of: dict[bytes, str] = {}  # content -> id of its first copy
    same_as: dict[str, str] = {}  # id of a copy -> id of the first
    ids: set[str] = set()
    questions: list[Question] = []
    with (folder / "corpus.jsonl").open("wb") as file:
        for item in task.read(sources, counts):
            if isinstance(item, Question):
                questions.append(item)
                continue
            advance()
            if item.doc_id in ids:
                raise DataError(f"{name} has two documents with the id {item.doc_id!r}", path=sources)
            if not task.as_published:  # that reader looks itself
                ids.add(item.doc_id)
            first = item.doc_id if task.as_published else first_of.setdefault(_content(item), item.doc_id)
            if first != item.doc_id:
                same_as[item.doc_id] = first
                counts["copies merged"] += 1
                continue
            counts["documents"] += 1
            _write_row(file, {"_id": item.doc_id, "title": item.title, "text": item.text})
    questions = _merged(questions, same_as, own_document=task.drop_identical_ids)
    counts["queries to choose from"] = len(questions)
    if task.drawn and len(questions) > drawn:
        rows = random.Random(f"{seed} {name}").sample(range(len(questions)), drawn)
        questions = [questions[row] for row in sorted(rows)]
    if task.instruction and not questions:
        raise DataError(f"no query was found for {name}; are these the published files?", path=sources)
    counts["queries"] = len(questions)
    judgements = io.StringIO(newline="")
    table = csv.writer(judgements, delimiter="\t", lineterminator="\n")
    table.writerow(["query-id", "corpus-id", "score"])
    with (folder / "queries.jsonl").open("wb") as file:
        for question in questions:
            _write_row(file, {"_id": question.query_id, "text": question.text})
            for doc_id in question.doc_ids:
                table.writerow([question.query_id, doc_id, 1])
                counts["judgements"] += 1
    (folder / "qrels/test.tsv").write_text(judgements.getvalue(), encoding="utf-8")
    return dict(counts)


def _merged(questions: Sequence[Question], same_as: Mapping[str, str], *, own_document: bool) -> list[Question]:
    """The questions with the ids of first copies.

    Where a question is a document itself, its own one is not an answer, and it goes by the id of that one's first copy:
    by it the document is dropped from the results.
    """
    answers: dict[str, dict[str, None]] = {}
    texts: dict[str, str] = {}
    for question in questions:
        query_id = same_as.get(question.query_id, question.query_id) if own_document else question.query_id
        found = dict.fromkeys(same_as.get(doc_id, doc_id) for doc_id in question.doc_ids)
        if own_document:
            found.pop(query_id, None)
        if found:
            texts.setdefault(query_id, question.text)
            answers.setdefault(query_id, {}).update(found)
    return [Question(query_id, texts[query_id], tuple(found)) for query_id, found in answers.items()]


def _content(document: Document) -> bytes:
    text = f"{document.title}\0{document.text}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _write_row(file: BinaryIO, row: dict[str, str]) -> None:
    file.write((json.dumps(row) + "\n").encode())


def _pool_file(names: Sequence[str]) -> str:
    lines = ["# X2-Retrieval, rebuilt from its sources. Paths are relative to this file.", 'name = "x2-paper"']
    for name in names:
        task = PAPER_TASKS[name]
        entry: dict[str, object] = {"name": name, "path": name, "unit": task.unit}
        if task.instruction:
            entry["instruction"] = task.instruction
        if task.drop_identical_ids:
            entry["drop_identical_ids"] = True
        lines += ["", "[[tasks]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    return "\n".join(lines) + "\n"
