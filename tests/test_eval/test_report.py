"""report.md and report.html: everything is there, nothing of a stranger's text is run, and the page stays small."""

from __future__ import annotations

import html.parser
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval import details
from eval.embedding_cache import EmbeddingCache
from eval.report import VERDICTS, Report, Result, read_report
from eval.report_html import render_html
from eval.report_markdown import render_markdown, show_p
from eval.runner import evaluate
from eval.system import Corpora, PooledDocuments, System
from eval.systems import DenseSystem, SparseSystem
from eval.task import Pool, Task
from tart import Corpus, Document, Instruction, Query
from tart.collection import TestCollection
from tart.errors import DataError
from tart.run import Hit, Run
from tart.testing import KeywordEncoder

EVIL = "@@data@@ </script><script>alert(1)</script><img src=x onerror=alert(2)> & \"quoted\" 'single' | sort"


def evil_task(name: str, unit: str) -> Task:
    corpus = Corpus([Document(f"d{row}{EVIL}", EVIL, title=EVIL) for row in range(3)])
    queries = tuple(Query(f"q{row}{EVIL}", EVIL, Instruction(f"wish {EVIL}")) for row in range(3))
    qrels = {query.query_id: {f"d0{EVIL}": 1} for query in queries}
    return Task(name, "x2", TestCollection(name, corpus, queries, qrels), (Instruction(f"wish {unit} {EVIL}"),), unit)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    encoder = KeywordEncoder(["sort", "wish", "code"])
    encoder.name = EVIL
    pool = Pool("evil", (evil_task(f"one {EVIL}", "code"), evil_task("two", "prose")))
    conditions = ["none", "own", "wordings", "other", "generic", "repeat"]
    systems = [DenseSystem(encoder, EmbeddingCache(tmp_path / "cache")), SparseSystem()]
    return evaluate(pool, systems, instructions=conditions, measures=["nDCG@10", "R@2"], out=tmp_path / "out")


class Guessing(System):
    """Finds ten documents by chance."""

    retrieval = "dense"

    def __init__(self, name: str) -> None:
        self.name, self.chance = name, random.Random(name)

    def retrieve(self, corpora: Corpora, queries: Sequence[Query], k: int) -> Run:
        ids = list(PooledDocuments(corpora))
        return Run({query.query_id: [Hit(doc_id, 1) for doc_id in self.chance.sample(ids, 10)] for query in queries}, k)

    def facts(self) -> dict[str, Any]:
        return {}


