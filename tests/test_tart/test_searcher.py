"""Searcher: the one call, its stages, and that it can't be led astray by a wrong model, batch size or order."""

from __future__ import annotations

import itertools
import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tart
from tart import Document, Instruction, Query, Searcher
from tart.errors import ConfigError, DataError, IndexMismatch, StorageError
from tart.index.documents import DocumentStore
from tart.index.sparse import SparseIndex
from tart.manifest import replace_manifest
from tart.models.bi_encoder import BiEncoder
from tart.retrieval import searcher as searcher_module
from tart.testing import KeywordEncoder, KeywordReranker, tiny_sentence_transformer, toy_collection
from tart.text_format import PRESETS


def test_the_instruction_decides_between_equal_topics(toy_searcher: Searcher) -> None:
    code = toy_searcher.search("sort a list", "Find code that does this", k=2)
    prose = toy_searcher.search("sort a list", "Find prose that does this", k=2)
    assert (code[0].doc_id, prose[0].doc_id) == ("code-sort", "prose-sort")


def test_scores_are_what_the_vectors_say(toy_searcher: Searcher) -> None:
    hits = toy_searcher.search("sort a list", "Find code that does this", k=8).hits
    # query: code 1, sort 1; the title counts: "sort list" + "def sort_list(x): return sort(x) code" has code 1, sort 2
    assert [hit.score for hit in hits if hit.doc_id == "code-sort"] == [1 * 1 + 1 * 2]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [hit.rank for hit in hits] == list(range(1, 9))


def test_a_result_tells_each_stage(toy_searcher: Searcher) -> None:
    result = toy_searcher.search(
        "sort a list", "Find prose that does this", k=3, mode="hybrid", rerank=KeywordReranker()
    )
    assert list(result.seconds) == ["dense", "sparse", "fused", "reranked"]
    assert result.encoded is not None and result.encoded.text == "Find prose that does this [SEP] sort a list"
    first = result[0]
    assert first.doc_id == "prose-sort" and first.stages["reranked"] == (1, first.score)
    fused = 1 / (60 + first.stages["dense"].rank) + 1 / (60 + first.stages["sparse"].rank)
    assert first.stages["fused"].score == pytest.approx(fused)
    other = next(hit for hit in result if hit.doc_id == "prose-read")  # shares "a" alone, a stop word: not in BM25
    assert "sparse" not in other.stages


def test_sparse_mode_encodes_nothing_and_says_once_that_it_ignores_the_instruction(
    toy_searcher: Searcher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        results = [toy_searcher.search("sort list", wish, mode="sparse") for wish in (None, "Find code", "Find prose")]
    assert [result.encoded for result in results] == [None] * 3
    assert len({tuple(hit.doc_id for hit in result) for result in results}) == 1
    assert [r.getMessage() for r in caplog.records if "BM25" in r.getMessage()] == [
        "BM25 ranks by the words of the query alone: the instruction changes nothing in its part"
    ]


def test_each_query_of_a_batch_has_its_own_instruction(toy_searcher: Searcher) -> None:
    collection = toy_collection()
    results = toy_searcher.search_many(collection.queries, k=1)
    assert {r.query.query_id: {r[0].doc_id: 1} for r in results} == collection.qrels
    run = toy_searcher.retrieve(collection.queries, k=1)
    assert {query_id: {hits[0].doc_id: 1} for query_id, hits in run.items()} == collection.qrels


def test_k_beyond_the_corpus_gives_all_documents(toy_searcher: Searcher) -> None:
    assert len(toy_searcher.search("sort", k=1000)) == 8
    assert len(toy_searcher.search("sort", k=1000, mode="hybrid")) == 8


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(toy_searcher: Searcher, k: int) -> None:
    with pytest.raises(ConfigError, match=f"k must be at least 1, got {k}"):
        toy_searcher.search("sort", k=k)


def test_other_wrong_calls_are_refused(toy_searcher: Searcher) -> None:
    with pytest.raises(DataError, match="field 'text': must not be empty"):
        toy_searcher.search("  ")
    with pytest.raises(ConfigError, match="must not be blank"):
        toy_searcher.search("sort", " ")
    with pytest.raises(ConfigError, match="unknown mode 'bm25'; wanted dense, sparse, hybrid"):
        toy_searcher.search("sort", mode="bm25")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="fusion goes with mode 'hybrid'"):
        toy_searcher.search("sort", fusion=tart.WeightedSum())
    with pytest.raises(DataError, match="query id 'q' comes twice"):
        toy_searcher.search_many([Query("q", "a"), Query("q", "b")])
    assert toy_searcher.search_many([]) == []


