"""SearchResult: what a person sees."""

from __future__ import annotations

import json

from tart import Document, Instruction, Query, Searcher, SearchHit, SearchResult
from tart.retrieval.protocols import EncodedText
from tart.retrieval.result import Stage, printable, shorten
from tart.testing import KeywordEncoder

HOSTILE = "<script>alert(1)</script> [bold]no markup[/bold] \x1b[31m \ud800 \x00"


def result(**changes: object) -> SearchResult:
    hit = SearchHit(1, "d1", "A <b>title</b>", HOSTILE, 0.5, {"dense": Stage(2, 0.5), "reranked": Stage(1, 0.9)})
    facts = {
        "query": Query("q", "what <i>is</i> asked", Instruction("Find this")),
        "hits": (hit,),
        "encoded": EncodedText("Find this what is asked", 9, 1234),
        "seconds": {"dense": 0.0123},
    }
    return SearchResult(**{**facts, **changes})  # type: ignore[arg-type]


def test_print_shows_everything_that_matters() -> None:
    text = str(result())
    for part in (
        "what <i>is</i> asked",
        "Find this",
        "0.500",
        "dense 2",
        "reranked 1",
        "1,234 tokens cut off",
        "12 ms",
    ):
        assert part in text
    assert "[bold]no markup[/bold]" in text


def test_print_and_html_hold_nothing_that_acts() -> None:
    for shown in (str(result()), result()._repr_html_()):
        assert "\x1b" not in shown and "\x00" not in shown
        shown.encode("utf-8")  # no lone surrogate
    page = result()._repr_html_()
    assert "<script>" not in page and "<i>is</i>" not in page and "<b>title</b>" not in page
    assert "&lt;script&gt;" in page


def test_json_holds_everything() -> None:
    facts = json.loads(json.dumps(result().to_dict()))
    assert facts["hits"][0]["stages"]["reranked"] == {"rank": 1, "score": 0.9}
    assert facts["encoded"] == {"text": "Find this what is asked", "tokens": 9, "cut_tokens": 1234}
    assert facts["instruction"] == "Find this" and facts["hits"][0]["text"] == HOSTILE


def test_without_vectors_and_without_instruction() -> None:
    plain = result(encoded=None, query=Query("q", "asked"), hits=())
    assert "no instruction" in str(plain) and "encoded" not in plain.caption()
    assert len(plain) == 0 and list(plain) == []


def test_it_is_a_sequence_of_hits() -> None:
    assert result()[0].doc_id == result()[-1].doc_id == "d1" and result()[:1] == result().hits


def test_shorten_and_printable() -> None:
    assert shorten("a\n b\t c", 10) == "a b c"
    assert shorten("x" * 20, 10) == "x" * 9 + "…"
    assert printable("a\x07b\u202ec") == "a�b�c"


def test_odd_documents_print(tmp_path: object) -> None:
    odd = ["", "🎉 emoji", "שלום", "\x00\x01", "\ud800", HOSTILE]
    documents = [Document(f"d{n}", text) for n, text in enumerate(odd)]
    searcher = Searcher.build(documents, KeywordEncoder(["emoji"]), f"{tmp_path}/index")
    found = searcher.search("emoji \ud800 \x00 שלום", k=10)
    assert {hit.text for hit in found} == set(odd)
    assert str(found) and found._repr_html_()
