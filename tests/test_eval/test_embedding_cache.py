"""The embedding cache: nothing is encoded twice, and no vector is ever met by what it wasn't made for."""

from __future__ import annotations

import dataclasses
import json
import logging
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eval import embedding_cache
from eval.embedding_cache import EmbeddingCache
from tart import Corpus, Document, Instruction, Query
from tart.errors import DataError
from tart.manifest import NAME
from tart.retrieval.protocols import FloatArray
from tart.testing import KeywordEncoder, toy_collection


class CountingEncoder(KeywordEncoder):
    """Remembers what it encoded, and can fail at the n-th document."""

    def __init__(self, keywords: Sequence[str] = ("code", "prose", "sort"), fail_at: int | None = None) -> None:
        super().__init__(keywords)
        self.encoded: list[str] = []
        self.asked: list[str] = []
        self.fail_at = fail_at

    def encode_documents(self, documents: Sequence[Document | str]) -> FloatArray:
        self.encoded += [document.doc_id for document in documents if isinstance(document, Document)]
        if self.fail_at is not None and len(self.encoded) > self.fail_at:
            raise KeyboardInterrupt
        return super().encode_documents(documents)

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        self.asked += [query.query_id for query in queries]
        return super().encode_queries(queries)


CORPUS = toy_collection().corpus
QUERIES = toy_collection().queries


def test_second_call_reads_the_same_bits_without_encoding(tmp_path: Path) -> None:
    first = CountingEncoder()
    made = np.array(EmbeddingCache(tmp_path).documents(first, CORPUS))
    second = CountingEncoder()
    found = EmbeddingCache(tmp_path).documents(second, CORPUS)
    assert first.encoded == list(CORPUS) and second.encoded == []
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(made, found)
    np.testing.assert_array_equal(made, first.encode_documents(list(CORPUS.values())))


def test_queries_are_kept_too(tmp_path: Path) -> None:
    first, second = CountingEncoder(), CountingEncoder()
    made = np.array(EmbeddingCache(tmp_path).queries(first, QUERIES))
    found = EmbeddingCache(tmp_path).queries(second, QUERIES)
    assert len(first.asked) == len(QUERIES) and second.asked == []
    np.testing.assert_array_equal(made, found)


def test_vectors_of_a_cosine_model_are_normalised(tmp_path: Path) -> None:
    encoder = KeywordEncoder(["code", "prose", "sort"])
    raw = encoder.encode_documents(list(CORPUS.values()))
    encoder.similarity = "cosine"
    stored = EmbeddingCache(tmp_path).documents(encoder, CORPUS)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda query: query.instructed(Instruction("Find something else")),
        lambda query: query.plain(),
        lambda query: dataclasses.replace(query, text=query.text + " now"),
        lambda query: dataclasses.replace(query, query_id=query.query_id + "x"),
    ],
    ids=["instruction", "no instruction", "text", "id"],
)
def test_a_changed_query_never_meets_an_old_vector(tmp_path: Path, change) -> None:
    cache, encoder = EmbeddingCache(tmp_path), CountingEncoder(["find", "something", "now", "sort", "code"])
    before = list(QUERIES)
    cache.queries(encoder, before)
    after = [change(before[0]), *before[1:]]
    encoder.asked.clear()
    np.testing.assert_array_equal(cache.queries(encoder, after), KeywordEncoder(encoder.keywords).encode_queries(after))
    assert encoder.asked[0] == after[0].query_id


def test_swapped_instructions_are_other_queries(tmp_path: Path) -> None:
    """The same set of texts and the same set of instructions, joined the other way round."""
    one, other = Instruction("Find code"), Instruction("Find prose")
    cache, encoder = EmbeddingCache(tmp_path), KeywordEncoder(["code", "prose"])
    straight = np.array(cache.queries(encoder, [Query("a", "x", one), Query("b", "x", other)]))
    crossed = np.array(cache.queries(encoder, [Query("a", "x", other), Query("b", "x", one)]))
    assert straight.tolist() == [[1, 0], [0, 1]]
    assert crossed.tolist() == [[0, 1], [1, 0]]


