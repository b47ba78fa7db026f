"""The same query under several instructions: which queries belong together, and what the measures are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval.follow_measures import robustness_at_k
from eval.follow_suite import Pair, load_follow, load_follow_suite
from eval.measures import per_query
from tart.errors import ConfigError, DataError
from tart.run import Hit, Run

HEADER = "query-id\tcorpus-id\tscore\n"


def write(folder: Path, queries: list[dict[str, Any]], **judgements: str) -> Path:
    """A collection of four documents; `judgements`: folder -> lines "query document grade"."""
    folder.mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "d{n}", "text": "text {n}"}}\n' for n in range(1, 5)))
    (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    for name, lines in judgements.items():
        (folder / name).mkdir()
        rows = "".join("\t".join(line.split()) + "\n" for line in lines.split(", "))
        (folder / name / "test.tsv").write_text(HEADER + rows)
    return folder


def ranked(*doc_ids: str) -> list[Hit]:
    return [Hit(doc_id, float(-place)) for place, doc_id in enumerate(doc_ids)]


FOLLOW_IR = [
    {"_id": "7-og", "text": "cats", "instruction": "Anything about cats is relevant."},
    {"_id": "7-changed", "text": "cats", "instruction": "Tigers are not relevant."},
]
FOLLOW_IR_QRELS = "7-og d1 1, 7-og d2 1, 7-changed d1 1, 7-changed d2 0"


def test_followir_as_mteb_has_it(tmp_path: Path) -> None:
    follow = load_follow(write(tmp_path / "news", FOLLOW_IR, qrels=FOLLOW_IR_QRELS))
    assert (follow.task.name, follow.task.suite, follow.directed) == ("news", "follow", True)
    assert follow.groups == {"7": ("7-og", "7-changed")} and follow.pairs == (Pair("7", "7-og", "7-changed"),)
    assert follow.removed() == {"7": ["d2"]}
    assert [query.instruction.text for query in follow.task.own_queries() if query.instruction] == [
        "Anything about cats is relevant.",
        "Tigers are not relevant.",
    ]
    # d2 falls from the second place to the fourth: 1 - 2/4
    run = Run({"7-og": ranked("d1", "d2", "d3", "d4"), "7-changed": ranked("d1", "d3", "d4", "d2")}, depth=4)
    assert follow.p_mrr(run) == {"7": 0.5}


def test_followir_as_its_authors_have_it_is_the_same(tmp_path: Path) -> None:
    row = {"_id": "7", "text": "cats", "short_query": "c", "keywords": "k"}
    row |= {"instruction_og": FOLLOW_IR[0]["instruction"], "instruction_changed": FOLLOW_IR[1]["instruction"]}
    one = load_follow(write(tmp_path / "a", [row], qrels_og="7 d1 1, 7 d2 1", qrels_changed="7 d1 1, 7 d2 0"))
    other = load_follow(write(tmp_path / "b", FOLLOW_IR, qrels=FOLLOW_IR_QRELS))
    assert one.task.collection.queries == other.task.collection.queries
    assert one.task.collection.qrels == other.task.collection.qrels
    assert (one.groups, one.pairs, one.directed) == (other.groups, other.pairs, other.directed)


@pytest.mark.parametrize(
    "lines",
    [
        [{"query-id": "7-og", "corpus-ids": ["d1", "d4"]}, {"query-id": "7-changed", "corpus-ids": ["d1", "d4", "d4"]}],
        [{"qid": "7", "pid": "d1"}, {"qid": "7", "pid": "d4"}],
    ],
    ids=["mteb", "authors"],
)
def test_only_candidates_are_ranked(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    folder = write(tmp_path / "news", FOLLOW_IR, qrels=FOLLOW_IR_QRELS)
    (folder / "top_ranked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    follow = load_follow(folder)
    assert follow.candidates == {"7-og": ("d1", "d4"), "7-changed": ("d1", "d4")}
    run = Run({"7-og": ranked("d3", "d4", "d2", "d1")}, depth=4)
    assert [hit.doc_id for hit in follow.among_candidates(run)["7-og"]] == ["d4", "d1"]


def test_instructir_instances_are_grouped_by_their_ids(tmp_path: Path) -> None:
    queries = [
        {"_id": f"{base}_{n}", "text": f"question {base}", "metadata": {"instruction": f"I am person {n}."}}
        for base in (1, 2)
        for n in range(3)
    ]
    judged = ", ".join(f"{base}_{n} d{n + base} 1" for base in (1, 2) for n in range(3))
    follow = load_follow(write(tmp_path / "i", queries, qrels=judged))
    assert follow.groups == {"1": ("1_0", "1_1", "1_2"), "2": ("2_0", "2_1", "2_2")}
    assert [(pair.first, pair.second) for pair in follow.pairs[:3]] == [("1_0", "1_1"), ("1_1", "1_2"), ("1_2", "1_0")]
    # every query gets the same list: its own document is at rank 1, 2, 3 and 2, 3, 4
    run = Run({query["_id"]: ranked("d1", "d2", "d3", "d4") for query in queries}, depth=4)
    reciprocal = per_query(run, follow.task.collection.qrels, ["RR@4"])["RR@4"]
    assert robustness_at_k(reciprocal, follow.groups) == {"1": pytest.approx(1 / 3), "2": 1 / 4}
    assert set(follow.p_mrr(run).values()) == {0.0}  # nothing moves


def test_opposite_instructions_are_grouped_by_their_text(tmp_path: Path) -> None:
    queries = [
        {"_id": "1-for", "text": "tea", "instruction": "supports"},
        {"_id": "2-for", "text": "milk", "instruction": "supports"},
        {"_id": "1-against", "text": "tea", "instruction": "opposes"},
    ]
    follow = load_follow(write(tmp_path / "s", queries, qrels="1-for d1 1, 1-against d2 1, 2-for d3 1"))
    assert follow.groups == {"1-for": ("1-for", "1-against"), "2-for": ("2-for",)}
    assert follow.pairs == (Pair("1-for", "1-for", "1-against"),) and not follow.directed
    # "opposes" puts d1 down from 1 to 2, and going back puts d2 down from 1 to 2: each 1 - 1/2
    run = Run({"1-for": ranked("d1", "d2"), "1-against": ranked("d2", "d1"), "2-for": ranked("d3")}, depth=2)
    assert follow.p_mrr(run) == {"1-for": 0.5}


def test_an_instruction_inside_the_text_is_taken_out(tmp_path: Path) -> None:
    queries = [
        {"_id": "q0", "text": "Find a claim it supports: the sky", "metadata": {"source_query": "the sky "}},
        {"_id": "q1", "text": "Find a claim it refutes:the sky", "metadata": {"source_query": "the sky"}},
    ]
    follow = load_follow(write(tmp_path / "p", queries, qrels="q0 d1 1, q1 d1 1"))
    found = [(query.text, query.instruction and query.instruction.text) for query in follow.task.collection.queries]
    assert found == [("the sky", "Find a claim it supports"), ("the sky", "Find a claim it refutes")]
    assert follow.groups == {"q0": ("q0", "q1")}
    assert follow.removed() == {"q0": []}  # both want d1: no document tells the two apart
    assert follow.p_mrr(Run({"q0": ranked("d1"), "q1": ranked("d1")}, depth=1)) == {}


def test_queries_that_are_not_judged_are_left_out(tmp_path: Path) -> None:
    queries = [{"_id": f"q{n}", "text": "tea", "instruction": f"wish {n}"} for n in range(3)]
    follow = load_follow(write(tmp_path / "s", queries, qrels="q0 d1 1, q2 d2 1"))
    assert follow.groups == {"q0": ("q0", "q2")}
    assert len(follow.task.collection.queries) == 2


def test_a_folder_of_collections(tmp_path: Path) -> None:
    write(tmp_path / "news", FOLLOW_IR, qrels=FOLLOW_IR_QRELS)
    write(tmp_path / "plain", [{"_id": "q1", "text": "x"}], qrels="q1 d1 1")
    assert [follow.task.name for follow in load_follow_suite(tmp_path)] == ["news"]  # the other has no instructions
    assert [follow.task.name for follow in load_follow_suite(tmp_path / "news")] == ["news"]
    with pytest.raises(ConfigError, match="is the collection 'news' itself and holds no 'plain'"):
        load_follow_suite(tmp_path / "news", ["plain"])
    with pytest.raises(ConfigError, match="holds no 'nws' with instructions; did you mean news"):
        load_follow_suite(tmp_path, ["nws"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no collection whose queries have instructions"):
        load_follow_suite(tmp_path / "empty")


WITHOUT = [{"_id": "q1", "text": "x", "instruction": "a"}, {"_id": "q2", "text": "x"}]
TWO = {"_id": "7", "text": "cats", "instruction_og": "a"}
APART = {"_id": "q", "text": "the sky", "metadata": {"source_query": "the sky"}}


@pytest.mark.parametrize(
    ("queries", "judged", "message"),
    [
        (WITHOUT, {"qrels": "q1 d1 1"}, ": field 'instruction': 1 of 2 queries have none, the first is 'q2'"),
        (FOLLOW_IR[:1], {"qrels": "7-og d1 1"}, ": field '_id': '7-changed' is missing or not judged; wanted both"),
        (FOLLOW_IR, {"qrels": "8-og d1 1"}, ": no query is judged in the split 'test'"),
        ([TWO], {"qrels_og": "7 d1 1", "qrels_changed": "7 d1 1"}, ":1: field 'instruction_changed': wanted a string"),
        ([TWO | {"instruction_changed": "b"}] * 2, {"qrels_og": "7 d1 1"}, ":2: field '_id': '7' comes twice"),
        ([APART], {"qrels": "q d1 1"}, ":1: field 'text': wanted an instruction and then the source_query"),
        ([APART | {"text": "Find: a sea"}], {"qrels": "q d1 1"}, ":1: field 'text': wanted an instruction and then"),
        ([APART | {"text": " "}], {"qrels": "q d1 1"}, ":1: field 'text': must not be empty"),
    ],
)
def test_bad_queries_are_named(
    tmp_path: Path, queries: list[dict[str, Any]], judged: dict[str, str], message: str
) -> None:
    folder = write(tmp_path / "x", queries, **judged)
    with pytest.raises(DataError) as caught:
        load_follow(folder)
    assert str(caught.value).startswith(f"{folder / 'queries.jsonl'}{message}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"query-id": "7-og", "corpus-ids": "d1"}, ":1: field 'corpus-ids': wanted a list of document ids"),
        ({"query-id": "7-og", "corpus-ids": ["d9"]}, ":1: field 'corpus-ids': the corpus has no document 'd9'"),
        ({"query-id": "7-og", "corpus-ids": ["d1"]}, ": has no candidates for query '7-changed'"),
        ({"qid": "7", "pid": "d9"}, ":1: field 'pid': the corpus has no document 'd9'"),
    ],
)
def test_bad_candidates_are_named(tmp_path: Path, line: dict[str, Any], message: str) -> None:
    folder = write(tmp_path / "news", FOLLOW_IR, qrels=FOLLOW_IR_QRELS)
    (folder / "top_ranked.jsonl").write_text(json.dumps(line))
    with pytest.raises(DataError) as caught:
        load_follow(folder)
    assert str(caught.value) == f"{folder / 'top_ranked.jsonl'}{message}"
