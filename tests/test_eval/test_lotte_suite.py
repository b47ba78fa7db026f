"""LoTTE's official layout: what is read, which instruction a query gets, and Success@5."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from eval.lotte_suite import load_lotte, load_lotte_suite, lotte_instructions
from eval.measures import mean, per_query
from tart.errors import ConfigError, DataError
from tart.run import Hit, Run


def make(folder: Path, topic: str, questions: list[str], split: str = "test") -> None:
    """One topic whose answer to question n is passage n + 10; the forum questions are the same in upper case."""
    place = folder / topic / split
    place.mkdir(parents=True)
    (place / "collection.tsv").write_text("".join(f"{n}\tpassage {n}\n" for n in range(20)))
    for kind in ("search", "forum"):
        texts = [text.upper() if kind == "forum" else text for text in questions]
        (place / f"questions.{kind}.tsv").write_text("".join(f"{n}\t{text}\n" for n, text in enumerate(texts)))
        rows = [{"qid": n, "query": text, "answer_pids": [n + 10]} for n, text in enumerate(texts)]
        (place / f"qas.{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path, "writing", ["colon or dash?", "who or whom?"])
    make(tmp_path, "science", ["why is the sky blue?", "who or whom?"])
    make(tmp_path, "pooled", ["colon or dash?", "who or whom?", "why is the sky blue?", "nobody asked this"])
    return tmp_path


def test_a_topic_is_read(folder: Path) -> None:
    task = load_lotte(folder, topic="writing", kind="forum")
    assert (task.name, task.suite, task.unit) == ("writing-forum", "lotte", "answer")
    assert not task.drop_identical_ids  # questions and passages are both numbered from 0
    assert len(task.collection.corpus) == 20 and task.collection.corpus["3"].text == "passage 3"
    assert [query.text for query in task.collection.queries] == ["COLON OR DASH?", "WHO OR WHOM?"]
    assert task.collection.qrels == {"0": {"10": 1}, "1": {"11": 1}}


def test_the_instruction_names_the_topic(folder: Path) -> None:
    task = load_lotte(folder, topic="science", kind="search")
    assert len(task.wordings) >= 3 and all(" about science" in wording.text for wording in task.wordings)
    assert {query.instruction for query in task.own_queries()} == {task.wordings[0]}


def test_a_pooled_question_has_the_instruction_of_its_topic(folder: Path) -> None:
    task = load_lotte(folder, topic="pooled", kind="search")
    general = lotte_instructions()[0]
    writing, science = lotte_instructions("writing")[0], lotte_instructions("science")[0]
    # asked in one topic, in two, in one, in none
    assert [query.instruction for query in task.own_queries()] == [writing, general, science, general]
    assert not any(" about " in wording.text for wording in task.wordings)


def test_pooled_alone_has_the_instruction_without_a_topic(folder: Path, tmp_path: Path) -> None:
    make(tmp_path / "alone", "pooled", ["colon or dash?"])
    (task,) = load_lotte_suite(tmp_path / "alone", ["pooled-search"])
    assert [query.instruction for query in task.own_queries()] == [lotte_instructions()[0]]


def test_a_question_without_answers_is_left_out_of_the_mean(folder: Path) -> None:
    """The one difference to ColBERT's script, which counts it as a failure."""
    path = folder / "writing/test/qas.search.jsonl"
    path.write_text('{"qid": 0, "answer_pids": [10]}\n{"qid": 1, "answer_pids": []}\n')
    task = load_lotte(folder, topic="writing", kind="search")
    run = Run({query_id: [Hit("10", 1.0)] for query_id in ("0", "1")}, depth=5)
    assert per_query(run, task.collection.qrels, ["Success@5"]) == {"Success@5": {"0": 1.0}}