class Parser(html.parser.HTMLParser):
    """Which tags the page has, and with what."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


def test_no_text_of_a_stranger_becomes_markup(report: Report) -> None:
    page = render_html(report)
    parsed = Parser(page)
    scripts = [attributes for tag, attributes in parsed.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not any(tag == "img" for tag, _ in parsed.tags)
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert page.count("</script>") == 2


def test_the_data_of_the_page_is_whole_and_no_placeholder_in_it_is_filled(report: Report) -> None:
    data = json.loads(Parser(render_html(report)).scripts[0])
    assert data == json.loads(json.dumps(report.details))
    assert any("@@data@@" in title for _, title, _ in data["documents"])


def test_the_page_asks_for_nothing_from_outside(report: Report) -> None:
    page = render_html(report)
    parsed = Parser(page)
    assert not any({"src", "href", "srcset", "data"} & set(attributes) for _, attributes in parsed.tags)
    assert not any(tag in ("link", "iframe", "object", "base", "form") for tag, _ in parsed.tags)
    assert "@import" not in page and "url(" not in page and "fetch(" not in page and "innerHTML" not in page
    policy = next(attributes["content"] for tag, attributes in parsed.tags if "http-equiv" in attributes)
    assert policy is not None and policy.startswith("default-src 'none'")


def test_the_page_shows_every_part(report: Report) -> None:
    page = render_html(report)
    for title in (
        *("Does it listen?", "nDCG@10 under each instruction", "nDCG@10, closed against pooled", "Query by query"),
        *(
            "x2: nDCG@10",
            "x2: wrong task@10",
            "x2: wrong unit@10",
            "Whose documents are found",
            "Differences to the own instruction",
            "All figures",
            "Provenance",
            "To know",
        ),
    ):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<table class=heat") == len(report.confusion) > 0
    assert page.count("<tr") > len(report.results) + len(report.differences)
    assert "prefers-color-scheme: dark" in page and "aria-sort" in page


def test_the_tables_say_what_each_verdict_means(report: Report) -> None:
    text = render_markdown(report)
    assert report.verdicts
    for verdict in report.verdicts:
        assert text.count(f"- {verdict.verdict}: {VERDICTS[verdict.verdict]}\n") == 1


def test_numbers_sort_as_numbers(report: Report) -> None:
    cells = re.findall(r"<td data-v=(\S+)>([^<]+)</td>", render_html(report))
    assert len(cells) > len(report.results)
    assert ("50.0", "50.00") in cells and ("1.0", "1.0000") in cells
    for number, text in cells:
        assert float(number) == float(re.split(r" |/", text.removeprefix("&lt;").replace(",", ""))[0])


def test_a_report_with_one_condition_and_task_has_a_page_too(tmp_path: Path) -> None:
    system = DenseSystem(KeywordEncoder(["sort"]), EmbeddingCache(tmp_path / "cache"))
    report = evaluate(evil_task("one", "code"), [system], instructions=["none"], out=tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert "Does it listen?" not in page and "Query by query" in page
    (plot,) = report.details["plots"]
    assert plot["x"] is None and plot["y"] == "none, closed"
    assert [point[1] for point in plot["points"]] == [None] * 3


def test_texts_are_kept_for_the_queries_that_changed_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 queries the instruction helps the last twelve; ten are the fewest that keep their texts."""
    monkeypatch.setattr(details, "IN_ALL", 1)
    corpus = Corpus([Document("plain", "sort sort"), Document("wanted", "sort code code code")])
    queries = tuple(Query(f"q{row}", "sort", Instruction("code" if row >= 18 else "nothing")) for row in range(30))
    collection = TestCollection("t", corpus, queries, {query.query_id: {"wanted": 1} for query in queries})
    system = DenseSystem(KeywordEncoder(["sort", "code"]), EmbeddingCache(tmp_path))
    report = evaluate(Task("t", "x2", collection), [system])
    (plot,) = report.details["plots"]
    assert (plot["x"], plot["y"], len(plot["points"])) == ("none, closed", "own, closed", 30)
    told = [report.details["queries"][point[0]][1] for point in plot["points"] if isinstance(point[0], int)]
    assert told == [f"q{row}" for row in range(18, 28)]
    documents = [entry[0] for entry in report.details["documents"]]
    before, after = plot["points"][18][3:]
    assert [(documents[row], grade) for row, grade in before] == [("t/plain", 0), ("t/wanted", 1)]
    assert [(documents[row], grade) for row, grade in after] == [("t/wanted", 1), ("t/plain", 0)]
    assert plot["points"][0][0] == ["t", "q0"] and len(plot["points"][0]) == 3


def test_the_page_stays_below_five_megabytes(tmp_path: Path) -> None:
    """Ten tasks of 300 queries and long documents, two systems, two conditions, closed and pooled."""
    tasks = []
    for name in range(10):
        text = f"{name} " + "long text " * 200
        corpus = Corpus([Document(f"document-{row}", f"{row} {text}", title=text) for row in range(2000)])
        queries = tuple(Query(f"q{row}", f"{row} {text}", Instruction(text)) for row in range(300))
        qrels = {f"q{row}": {f"document-{row}": 1} for row in range(300)}
        tasks.append(Task(f"task-{name}", "x2", TestCollection(str(name), corpus, queries, qrels)))
    pool = Pool("large", tuple(tasks))
    evaluate(pool, [Guessing("a"), Guessing("b")], instructions=["none", "own"], out=tmp_path / "out")
    assert 3_000_000 < (tmp_path / "out/report.html").stat().st_size < 5_000_000


def test_markdown_has_the_figures_and_breaks_at_no_bar(report: Report, tmp_path: Path) -> None:
    text = render_markdown(report)
    assert "| **" in text and "<script>" not in text.split("```")[0]
    for row in report.where(task="all", measure="nDCG@10", instruction="own"):
        assert f"{100 * row.value:.2f}" in text
    plain = Report([Result("beir", "a|b", "m", "dense", "none", "closed", "nDCG@10", 0.5, None, None, 3)])
    assert "a\\|b" in render_markdown(plain)


def test_p_values_never_look_like_zero() -> None:
    assert (show_p(0.00009), show_p(0.0001), show_p(1.0), show_p(None)) == ("<0.0001", "0.0001", "1.0000", "-")


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no finished report: report\.json is missing"):
        read_report(tmp_path)


@pytest.mark.parametrize("name", ["report.json", "per_query.json"])
def test_a_damaged_report_is_refused_with_its_file_named(report: Report, tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match=f"{name}: not valid JSON"):
        read_report(tmp_path / "out")


def test_a_report_of_another_form_is_refused(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "out/report.json"
    facts = json.loads(path.read_text())
    del facts["results"][0]["value"]
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match="not a report of this version"):
        read_report(tmp_path / "out")
