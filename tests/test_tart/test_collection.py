"""Documents, queries, corpora and the errors they raise."""

from __future__ import annotations

import pickle
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tart.collection import Corpus, Document, Query
from tart.errors import ConfigError, DataError
from tart.instruction import Instruction


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((7, "x"), "field 'doc_id': must be a string, got int"),
        (("", "x"), "field 'doc_id': must not be empty"),
        ((" \n", "x"), "field 'doc_id': must not be empty"),
        (("a", None), "field 'text': must be a string, got NoneType"),
        (("a", b"x"), "field 'text': must be a string, got bytes"),
        (("a", "x", None), "field 'title': must be a string, got NoneType"),
    ],
)
def test_bad_documents_are_refused_by_field(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        Document(*arguments)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, "x"), "field 'query_id': must be a string, got int"),
        (("\t", "x"), "field 'query_id': must not be empty"),
        (("q", ["x"]), "field 'text': must be a string, got list"),
        (("q", " \u3000"), "field 'text': must not be empty"),
        (("q", "x", "Find code"), "field 'instruction': must be an Instruction or None, got str; wrap a sentence as "),
    ],
)
def test_bad_queries_are_refused_by_field(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        Query(*arguments)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_bad_instructions_are_refused() -> None:
    with pytest.raises(ConfigError, match="must not be blank; for a search without one, give instruction=None"):
        Instruction(" ")
    with pytest.raises(ConfigError, match="an instruction's text must be a string, got NoneType"):
        Instruction(None)  # type: ignore[arg-type]


def test_empty_title_and_text_are_fine() -> None:
    assert Document("a", "") == Document("a", "", "")


def test_a_query_changes_its_instruction_and_nothing_else() -> None:
    query = Query("q", "text", Instruction("Find code"))
    assert query.plain() == Query("q", "text") and query.plain().plain() == query.plain()
    assert query.instructed(Instruction("Find prose")) == Query("q", "text", Instruction("Find prose"))
    assert query.instruction == Instruction("Find code")


def test_a_corpus_keeps_the_given_order_and_refuses_a_repeated_id() -> None:
    documents = [Document("b", "1"), Document("a", "2")]
    corpus = Corpus(iter(documents))
    assert list(corpus.values()) == documents and len(corpus) == 2 and "c" not in corpus
    with pytest.raises(KeyError):
        corpus["c"]
    with pytest.raises(DataError) as caught:
        Corpus([*documents, Document("b", "other")])
    assert str(caught.value) == "field 'doc_id': the id 'b' comes twice; ids must be unique"


def fingerprint(*documents: Document) -> str:
    return Corpus(documents).fingerprint


def test_the_fingerprint_changes_with_every_part_and_the_order() -> None:
    a, b = Document("a", "text", "title"), Document("b", "other")
    different = [
        fingerprint(a, b),
        fingerprint(b, a),
        fingerprint(a),
        fingerprint(),
        fingerprint(Document("A", "text", "title"), b),
        fingerprint(Document("a", "text2", "title"), b),
        fingerprint(Document("a", "text", "title2"), b),
        # one character goes to the neighbouring part; parts change places; one part holds all
        fingerprint(Document("a", "ext", "titlet"), b),
        fingerprint(Document("at", "text", "itle"), b),
        fingerprint(Document("a", "title", "text"), b),
        fingerprint(Document("atitletext", ""), b),
        fingerprint(Document("a", "text\ud800", "title"), b),
        fingerprint(Document("a", "text\ud801", "title"), b),
        fingerprint(Document("a", "text\x00", "title"), b),
    ]
    assert len(set(different)) == len(different)
    assert fingerprint(a, b) == fingerprint(Document("a", "text", "title"), Document("b", "other"))


parts = st.text(st.sampled_from("a\x00\ud800é"), max_size=3)
corpora = st.lists(st.builds(Document, parts.map("x{}".format), parts, parts), max_size=3, unique_by=lambda d: d.doc_id)


@settings(deadline=None)
@given(corpora, corpora)
def test_fingerprints_are_equal_only_for_equal_corpora(one: list[Document], other: list[Document]) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "is bad"),
        ({"path": "f.jsonl"}, "f.jsonl: is bad"),
        ({"path": Path("d") / "f.jsonl", "line": 3}, "d/f.jsonl:3: is bad"),
        ({"path": "f.jsonl", "line": 3, "field": "_id"}, "f.jsonl:3: field '_id': is bad"),
        ({"field": "_id"}, "field '_id': is bad"),
    ],
)
def test_a_data_error_says_where_and_survives_another_process(where: dict[str, object], message: str) -> None:
    error = DataError("is bad", **where)  # type: ignore[arg-type]
    copy = pickle.loads(ForkingPickler.dumps(error))  # noqa: S301 what multiprocessing does with an exception
    for one in (error, copy):
        assert type(one) is DataError and str(one) == message and one.problem == "is bad"
        assert (one.path, one.line, one.field) == (where.get("path"), where.get("line"), where.get("field"))