@pytest.fixture(scope="module")
def real_documents() -> list[Document]:
    """Real text, a few of them equal to another one under another id."""
    from tart.demo.stdlib_corpus import stdlib_documents

    documents = list(itertools.islice(stdlib_documents(), 0, 9000, 60))
    return documents + [Document(f"copy-{n}", d.text, d.title) for n, d in enumerate(documents[::10])]


def test_rankings_do_not_depend_on_batch_size_order_or_disk(
    minilm: BiEncoder, real_documents: list[Document], tmp_path: Path
) -> None:
    queries = [
        Query(f"q{n}", d.text[:60], Instruction("Find code")) for n, d in enumerate(real_documents[:40]) if d.text
    ]
    shuffled = random.Random(1).sample(real_documents, len(real_documents))
    runs = []
    for name, documents, size in (
        ("1", real_documents, 1), ("7", real_documents, 7), ("64", real_documents, 64), ("shuffled", shuffled, 64)
    ):  # fmt: skip
        encoder = BiEncoder(minilm.model, minilm.text_format, "minilm", batch_tokens=size)
        searcher = Searcher.build(documents, encoder, tmp_path / name)
        runs.append(searcher.retrieve(queries, 10))
        runs.append(Searcher.open(tmp_path / name).retrieve(queries, 10))
        runs.append(tart.Run({q.query_id: searcher.retrieve([q], 10)[q.query_id] for q in queries}, 10))
    ids = [{q: [hit.doc_id for hit in hits] for q, hits in run.items()} for run in runs]
    assert all(found == ids[0] for found in ids)
    for run in runs:
        for query_id, hits in run.items():
            np.testing.assert_allclose([h.score for h in hits], [h.score for h in runs[0][query_id]], atol=1e-5)


def test_search_equals_brute_force(minilm: BiEncoder, real_documents: list[Document], tmp_path: Path) -> None:
    searcher = Searcher.build(real_documents, minilm, tmp_path / "index")
    scores = minilm.encode_documents(real_documents) @ minilm.encode_queries([Query("q", "join two paths")])[0]
    best = sorted(zip(scores.tolist(), (d.doc_id for d in real_documents), strict=True), reverse=True)[:10]
    found = searcher.search("join two paths")
    assert [hit.doc_id for hit in found] == [doc_id for _, doc_id in best]
    np.testing.assert_allclose([hit.score for hit in found], [score for score, _ in best], atol=1e-5)


def test_dot_product_models_are_not_normalised(tmp_path: Path) -> None:
    encoder = BiEncoder(tiny_sentence_transformer(similarity="dot"), PRESETS["plain"], "tiny")
    hit = Searcher.build(["some text"], encoder, tmp_path / "index").search("a query")[0]
    document, query = encoder.encode_documents(["some text"])[0], encoder.encode_queries([Query("q", "a query")])[0]
    assert hit.score == pytest.approx(float(document @ query), rel=1e-5) and abs(hit.score) > 1.5


def test_strings_are_documents_named_by_their_place(tmp_path: Path, toy_encoder: KeywordEncoder) -> None:
    searcher = Searcher.build(["prose", "code to read"], toy_encoder, tmp_path / "index")
    assert [hit.doc_id for hit in searcher.search("read", "Find code", k=1)] == ["1"]


