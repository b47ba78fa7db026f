"""LoTTE in its official layout: five topics of StackExchange forums and all of them pooled, search and forum queries.

    FOLDER/TOPIC/SPLIT/collection.tsv              pid, passage
    FOLDER/TOPIC/SPLIT/questions.KIND.tsv          qid, question
    FOLDER/TOPIC/SPLIT/qas.KIND.jsonl              {"qid": 0, "answer_pids": [3, 14], ...}

The measure is Success@5: whether any of a question's answer_pids is among the first five. ColBERT's evaluation script
divides by the number of questions in the qas file and counts one without a ranking as a failure; `per_query` with
"Success@5" and its mean do the same, but for a question whose answer_pids are empty: the script counts it as a failure,
`per_query` leaves it out, as it does every query that nothing can answer.

Source: ColBERTv2, arXiv 2112.01488, section 4; the layout as in ColBERT's LoTTE.md.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from eval.judgements import tell_oddities
from eval.task import Task
from tart.collection import Corpus, Query, TestCollection
from tart.errors import ConfigError, DataError
from tart.files import parse_json_object, read_lines
from tart.index.readers import read_documents
from tart.instruction import Instruction

Kind = Literal["search", "forum"]

TOPICS = ("writing", "recreation", "science", "technology", "lifestyle")
POOLED = "pooled"
KINDS: tuple[Kind, ...] = ("search", "forum")
SPLITS = ("dev", "test")
WORDINGS = (
    "Find an answer to this question in a StackExchange forum{about}.",
    "Retrieve a StackExchange post{about} that answers this question.",
    "I am looking for what people in a question-and-answer forum{about} replied to this.",
    "Please give me the forum answer{about} that solves this.",
)


def lotte_instructions(topic: str = "") -> tuple[Instruction, ...]:
    """What LoTTE wants, in several wordings; with a topic, each names it.

    >>> lotte_instructions("writing")[0].text
    'Find an answer to this question in a StackExchange forum about writing.'
    """
    about = f" about {topic}" if topic else ""
    return tuple(Instruction(text.format(about=about), "answers", "StackExchange", "answer") for text in WORDINGS)


def load_lotte(folder: str | Path, *, topic: str, kind: Kind, split: str = "test") -> Task:
    """Load one topic's queries of one kind; the task is called TOPIC-KIND.

    The instruction names the topic. A pooled query is given that of the topic whose questions hold the same text; if
    the topics' folders aren't there, or two topics hold it, one without a topic.

    Args:
        folder: holds a folder for each topic.
        topic: one of `TOPICS`, or "pooled".
        kind: "search" (short queries from the web) or "forum" (titles of posts).
        split: "dev" or "test".

    Raises:
        ConfigError: an unknown topic, kind or split; near names are suggested.
        DataError: naming file, line and field.
    """
    for name, known in ((topic, (*TOPICS, POOLED)), (kind, KINDS), (split, SPLITS)):
        _check(name, known, "LoTTE")
    folder = Path(folder)
    return _load(folder, topic, kind, split, _corpus(folder, topic, split))


def load_lotte_suite(folder: str | Path, names: Sequence[str] | None = None, *, split: str = "test") -> list[Task]:
    """Load several tasks; a collection that two of them search is read once.

    Args:
        folder: holds a folder for each topic.
        names: such as "science-search"; None: all that are there, pooled last.
        split: "dev" or "test".

    Raises:
        ConfigError: an unknown name or split; near names are suggested.
        DataError: naming file, line and field; or if the folder has no topic.
    """
    folder = Path(folder)
    _check(split, SPLITS, "LoTTE")
    there = {
        f"{topic}-{kind}": (topic, kind)
        for topic in (*TOPICS, POOLED)
        for kind in KINDS
        if (folder / topic / split / f"questions.{kind}.tsv").is_file()
    }
    if not there:
        raise DataError(f"holds none of LoTTE's topics (TOPIC/{split}/questions.search.tsv)", path=folder)
    corpora: dict[str, Corpus] = {}
    tasks = []
    for name in there if names is None else names:
        _check(name, list(there), str(folder))
        topic, kind = there[name]
        if topic not in corpora:
            corpora[topic] = _corpus(folder, topic, split)
        tasks.append(_load(folder, topic, kind, split, corpora[topic]))
    return tasks


def _check(name: str, known: Sequence[str], where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.5) or known
        raise ConfigError(f"{where} has no {name!r}; did you mean {', '.join(near)}?")


def _corpus(folder: Path, topic: str, split: str) -> Corpus:
    return Corpus(read_documents(folder / topic / split / "collection.tsv"))


def _load(folder: Path, topic: str, kind: str, split: str, corpus: Corpus) -> Task:
    name = f"{topic}-{kind}"
    questions = _read_questions(folder / topic / split / f"questions.{kind}.tsv")
    topic_of = _topics_of_questions(folder, kind, split) if topic == POOLED else {}
    queries = tuple(
        Query(query_id, text, lotte_instructions(topic_of[text])[0] if topic_of.get(text) else None)
        for query_id, text in questions.items()
    )
    qrels = _read_answers(folder / topic / split / f"qas.{kind}.jsonl")
    tell_oddities(name, qrels, corpus, queries)
    wordings = lotte_instructions("" if topic == POOLED else topic)
    return Task(name, "lotte", TestCollection(name, corpus, queries, qrels), wordings, wordings[0].unit)


def _read_questions(path: Path) -> dict[str, str]:
    questions: dict[str, str] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        query_id, tab, text = line.partition("\t")
        if not tab:
            raise DataError("wanted 2 columns separated by a tab, found 1", path=path, line=number)
        for field, value in (("qid", query_id), ("question", text)):
            if not value.strip():
                raise DataError("must not be empty", path=path, line=number, field=field)
        if query_id in questions:
            raise DataError(f"{query_id!r} comes twice", path=path, line=number, field="qid")
        questions[query_id] = text
    if not questions:
        raise DataError("holds no question", path=path)
    return questions


def _read_answers(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        row = parse_json_object(line, path, number)
        query_id, answers = row.get("qid"), row.get("answer_pids")
        if not _is_id(query_id):
            raise DataError(f"wanted a number, found {json.dumps(query_id)}", path=path, line=number, field="qid")
        if not isinstance(answers, list) or not all(_is_id(answer) for answer in answers):
            found = json.dumps(answers)[:60]
            raise DataError(f"wanted a list of numbers, found {found}", path=path, line=number, field="answer_pids")
        if str(query_id) in qrels:
            raise DataError(f"{query_id} comes twice", path=path, line=number, field="qid")
        qrels[str(query_id)] = {str(answer): 1 for answer in answers}
    if not qrels:
        raise DataError("holds no question", path=path)
    return qrels


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _topics_of_questions(folder: Path, kind: str, split: str) -> dict[str, str]:
    """Question -> its topic; "" if two topics have it."""
    topic_of: dict[str, str] = {}
    for topic in TOPICS:
        path = folder / topic / split / f"questions.{kind}.tsv"
        if path.is_file():
            for text in set(_read_questions(path).values()):
                topic_of[text] = "" if text in topic_of else topic
    return topic_of