def test_text_and_instruction_are_not_run_together(tmp_path: Path) -> None:
    """Both queries read "find code x" once joined by a blank; they are different queries all the same."""
    cache, encoder = EmbeddingCache(tmp_path), CountingEncoder()
    cache.queries(encoder, [Query("a", "code x", Instruction("find"))])
    cache.queries(encoder, [Query("a", "x", Instruction("find code"))])
    assert encoder.asked == ["a", "a"]


@pytest.mark.parametrize("field", ["text_format", "model_hash", "similarity"])
def test_another_model_format_or_similarity_is_encoded_anew(tmp_path: Path, field: str) -> None:
    cache, first, second = EmbeddingCache(tmp_path), CountingEncoder(), CountingEncoder()
    if field == "text_format":
        second.text_format = dataclasses.replace(second.text_format, document="code {text}")
    elif field == "model_hash":
        second = CountingEncoder(["code", "prose", "read"])
    else:
        second.similarity = "cosine"
    cache.documents(first, CORPUS)
    cache.documents(second, CORPUS)
    assert second.encoded == list(CORPUS)
    assert len(cache.entries()) == 2


def test_another_order_of_the_corpus_is_another_entry(tmp_path: Path) -> None:
    cache, encoder = EmbeddingCache(tmp_path), KeywordEncoder(["code", "prose", "sort"])
    straight = np.array(cache.documents(encoder, CORPUS))
    turned = cache.documents(encoder, Corpus(reversed(list(CORPUS.values()))))
    np.testing.assert_array_equal(straight[::-1], turned)


def test_equal_texts_are_encoded_once_and_have_equal_vectors_across_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "CHUNK", 2)
    texts = ["sort", "code", "prose", "sort", "sort code", "code"]
    corpus = Corpus([Document(str(row), text) for row, text in enumerate(texts)])
    encoder = CountingEncoder()
    vectors = EmbeddingCache(tmp_path).documents(encoder, corpus)
    assert encoder.encoded == ["0", "1", "2", "4"]
    np.testing.assert_array_equal(vectors, KeywordEncoder(encoder.keywords).encode_documents(texts))


def test_a_killed_encoding_goes_on_from_its_last_whole_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "CHUNK", 2)
    killed = CountingEncoder(fail_at=5)
    with pytest.raises(KeyboardInterrupt):
        EmbeddingCache(tmp_path).documents(killed, CORPUS)
    assert killed.encoded == list(CORPUS)[:6]  # the third chunk of two was lost
    assert [entry.part for entry in EmbeddingCache(tmp_path).entries()] == ["unfinished"]
    resumed = CountingEncoder()
    vectors = EmbeddingCache(tmp_path).documents(resumed, CORPUS)
    assert resumed.encoded == list(CORPUS)[4:]
    np.testing.assert_array_equal(vectors, resumed.encode_documents(list(CORPUS.values())))
    assert [entry.part for entry in EmbeddingCache(tmp_path).entries()] == ["documents"]
    assert not list(tmp_path.glob("*.work")) and not list(tmp_path.glob(".*.work"))


@pytest.mark.parametrize("name", ["embeddings.npy", NAME])
def test_a_flipped_byte_is_noticed_and_encoded_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    made = np.array(EmbeddingCache(tmp_path).documents(KeywordEncoder(["code", "prose"]), CORPUS))
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    content = bytearray((folder / name).read_bytes())
    content[-5] ^= 1
    (folder / name).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        found = EmbeddingCache(tmp_path).documents(KeywordEncoder(["code", "prose"]), CORPUS)
    np.testing.assert_array_equal(made, found)
    assert "damaged" in caplog.text and "encoded again" in caplog.text
    caplog.clear()
    EmbeddingCache(tmp_path).documents(KeywordEncoder(["code", "prose"]), CORPUS)
    assert caplog.text == ""