def test_an_index_refuses_another_model_and_another_format(tmp_path: Path, toy_encoder: KeywordEncoder) -> None:
    Searcher.build(["a", "b"], toy_encoder, tmp_path / "index")
    with pytest.raises(IndexMismatch, match=r"was made by the model keywords .* opened with keywords"):
        Searcher.open(tmp_path / "index", KeywordEncoder(["other"]))
    toy_encoder.text_format = PRESETS["e5"]
    with pytest.raises(IndexMismatch, match="text format 'tart-dual', opened with 'e5'"):
        Searcher.open(tmp_path / "index", toy_encoder)


def test_an_index_without_a_name_that_loads_says_so(tmp_path: Path, toy_encoder: KeywordEncoder) -> None:
    Searcher.build(["a", "b"], toy_encoder, tmp_path / "index")
    with pytest.raises(ConfigError, match="unknown model 'keywords'"):
        Searcher.open(tmp_path / "index")


def test_an_existing_folder_is_kept_unless_told(tmp_path: Path, toy_encoder: KeywordEncoder) -> None:
    Searcher.build(["old"], toy_encoder, tmp_path / "index")
    with pytest.raises(StorageError, match="exists already"):
        Searcher.build(["new"], toy_encoder, tmp_path / "index")
    assert Searcher.open(tmp_path / "index", toy_encoder).documents.at(0).text == "old"
    Searcher.build(["new"], toy_encoder, tmp_path / "index", overwrite=True)
    assert Searcher.open(tmp_path / "index", toy_encoder).documents.at(0).text == "new"


def test_vectors_that_are_not_finite_are_refused_by_name(tmp_path: Path, toy_encoder: KeywordEncoder) -> None:
    class Broken(KeywordEncoder):
        def encode_documents(self, documents):  # type: ignore[no-untyped-def]
            vectors = super().encode_documents(documents)
            vectors[1] = np.nan
            return vectors

        def encode_queries(self, queries):  # type: ignore[no-untyped-def]
            return super().encode_queries(queries) * np.inf

    with pytest.raises(DataError, match="keywords gives NaN or infinite vectors for 1 of 2 texts: 'b'"):
        Searcher.build([Document("a", "x"), Document("b", "x")], Broken(["x"]), tmp_path / "broken")
    assert not (tmp_path / "broken").exists()
    Searcher.build(["x", "y"], KeywordEncoder(["x"]), tmp_path / "index")
    with pytest.raises(DataError, match="NaN or infinite vectors for 1 of 1 texts: 'query'"):
        Searcher.open(tmp_path / "index", Broken(["x"])).search("x")


def test_the_one_liner_opens_an_index_once_and_a_new_build_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    encoder = KeywordEncoder(["code", "prose"])

    def load(name: str, **_: object) -> KeywordEncoder:
        opened.append(name)
        return encoder

    monkeypatch.setattr("tart.retrieval.index_model.load_encoder", load)
    Searcher.build(["code", "prose"], encoder, tmp_path / "index")
    first = [tart.search("what?", "Find code", index=tmp_path / "index")[0].text for _ in range(3)]
    assert first == ["code"] * 3 and opened == ["keywords"]
    Searcher.build(["new code"], encoder, tmp_path / "index", overwrite=True)
    assert tart.search("what?", "Find code", index=tmp_path / "index")[0].text == "new code"
    assert opened == ["keywords"] * 2


