"""Systems: the right documents, in the project's order, whatever the number of corpora."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eval import systems
from eval.embedding_cache import EmbeddingCache
from eval.given_systems import RetrieverSystem, TrecRunSystem
from eval.run_files import escape_id, read_run, run_name, unescape_id, write_run
from eval.system import PooledDocuments
from eval.systems import DenseSystem, HybridSystem, RerankSystem, SparseSystem, make_systems
from tart import Corpus, Document, Instruction, Query, ReciprocalRankFusion
from tart.errors import ConfigError, DataError
from tart.retrieval.protocols import FloatArray
from tart.run import Hit, Run
from tart.testing import KeywordEncoder, KeywordReranker, toy_collection

KEYWORDS = ["code", "prose", "sort", "read", "open", "parse"]
TOY = toy_collection()


def dense(folder: Path, keywords: Sequence[str] = KEYWORDS) -> DenseSystem:
    return DenseSystem(KeywordEncoder(keywords), EmbeddingCache(folder))


def halves() -> list[tuple[str, Corpus]]:
    """The toy corpus as two tasks; both have a document "x"."""
    documents = list(TOY.corpus.values())
    return [
        ("one/", Corpus([*documents[:3], Document("x", "sort a code")])),
        ("two/", Corpus([*documents[3:], Document("x", "sort a prose")])),
    ]


def brute_force(corpora: Sequence[tuple[str, Corpus]], query: Query, k: int) -> list[Hit]:
    encoder = KeywordEncoder(KEYWORDS)
    (vector,) = encoder.encode_queries([query])
    hits = [
        Hit(prefix + doc_id, float(vector @ encoder.encode_documents([document])[0]))
        for prefix, corpus in corpora
        for doc_id, document in corpus.items()
    ]
    return list(Run({"": hits}, k)[""])


@pytest.mark.parametrize("k", [1, 3, 5, 100])
@pytest.mark.parametrize("corpora", [[("", TOY.corpus)], halves()], ids=["closed", "pooled"])
def test_dense_search_equals_brute_force_ties_included(
    tmp_path: Path, corpora: list[tuple[str, Corpus]], k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "BATCH", 3)
    run = dense(tmp_path).retrieve(corpora, TOY.queries, k)
    assert list(run) == [query.query_id for query in TOY.queries] and run.depth == k
    for query in TOY.queries:
        assert list(run[query.query_id]) == brute_force(corpora, query, k)


def test_a_pool_of_one_ranks_as_the_closed_search(tmp_path: Path) -> None:
    for system in (dense(tmp_path), SparseSystem(), HybridSystem(dense(tmp_path), SparseSystem())):
        closed = system.retrieve([("", TOY.corpus)], TOY.queries, 5)
        pooled = system.retrieve([("toy/", TOY.corpus)], TOY.queries, 5)
        assert closed["sort-code"]
        for query_id, hits in closed.items():
            assert [Hit(f"toy/{hit.doc_id}", hit.score) for hit in hits] == list(pooled[query_id])


def test_an_empty_corpus_adds_nothing(tmp_path: Path) -> None:
    corpora = [("toy/", TOY.corpus), ("empty/", Corpus([]))]
    run = dense(tmp_path).retrieve(corpora, TOY.queries, 3)
    assert run == dense(tmp_path).retrieve([("toy/", TOY.corpus)], TOY.queries, 3)


@pytest.mark.parametrize("build", [dense, lambda path: HybridSystem(dense(path), SparseSystem())])
def test_a_changed_instruction_changes_the_run_through_the_cache(tmp_path: Path, build) -> None:
    system = build(tmp_path / "shared")
    runs = []
    for number, wish in enumerate(("Find code", "Find prose", "Find code")):
        asked = [Query("q", "sort a list", Instruction(wish))]
        runs.append(system.retrieve([("", TOY.corpus)], asked, 8))
        assert runs[-1] == build(tmp_path / str(number)).retrieve([("", TOY.corpus)], asked, 8)
    assert runs[0] == runs[2] != runs[1]


def test_the_reranker_sees_the_instruction(tmp_path: Path) -> None:
    system = RerankSystem(SparseSystem(), KeywordReranker())
    for wish, wanted in (("code", "code-sort"), ("prose", "prose-sort")):
        run = system.retrieve([("", TOY.corpus)], [Query("q", "sort list", Instruction(wish))], 1)
        assert run["q"][0].doc_id == wanted and run.depth == 1
    assert (system.name, system.retrieval) == ("bm25+keyword-overlap", "sparse+rerank")


def test_the_reranker_gets_the_first_hundred_of_a_pool() -> None:
    class Asked(KeywordReranker):
        pairs = 0

        def score(self, pairs: Sequence[tuple[Query, Document]]) -> FloatArray:
            self.pairs += len(pairs)
            return super().score(pairs)

    corpora = [(f"{name}/", Corpus([Document(str(row), f"sort {name}") for row in range(80)])) for name in "ab"]
    reranker = Asked()
    run = RerankSystem(SparseSystem(), reranker).retrieve(corpora, [Query("q", "sort")], 10)
    assert reranker.pairs == 100 and len(run["q"]) == run.depth == 10
    deeper = RerankSystem(SparseSystem(), reranker).retrieve(corpora, [Query("q", "sort")], 1000)
    assert reranker.pairs == 200 and deeper.depth == 100  # nDCG@200 would be refused, not too low


def test_bm25_searches_a_pool_with_the_pool_s_idf_and_reads_no_instruction() -> None:
    rare = Corpus([Document("r", "walrus list"), Document("s", "walrus")])
    common = Corpus([Document(str(row), "a list of things") for row in range(20)])
    system = SparseSystem()
    asked = [Query("q", "list walrus")]
    alone = system.retrieve([("", rare)], asked, 10)["q"]
    pooled = system.retrieve([("rare/", rare), ("common/", common)], asked, 10)["q"]
    # Alone, "walrus" is in every document and "list" decides. In the pool "list" is nearly everywhere, hardly
    # counts, and the shorter of the two with "walrus" wins.
    assert [hit.doc_id for hit in alone] == ["r", "s"]
    assert [hit.doc_id for hit in pooled][:2] == ["rare/s", "rare/r"]
    wished = system.retrieve([("", rare)], [asked[0].instructed(Instruction("list list list"))], 10)
    assert wished["q"] == alone


def test_hybrid_is_the_fusion_of_its_parts_to_depth_100(tmp_path: Path) -> None:
    corpora = halves()
    parts = [dense(tmp_path), SparseSystem()]
    runs = [system.retrieve(corpora, TOY.queries, 100) for system in parts]
    expected = ReciprocalRankFusion().fuse(runs, 4)
    assert HybridSystem(*parts).retrieve(corpora, TOY.queries, 4) == expected


def test_two_queries_of_one_id_are_refused(tmp_path: Path) -> None:
    twice = [Query("q", "a"), Query("q", "b")]
    for system in (dense(tmp_path), SparseSystem()):
        with pytest.raises(DataError, match="the query id 'q' comes twice"):
            system.retrieve([("", TOY.corpus)], twice, 1)


def test_pooled_documents_keep_ids_of_tasks_apart_even_with_slashes() -> None:
    one, other = Document("x/y", "first"), Document("x/y", "second")
    documents = PooledDocuments([("one/", Corpus([one])), ("two/", Corpus([other]))])
    assert list(documents) == ["one/x/y", "two/x/y"] and len(documents) == 2
    assert documents["two/x/y"] is other and "x/y" not in documents and "three/x/y" not in documents


NASTY = ["plain", "two words", "tab\there", "50%", "50%25", "%", "%20", "a%2", "\u2003wide", "\ud800", "100 %41", "é/ü"]


@pytest.mark.parametrize("name", NASTY)
def test_escaped_ids_have_no_white_space_and_come_back(name: str) -> None:
    escaped = escape_id(name)
    assert escaped.split() == [escaped] and escaped.encode("utf-8")
    assert unescape_id(escaped) == name


def test_run_files_lose_nothing(tmp_path: Path) -> None:
    run = Run({name: [Hit(other, float(rank)) for rank, other in enumerate(NASTY)] for name in NASTY}, depth=len(NASTY))
    write_run(run, tmp_path / "a.trec", "my model")
    assert read_run(tmp_path / "a.trec") == run
    assert len({escape_id(name) for name in NASTY}) == len(NASTY)


def trec(folder: Path, lines: Sequence[str]) -> TrecRunSystem:
    path = folder / "theirs.trec"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return TrecRunSystem(path)


def test_of_a_pool_a_run_file_answers_what_its_name_says_and_so_does_a_reranker_behind_it(tmp_path: Path) -> None:
    path = tmp_path / run_name(["x2", "a, b", "org/model", "dense", "own", "pooled"])
    path.write_text("q Q0 d 1 1 x\n")
    for system in (TrecRunSystem(path), RerankSystem(TrecRunSystem(path), KeywordReranker())):
        assert system.answers("a, b", "pooled")
        assert not system.answers("a, b", "closed") and not system.answers("a", "pooled")
    assert SparseSystem().answers("a, b", "closed")


def test_a_run_file_answers_as_it_stands(tmp_path: Path) -> None:
    system = trec(tmp_path, ["sort-code Q0 prose-sort 1 2.5 x", "sort-code Q0 code-sort 2 3.5 x"])
    assert (system.name, system.retrieval, system.fixed) == ("theirs", "run", True)
    run = system.retrieve([("", TOY.corpus)], TOY.queries[:1], 10)
    assert [hit.doc_id for hit in run["sort-code"]] == ["code-sort", "prose-sort"]
    assert run.depth == 10  # nobody knows whether there would have been a third


def test_a_run_file_s_escaped_ids_find_their_documents(tmp_path: Path) -> None:
    corpus = Corpus([Document("my notes", "a"), Document("b%20c", "b")])
    system = trec(tmp_path, ["the%20query Q0 my%20notes 1 2 x", "the%20query Q0 b%20c 2 1 x"])
    run = system.retrieve([("", corpus)], [Query("the query", "?")], 2)
    assert [hit.doc_id for hit in run["the query"]] == ["my notes", "b%20c"]


def test_a_run_file_with_unknown_documents_warns_and_counts_them_as_hits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    system = trec(tmp_path, ["sort-code Q0 code-sort 1 3 x", "sort-code Q0 elsewhere 2 2 x"])
    with caplog.at_level(logging.WARNING):
        run = system.retrieve([("", TOY.corpus)], TOY.queries[:2], 10)
    assert [hit.doc_id for hit in run["sort-code"]] == ["code-sort", "elsewhere"] and run["sort-prose"] == ()
    assert "1 documents ('elsewhere') not in the corpus" in caplog.text
    assert "no hit for 1 of 2 queries" in caplog.text


def test_queries_of_a_run_file_that_nobody_asks_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    system = trec(tmp_path, ["sort-code Q0 code-sort 1 3 x", "q9 Q0 code-sort 1 3 x"])
    with caplog.at_level(logging.WARNING):
        run = system.retrieve([("", TOY.corpus)], TOY.queries[:1], 10)
    assert list(run) == ["sort-code"] and "1 queries ('q9') are not asked; they are left out" in caplog.text


def test_a_run_file_of_another_task_is_refused(tmp_path: Path) -> None:
    system = trec(tmp_path, ["q9 Q0 code-sort 1 3 x"])
    with pytest.raises(DataError, match=r"theirs.trec: has none of the task's 8 queries"):
        system.retrieve([("", TOY.corpus)], TOY.queries, 10)
    system = trec(tmp_path, ["sort-code Q0 d1 1 3 x"])
    with pytest.raises(DataError, match=r"none of its documents \(1 documents \('d1'\)\) is in the corpus"):
        system.retrieve([("", TOY.corpus)], TOY.queries, 10)


def test_a_run_file_can_be_reranked_if_its_documents_are_there(tmp_path: Path) -> None:
    queries = [Query("q", "sort", Instruction("prose"))]
    first = trec(tmp_path, ["q Q0 code-sort 1 3 x", "q Q0 prose-sort 2 2 x"])
    run = RerankSystem(first, KeywordReranker()).retrieve([("", TOY.corpus)], queries, 1)
    assert [hit.doc_id for hit in run["q"]] == ["prose-sort"]
    first = trec(tmp_path, ["q Q0 code-sort 1 3 x", "q Q0 gone 2 2 x"])
    with pytest.raises(DataError, match=r"1 documents \('gone'\) of theirs not in the corpus"):
        RerankSystem(first, KeywordReranker()).retrieve([("", TOY.corpus)], queries, 1)


class Backwards:
    """A retriever of one's own."""

    def retrieve(self, queries: Sequence[Query], k: int) -> Run:
        ids = sorted(TOY.corpus, reverse=True)[:k]
        return Run({query.query_id: [Hit(doc_id, -rank) for rank, doc_id in enumerate(ids)] for query in queries}, k)