def test_not_a_number_is_refused_with_the_document_named(tmp_path: Path) -> None:
    class Broken(KeywordEncoder):
        def encode_documents(self, documents: Sequence[Document | str]) -> FloatArray:
            vectors = super().encode_documents(documents)
            vectors[1, 0] = np.nan
            return vectors

    with pytest.raises(DataError, match=f"model keywords gives NaN.*{list(CORPUS)[1]!r}"):
        EmbeddingCache(tmp_path).documents(Broken(["code"]), CORPUS)


def test_nothing_to_encode_leaves_nothing_behind(tmp_path: Path) -> None:
    assert EmbeddingCache(tmp_path).queries(KeywordEncoder(["a", "b"]), []).shape == (0, 2)
    assert list(tmp_path.iterdir()) == []


def test_the_listing_says_what_how_large_and_when(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.labels[CORPUS.fingerprint] = "toy"
    cache.documents(KeywordEncoder(["code", "prose"]), CORPUS)
    cache.queries(KeywordEncoder(["code", "prose"]), QUERIES)
    documents, queries = sorted(cache.entries(), key=lambda entry: entry.part)
    assert (documents.model, documents.part, documents.label, documents.rows) == ("keywords", "documents", "toy", 8)
    assert (queries.part, queries.rows) == ("queries", len(QUERIES))
    assert documents.bytes == sum(path.stat().st_size for path in documents.path.iterdir())
    assert documents.created == json.loads((documents.path / NAME).read_text())["created"]


def test_clear_frees_everything(tmp_path: Path) -> None:
    cache, encoder = EmbeddingCache(tmp_path), CountingEncoder()
    cache.documents(encoder, CORPUS)
    size = sum(entry.bytes for entry in cache.entries())
    assert cache.clear() == (size, [])
    assert cache.entries() == [] and EmbeddingCache(tmp_path / "missing").entries() == []
    encoder.encoded.clear()
    cache.documents(encoder, CORPUS)
    assert encoder.encoded == list(CORPUS)


def test_folders_that_are_not_the_cache_s_own_are_neither_listed_nor_cleared(tmp_path: Path) -> None:
    key = "0123456789abcdef" * 2 + "01234567"
    unfinished = [f".{key}.work", f".{key}.{'0' * 32}.new"]
    foreign = ["thesis", ".git", key[:39], key + "0", key.upper(), f"{key}.work", f".{key}.new", f"x.{key}.work"]
    for name in [*unfinished, *foreign]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    (tmp_path / ("f" * 40)).write_text("a file")
    cache = EmbeddingCache(tmp_path)
    cache.documents(KeywordEncoder(["code", "prose"]), CORPUS)
    assert {entry.path.name for entry in cache.entries() if entry.part == "unfinished"} == set(unfinished)
    assert len(cache.entries()) == 3
    cache.clear()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(foreign)
    assert all((tmp_path / name / "notes.txt").read_text() == "mine" for name in foreign)


def _encode(root: Path, barrier) -> int:
    encoder = CountingEncoder()
    barrier.wait()
    EmbeddingCache(root).documents(encoder, CORPUS)
    return len(encoder.encoded)


def test_two_processes_at_once_encode_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, context.Pool(2) as pool:
        barrier = manager.Barrier(2)
        counts = pool.starmap(_encode, [(tmp_path, barrier)] * 2)
    assert sorted(counts) == [0, len(CORPUS)]


def test_an_entry_that_is_being_written_is_not_cleared(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)

    class Clearing(KeywordEncoder):
        def encode_documents(self, documents: Sequence[Document | str]) -> FloatArray:
            self.left = EmbeddingCache(tmp_path).clear()[1]
            return super().encode_documents(documents)

    encoder = Clearing(["code"])
    assert len(cache.documents(encoder, CORPUS)) == len(CORPUS)
    assert len(encoder.left) == 1
