"""The demo: its corpus is real, stable and large enough; its tables say what the results say."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tart import Document, Instruction, Query, Searcher, SearchHit, SearchResult
from tart.demo import show
from tart.demo.stdlib_corpus import KINDS, kind_of, stdlib_documents
from tart.errors import StorageError
from tart.retrieval.protocols import EncodedText
from tart.testing import KeywordEncoder


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(stdlib_documents())


def test_the_corpus_is_large_and_has_every_kind(documents: list[Document]) -> None:
    assert len(documents) >= 10_000
    counts = {kind: sum(kind_of(d.doc_id) == kind for d in documents) for kind in KINDS}
    assert min(counts.values()) >= 1000, counts


def test_the_corpus_is_the_same_each_time(documents: list[Document]) -> None:
    assert list(stdlib_documents()) == documents
    assert len({d.doc_id for d in documents}) == len(documents)


def test_code_and_documentation_are_about_the_same_things(documents: list[Document]) -> None:
    titles = {kind: {d.title for d in documents if kind_of(d.doc_id) == kind} for kind in KINDS}
    assert len(titles["code"] & titles["documentation"]) > 0.6 * len(titles["code"])


def test_code_is_source_without_its_docstring(documents: list[Document]) -> None:
    code = [d.text for d in documents if kind_of(d.doc_id) == "code"]
    functions = [text for text in code if text.startswith(("def ", "async def "))]
    assert len(functions) > 0.8 * len(code)
    assert sum('"""' in text for text in code) < 0.02 * len(code)


def result(wish: str | None, *doc_ids: str) -> SearchResult:
    hits = tuple(SearchHit(n, doc_id, f"title of {doc_id}", "text", 1 / n, {}) for n, doc_id in enumerate(doc_ids, 1))
    encoded = EncodedText(f"{wish or ''} the query", 3, 0)
    return SearchResult(Query("q", "the query", Instruction(wish) if wish else None), hits, encoded, {})


PLAIN = result(None, "docs:a#1", "code:b", "topic:c#1", "docs:d#1")
ASKED = result("Find code", "code:b", "code:e", "docs:a#1", "docs:d#1")


def test_shares_and_moves_by_hand() -> None:
    assert show.kind_shares(PLAIN.hits) == {"code": 0.25, "documentation": 0.5, "topic": 0.25}
    assert show.kind_shares(()) == {"code": 0, "documentation": 0, "topic": 0}
    assert show.moves(PLAIN, ASKED) == {"code:b": 1, "code:e": None, "docs:a#1": -2, "docs:d#1": 0}


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_shows_kinds_changes_shares_and_what_was_encoded(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(show.comparison_table([PLAIN, ASKED], width))
    lines = console.export_text().splitlines()
    assert max(len(line) for line in lines) <= width
    shown = " ".join(" ".join(lines).split())
    for part in ("“the query”", "no instruction", "Find code", "code title of code:b ↑1", "code title of code:e new",
                 "docs title of docs:a#1 ↓2", "code 25 %", "code 50 %", "encoded: Find code the query"):  # fmt: skip
        assert part in shown, part


def test_the_summary_says_what_the_figures_say() -> None:
    other = result("Find a paragraph", "docs:a#1", "docs:f#1", "docs:d#1", "code:b")
    answers = [[PLAIN, ASKED, other], [PLAIN, PLAIN, other]]
    assert show.mean_shares(answers, 1) == {"code": 0.375, "documentation": 0.5, "topic": 0.125}
    sentence = show.summary_sentence("taught", answers)
    assert sentence.startswith("taught: ")
    assert "for code from 25 % to 38 %, for documentation from 50 % to 75 %" in sentence
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(show.summary_table({"taught": answers, "stock": [[PLAIN] * 3]}))
    shown = console.export_text()
    assert all(part in shown for part in ("taught", "* 38 %", "* 75 %", "stock", "* 25 %", "* 50 %"))


def test_the_demo_runs_and_reuses_its_index(
    documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "stdlib_documents", lambda: documents[::50])
    monkeypatch.setattr(
        show, "load_encoder", lambda name, **_: KeywordEncoder(["read", "file", "line", "source", "code"])
    )
    for attempt in range(2):
        console = Console(file=io.StringIO(), width=100, record=True)
        show.run_demo(tmp_path / "demo", console=console)
        text = console.export_text()
        assert text.count("encoded:") == len(show.QUERIES) * 3 and "Share of each kind in the top 10" in text
        assert text.count("went for code") == 2
        assert ("reused" in capsys.readouterr().err.replace("\n", "")) == bool(attempt)
    made = Searcher.open(tmp_path / "demo", KeywordEncoder(["read", "file", "line", "source", "code"]))
    monkeypatch.setattr(show, "stdlib_documents", lambda: documents[::60])
    show.run_demo(tmp_path / "demo", console=Console(file=io.StringIO()))
    assert "made anew" in capsys.readouterr().err.replace("\n", " ")
    assert len(made.documents) == len(documents[::50])  # an open one is not disturbed


def test_an_index_that_the_demo_did_not_make_is_not_overwritten(
    documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = KeywordEncoder(["read", "file"])
    monkeypatch.setattr(show, "stdlib_documents", lambda: documents[::60])
    monkeypatch.setattr(show, "load_encoder", lambda name, **_: encoder)

    def demo() -> None:
        show.run_demo(tmp_path / "index", stock=None, console=Console(file=io.StringIO()))

    own = [Document("docs:a", "my file"), Document("code:b", "my code")]
    for made_by in (encoder, KeywordEncoder(["another", "model"])):
        Searcher.build(own, made_by, tmp_path / "index", overwrite=True)
        with pytest.raises(StorageError, match=r"it isn't overwritten, as it is none of the demo: choose another"):
            demo()
        assert list(Searcher.open(tmp_path / "index", made_by).documents.in_order()) == own
    (tmp_path / "index" / "manifest.json").write_text('{"name": "an application of the web"}')
    with pytest.raises(StorageError, match="it isn't overwritten"):
        demo()
    Searcher.build(documents[::50], made_by, tmp_path / "demo")  # of another model and another library
    (tmp_path / "demo").rename(tmp_path / "made")
    show.run_demo(tmp_path / "made", stock=None, console=Console(file=io.StringIO()))
    assert len(Searcher.open(tmp_path / "made", encoder).documents) == len(documents[::60])