def test_a_suite_reads_each_collection_once(folder: Path) -> None:
    tasks = load_lotte_suite(folder)
    names = ["writing-search", "writing-forum", "science-search", "science-forum", "pooled-search", "pooled-forum"]
    assert [task.name for task in tasks] == names
    assert tasks[0].collection.corpus is tasks[1].collection.corpus
    assert [task.name for task in load_lotte_suite(folder, ["pooled-forum", "writing-search"])] == [names[5], names[0]]
    make(folder, "lifestyle", ["tea or coffee?"], split="dev")
    assert [task.name for task in load_lotte_suite(folder, split="dev")] == ["lifestyle-search", "lifestyle-forum"]


def test_success_at_5_is_that_of_colberts_script(folder: Path) -> None:
    """Its rule: of all questions of the qas file, the share with an answer in the first five; no ranking is a miss."""
    task = load_lotte(folder, topic="pooled", kind="search")
    first = [Hit(str(n), 100.0 - n) for n in range(5)]
    ranked = {
        "0": [*first[:4], Hit("10", 50), *[Hit("9", 1)]],  # the answer is fifth
        "1": [*first, Hit("11", 50)],  # sixth
        "2": [Hit("12", 200), *first],  # first; question 3 has no ranking
    }
    values = per_query(Run(ranked, depth=10), task.collection.qrels, ["Success@5"])["Success@5"]
    assert values == {"0": 1, "1": 0, "2": 1, "3": 0}
    assert mean(values) == 2 / 4


def test_answers_that_are_not_there_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "writing/test/qas.search.jsonl"
    path.write_text('{"qid": 0, "answer_pids": [10, 99]}\n{"qid": 7, "answer_pids": [1]}\n')
    with caplog.at_level(logging.WARNING):
        load_lotte(folder, topic="writing", kind="search")
    assert [record.getMessage() for record in caplog.records] == [
        "writing-search: the judgements name 1 queries that aren't there (7); "
        "they name 1 documents that aren't there (99)"
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("questions.search.tsv", "0\tfine\n1 no tab\n", ":2: wanted 2 columns separated by a tab, found 1"),
        ("questions.search.tsv", "0\t \n", ":1: field 'question': must not be empty"),
        ("questions.search.tsv", "0\ta\n0\tb\n", ":2: field 'qid': '0' comes twice"),
        ("questions.search.tsv", "\n", ": holds no question"),
        ("qas.search.jsonl", '{"answer_pids": [1]}\n', ":1: field 'qid': wanted a number, found null"),
        ("qas.search.jsonl", '{"qid": 0, "answer_pids": 3}', ":1: field 'answer_pids': wanted a list of numbers, found 3"),  # noqa: E501
        ("qas.search.jsonl", '{"qid": 0, "answer_pids": []}\n' * 2, ":2: field 'qid': 0 comes twice"),
        ("qas.search.jsonl", "[]\n", ":1: wanted a JSON object, found list"),
        ("qas.search.jsonl", "", ": holds no question"),
    ],
)  # fmt: skip
def test_bad_files_are_named(folder: Path, name: str, text: str, message: str) -> None:
    path = folder / "writing/test" / name
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_lotte(folder, topic="writing", kind="search")
    assert str(caught.value) == f"{path}{message}"


def test_unknown_names_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LoTTE has no 'writting'; did you mean writing"):
        load_lotte(folder, topic="writting", kind="search")
    with pytest.raises(ConfigError, match="LoTTE has no 'serach'; did you mean search"):
        load_lotte(folder, topic="writing", kind="serach")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="LoTTE has no 'train'; did you mean dev, test"):
        load_lotte_suite(folder, split="train")
    with pytest.raises(ConfigError, match="has no 'technology-search'; did you mean"):
        load_lotte_suite(folder, ["technology-search"])
    with pytest.raises(DataError, match=r"collection.tsv: no such file"):
        load_lotte(folder, topic="technology", kind="search")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds none of LoTTE's topics"):
        load_lotte_suite(tmp_path / "empty")
