"""The texts that models read, written out by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.instruction import Instruction
from tart.text_format import PRESETS, TextFormat, named_format

# preset -> query with the instruction "Find code", the same without, a document with a title, one without
WRITTEN_OUT = {
    "plain": ("Find code sort a list", "sort a list", "The title the body", "the body"),
    "tart-dual": ("Find code [SEP] sort a list", "sort a list", "The title the body", "the body"),
    "tart-full": ("Find code </s> sort a list", "sort a list", "The title the body", "the body"),
    "tart-full-sep": ("Find code [SEP] sort a list", "sort a list", "The title the body", "the body"),
    "tart-reversed": ("sort a list [SEP] Find code", "sort a list", "The title the body", "the body"),
    "e5": (
        "query: Find code sort a list",
        "query: sort a list",
        "passage: The title the body",
        "passage: the body",
    ),
    "e5-instruct": ("Instruct: Find code\nQuery: sort a list", "sort a list", "The title the body", "the body"),
    "bge": (
        "Find code sort a list",
        "Represent this sentence for searching relevant passages: sort a list",
        "The title the body",
        "the body",
    ),
    "instructor": (
        "Find code: sort a list",
        "Represent the question for retrieving supporting documents: sort a list",
        "Represent the document for retrieval: The title the body",
        "Represent the document for retrieval: the body",
    ),
    "promptriever": (
        "query:  sort a list Find code",
        "query:  sort a list",
        "passage:  The title the body",
        "passage:  the body",
    ),
}


@pytest.mark.parametrize("name", PRESETS)
def test_the_joined_texts_of_a_preset(name: str) -> None:
    text_format = named_format(name)
    query = Query("q", "sort a list", Instruction("Find code"))
    assert (
        text_format.query_text(query),
        text_format.query_text(query.plain()),
        text_format.document_text(Document("d", "the body", "The title")),
        text_format.document_text(Document("d", "the body")),
    ) == WRITTEN_OUT[name]
    assert text_format.name == name and text_format.source
    assert text_format.instruction_first == (name not in ("tart-reversed", "promptriever"))


def test_which_presets_know_instructions_and_how_much_they_read() -> None:
    unaware = {name for name, preset in PRESETS.items() if not preset.knows_instructions}
    assert unaware == {"plain", "e5", "bge"}
    limits = {name: (p.max_query_tokens, p.max_document_tokens) for name, p in PRESETS.items() if p.max_query_tokens}
    assert limits == {"tart-dual": (256, 256)}


NASTY = [
    "{query}",
    "{instruction}",
    "{text}",
    "{instruction} {query} {text}",
    "{",
    "}",
    "{}",
    "{0}",
    "%s",
    "\\1",
    "\\g<0>",
    " a ",
    "\n",
]


@pytest.mark.parametrize("name", PRESETS)
def test_what_looks_like_a_placeholder_in_a_text_stands_as_it_is(name: str) -> None:
    text_format = PRESETS[name]
    joined, plain, titled, bare = (
        text.replace("Find code", "INSTRUCTION").replace("sort a list", "QUERY") for text in WRITTEN_OUT[name]
    )
    for text in NASTY:
        if not text.strip():
            continue
        for wish in ("Find {query}", text):
            found = text_format.query_text(Query("q", text, Instruction(wish)))
            before, after = joined.split("QUERY")
            assert found == before.replace("INSTRUCTION", wish) + text + after.replace("INSTRUCTION", wish)
        assert text_format.query_text(Query("q", text)) == plain.replace("QUERY", text)
        assert text_format.document_text(Document("d", text)) == bare.replace("the body", text)
        title_first = titled.replace("The title the body", f"{text} {text}")
        assert text_format.document_text(Document("d", text, text)) == title_first


texts = st.text(min_size=1).filter(str.strip)


@settings(deadline=None)
@given(texts, texts, st.booleans())
def test_the_parts_of_a_query_joined_are_its_text(text: str, wish: str, plain: bool) -> None:
    for text_format in PRESETS.values():
        query = Query("q", text, None if plain else Instruction(wish))
        before, middle, after = text_format.query_parts(query)
        assert before + middle + after == text_format.query_text(query)
        assert len(middle) == len(text)
        (before + middle + after).encode("utf-8")


def test_lone_surrogates_become_replacement_characters() -> None:
    text_format = PRESETS["tart-dual"]
    assert text_format.query_parts(Query("q", "a\ud800b", Instruction("c\udfff"))) == ("c\ufffd [SEP] ", "a\ufffdb", "")
    assert text_format.document_text(Document("d", "\udc00🎉", "\ud83c")) == "\ufffd \ufffd🎉"


def test_titles_and_empty_texts() -> None:
    text_format = TextFormat("mine", document="[{text}]")
    for text, title, wanted in (
        ("body", "", "[body]"),
        ("", "title", "[title ]"),
        ("", "", "[]"),
        (" body", "title ", "[title   body]"),
    ):
        assert text_format.document_text(Document("d", text, title)) == wanted


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"instructed_query": "{query}"}, "instructed_query must hold {instruction} and {query} once each, found "),
        ({"instructed_query": "{instruction}"}, "must hold {instruction} and {query} once each, found ['instruction']"),
        ({"instructed_query": "{query} {instruction} {query}"}, "found ['instruction', 'query', 'query']"),
        ({"plain_query": "query: "}, "plain_query must hold {query} once each, found []"),
        ({"plain_query": "{query} {instruction}"}, "plain_query must hold {query} once each"),
        ({"plain_query": "{Query}"}, "plain_query must hold {query} once each, found ['Query']"),
        ({"document": "{title} {text}"}, "document must hold {text} once each, found ['text', 'title']"),
        ({"document": None}, "document must be a string, got None"),
        ({"plain_query": ["{query}"]}, "plain_query must be a string, got ['{query}']"),
        ({"knows_instructions": "false"}, "knows_instructions must be true or false, got 'false'"),
        ({"knows_instructions": None}, "knows_instructions must be true or false, got None"),
        ({"source": 7}, "source must be a string, got 7"),
        ({"max_query_tokens": True}, "max_query_tokens must be an integer of at least 8 or None, got True"),
        ({"max_query_tokens": 7}, "max_query_tokens must be an integer of at least 8 or None, got 7"),
        ({"max_document_tokens": 0}, "max_document_tokens must be an integer of at least 8 or None, got 0"),
        ({"max_document_tokens": "256"}, "max_document_tokens must be an integer of at least 8 or None, got '256'"),
        ({"plain_dims": 0}, "plain_dims must be an integer of at least 1 or None, got 0"),
        ({"plain_dims": True}, "plain_dims must be an integer of at least 1 or None, got True"),
        ({"max_query_tokens": 256.5}, "max_query_tokens must be an integer of at least 8 or None, got 256.5"),
    ],
)
def test_bad_formats_are_refused(values: dict[str, object], problem: str) -> None:
    for make in (lambda: TextFormat("mine", **values), lambda: TextFormat.from_dict({"name": "mine", **values})):  # type: ignore[arg-type]
        with pytest.raises(ConfigError) as caught:
            make()
        assert str(caught.value).startswith("text format 'mine': ") and problem in str(caught.value)


def test_braces_that_are_no_placeholder_are_text() -> None:
    text_format = TextFormat("mine", plain_query='{} {"a b"}: {query}', max_query_tokens=8)
    assert text_format.query_text(Query("q", "x")) == '{} {"a b"}: x'


@pytest.mark.parametrize("name", PRESETS)
def test_a_format_survives_json(name: str) -> None:
    text_format = PRESETS[name]
    assert TextFormat.from_dict(json.loads(json.dumps(text_format.to_dict()))) == text_format


def test_unknown_and_missing_keys_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        TextFormat.from_dict({"name": "mine", "separator": "[SEP]"})
    assert str(caught.value).startswith("a text format has no field 'separator'; it has name, instructed_query, ")
    with pytest.raises(ConfigError, match="a text format needs a name"):
        TextFormat.from_dict({"plain_query": "{query}"})
    with pytest.raises(ConfigError, match="text format None: name must be a string, got None"):
        TextFormat.from_dict({"name": None})
    for values in ("tart-dual", None, ["name"]):
        with pytest.raises(ConfigError) as caught:
            TextFormat.from_dict(values)  # type: ignore[arg-type]
        assert str(caught.value) == f"a text format must be an object with fields, got {values!r}"
    assert TextFormat.from_dict({"name": "mine"}) == TextFormat("mine")


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        named_format("tart_dual")
    assert str(caught.value).startswith("unknown text format 'tart_dual'; did you mean tart-dual")
    with pytest.raises(ConfigError) as caught:
        named_format("???")
    assert str(caught.value) == f"unknown text format '???'; did you mean {', '.join(sorted(PRESETS))}?"