def test_any_retriever_is_a_system() -> None:
    (system,) = make_systems([Backwards()])
    run = system.retrieve([("", TOY.corpus)], TOY.queries, 2)
    assert isinstance(system, RetrieverSystem) and system.name == "Backwards"
    assert [hit.doc_id for hit in run["sort-code"]] == ["prose-sort", "prose-read"]
    with pytest.raises(DataError, match="Backwards: none of its documents"):
        system.retrieve([("one/", TOY.corpus)], TOY.queries, 2)


def test_names_become_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str, **_: object) -> KeywordEncoder:
        loaded.append(name)
        return KeywordEncoder(["a"])

    monkeypatch.setattr(systems, "load_encoder", load)
    monkeypatch.setattr(systems, "load_reranker", lambda name, **_: KeywordReranker())
    path = tmp_path / "theirs.trec"
    path.write_text("q Q0 d 1 1 x\n")
    names = ["minilm", "bm25", "hybrid", "hybrid:other", path]
    found = [(one.name, one.retrieval) for one in make_systems(names, cache=EmbeddingCache(tmp_path))]
    assert found == [
        ("minilm", "dense"),
        ("bm25", "sparse"),
        ("minilm", "hybrid"),
        ("other", "hybrid"),
        ("theirs", "run"),
    ]
    assert loaded == ["minilm", "other"]  # minilm once for both
    (reranked,) = make_systems(["bm25"], rerank="cross", cache=EmbeddingCache(tmp_path))
    assert (reranked.name, reranked.retrieval) == ("bm25+keyword-overlap", "sparse+rerank")
    assert reranked.facts()["reranker"] == "keyword-overlap" and reranked.facts()["model"] == reranked.name