def test_plain_documents_must_be_documents(tmp_path: Path, toy_encoder: KeywordEncoder) -> None:
    with pytest.raises(DataError, match=r"document 1: wanted a tart.Document or a string, got int"):
        Searcher.build(["a", 3], toy_encoder, tmp_path / "index")  # type: ignore[list-item]
    with pytest.raises(DataError, match="document 1: the id 'a' comes twice"):
        Searcher.build([Document("a", "x"), Document("a", "y")], toy_encoder, tmp_path / "index")
    with pytest.raises(DataError, match="there is no document to index"):
        Searcher.build([], toy_encoder, tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == [".index.lock"]


def test_a_mapping_is_indexed_by_what_it_maps_to(tmp_path: Path, toy_encoder: KeywordEncoder) -> None:
    corpus = toy_collection().corpus
    Searcher.build(corpus, toy_encoder, tmp_path / "corpus")
    assert list(Searcher.open(tmp_path / "corpus", toy_encoder).documents.in_order()) == list(corpus.values())
    strings = Searcher.build({"x": "prose", "y": "code to read"}, toy_encoder, tmp_path / "strings")
    assert [(hit.doc_id, hit.text) for hit in strings.search("read", "Find code", k=1)] == [("y", "code to read")]
    with pytest.raises(DataError, match=r"document x: wanted a tart.Document or a string, got dict"):
        Searcher.build({"x": {"text": "prose"}}, toy_encoder, tmp_path / "bad")  # type: ignore[dict-item]


def test_bm25_of_another_index_is_not_joined_with_the_documents_of_this_one(
    tmp_path: Path, toy_encoder: KeywordEncoder
) -> None:
    folder = tmp_path / "index"
    first = Searcher.build(["read prose", "sort prose"], toy_encoder, folder)
    replace_manifest(folder, {**first.manifest, "tuned": True})  # as `tart tune` does: the parts stay
    assert first.search("sort", mode="hybrid")[0].text == "sort prose"
    second = Searcher.open(folder, toy_encoder)
    Searcher.build(["sort code", "open code", "read code"], toy_encoder, folder, overwrite=True)
    for mode in ("sparse", "hybrid"):
        with pytest.raises(StorageError, match="index: was built anew since it was opened; open it again"):
            second.search("sort", mode=mode)  # type: ignore[arg-type]
    assert second.search("sort")[0].text == "sort prose"
    assert first.search("sort", mode="sparse")[0].text == "sort prose"  # opened before


@pytest.mark.parametrize("before", [False, True])
def test_an_index_that_is_built_anew_while_it_is_opened_is_opened_whole(
    tmp_path: Path, toy_encoder: KeywordEncoder, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """The documents of the old one with the vectors of the new one, or the manifest of the old one alone."""
    Searcher.build(["read prose", "sort prose"], toy_encoder, tmp_path / "index")
    new = Searcher.build(["open code", "sort code", "read code"], toy_encoder, tmp_path / "other")
    swaps = []

    def swapping(folder: Path) -> DocumentStore:
        old = None if before else DocumentStore(folder)
        if not swaps:
            swaps.append((tmp_path / "index").rename(tmp_path / "old"))
            (tmp_path / "other").rename(tmp_path / "index")
        return old or DocumentStore(folder)

    monkeypatch.setattr(searcher_module, "DocumentStore", swapping)
    opened = Searcher.open(tmp_path / "index", toy_encoder)
    assert swaps and opened.manifest == new.manifest
    assert opened.search("sort")[0].text == opened.search("sort", mode="sparse")[0].text == "sort code"


def test_bm25_waits_until_it_is_asked(toy_searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(folder: Path) -> SparseIndex:
        raise AssertionError("was opened")

    monkeypatch.setattr(searcher_module, "SparseIndex", asked)
    assert toy_searcher.search("sort a list", "Find code that does this")


def test_an_index_whose_model_has_another_format_since_says_what_differs(tmp_path: Path) -> None:
    def save(**changes: Any) -> None:
        format_ = replace(PRESETS["tart-dual"], **changes)
        BiEncoder(tiny_sentence_transformer(), format_, "tiny").save(tmp_path / "model")

    save()
    Searcher.build(["a text"], str(tmp_path / "model"), tmp_path / "index")
    save(max_query_tokens=32, plain_dims=16)
    with pytest.raises(IndexMismatch, match=r"index: its model has changed since.*differs in max_query_tokens, plain_"):
        Searcher.open(tmp_path / "index")
    with pytest.raises(IndexMismatch, match=r"equal in every field, and differ in max_query_tokens, plain_dims"):
        Searcher.open(tmp_path / "index", tart.load_encoder(tmp_path / "model"))
    with pytest.raises(IndexMismatch, match="its model has changed since"):
        tart.tune(tmp_path / "index", [Query("q", "a")])