def test_wrong_names_are_refused_with_near_ones() -> None:
    with pytest.raises(ConfigError, match="unknown system 'bm52'; did you mean bm25"):
        make_systems(["bm52"])
    with pytest.raises(ConfigError, match="unknown model 'minilmm'; did you mean minilm"):
        make_systems(["minilmm"])
    with pytest.raises(ConfigError, match=r"two systems are both called bm25 \(sparse\)"):
        make_systems(["bm25", "bm25"])


def test_facts_name_what_has_to_be_known(tmp_path: Path) -> None:
    facts = HybridSystem(dense(tmp_path), SparseSystem()).facts()
    assert facts["model_hash"] == KeywordEncoder(KEYWORDS).model_hash
    assert (
        facts["retrieval"] == "hybrid" and facts["bm25s"]["k1"] == 1.5 and facts["text_format"]["name"] == "tart-dual"
    )
    assert np.isclose(facts["dim"], len(KEYWORDS))


def test_facts_name_the_weights_and_the_backend_of_a_reranker() -> None:
    reranker = KeywordReranker()
    assert RerankSystem(SparseSystem(), reranker).facts()["reranker_hash"] is None  # one that says nothing of them
    reranker.model_hash, reranker.backend = "0123abcd", "torch float32"  # type: ignore[attr-defined]
    facts = RerankSystem(SparseSystem(), reranker).facts()
    assert (facts["reranker"], facts["reranker_hash"]) == ("keyword-overlap", "0123abcd")
    assert facts["reranker_backend"] == "torch float32"


def test_run_names_differ_where_their_parts_do_and_fit_any_disk() -> None:
    long = ["x" * 300 + end for end in "ab"]
    asked = [["a,b", "c"], ["a", "b,c"], ["a b", "c"], ["a%20b", "c"], ["a/b", "c"], *([name, "c"] for name in long)]
    names = {run_name(parts) for parts in asked}
    assert len(names) == len(asked)
    assert all(len(name) < 200 and "/" not in name for name in names | {run_name(["../up", "/root"])})
