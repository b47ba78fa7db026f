"""BiEncoder: the vectors of plain sentence-transformers, for the text that the format joins."""

from __future__ import annotations

import itertools
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import tart
from tart import BiEncoder, Document, Instruction, Query, TextFormat
from tart.demo.stdlib_corpus import stdlib_documents
from tart.errors import CheckpointError
from tart.testing import tiny_sentence_transformer
from tart.text_format import PRESETS

WISH = Instruction("Find Python source code that does this")


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(itertools.islice(stdlib_documents(), 0, 9000, 45))


def tiny(preset: str = "tart-dual", **settings: object) -> BiEncoder:
    return BiEncoder(tiny_sentence_transformer(**settings), PRESETS[preset], "tiny")  # type: ignore[arg-type]


def test_documents_equal_plain_sentence_transformers(minilm: BiEncoder, documents: list[Document]) -> None:
    assert len(documents) >= 150
    ours = minilm.encode_documents(documents)
    theirs = minilm.model.encode([f"{d.title} {d.text}" if d.title else d.text for d in documents])
    assert ours.dtype == np.float32 and ours.shape == (len(documents), 384)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_queries_equal_plain_sentence_transformers(minilm: BiEncoder) -> None:
    queries = [Query("a", "read a file", WISH), Query("b", "read a file"), Query("c", "été 中文 🎉", WISH)]
    theirs = minilm.model.encode([f"{WISH.text} read a file", "read a file", f"{WISH.text} été 中文 🎉"])
    np.testing.assert_allclose(minilm.encode_queries(queries), theirs, atol=1e-5)


def test_strings_work_as_documents() -> None:
    encoder = tiny()
    np.testing.assert_array_equal(encoder.encode_documents(["ab"]), encoder.encode_documents([Document("x", "ab")]))


def test_equal_texts_get_equal_vectors_wherever_they_stand() -> None:
    encoder = tiny()
    texts = ["same text", *("word " * n for n in range(1, 40)), "same text"]
    vectors = encoder.encode_documents(texts)
    assert vectors[0].tobytes() == vectors[-1].tobytes()


def test_empty_lists_have_a_shape() -> None:
    assert tiny().encode_documents([]).shape == tiny().encode_queries([]).shape == (0, 32)
    assert tiny().read_documents([]) == []


@pytest.mark.parametrize("preset", ["tart-dual", "tart-reversed", "e5", "plain"])
def test_limits_of_the_format_are_those_of_a_model_that_short(preset: str) -> None:
    short, whole = tiny_sentence_transformer(max_tokens=16), tiny_sentence_transformer(max_tokens=64)
    text_format = TextFormat.from_dict({**PRESETS[preset].to_dict(), "max_document_tokens": 16})
    ours = BiEncoder(whole, text_format, "tiny").encode_documents(["abcdefgh " * 9])
    theirs = short.encode([PRESETS[preset].document_text(Document("x", "abcdefgh " * 9))])
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_was_read_says_where_the_model_stopped() -> None:
    encoder = tiny()  # one token a character, [CLS] and [SEP] around them, 64 in all
    read = encoder.read_queries([Query("long", "x" * 100), Query("short", "abc", Instruction("do"))])
    assert read[0] == ("x" * 62, 64, 38)
    assert read[1] == ("do [SEP] abc", 8, 0)


def test_a_query_without_instruction_has_no_kind() -> None:
    form = replace(PRESETS["tart-dual"], plain_dims=20)
    queries = [Query("a", "read a file"), Query("b", "read a file", WISH)]
    plain, asked = BiEncoder(tiny_sentence_transformer(), form, "tiny").encode_queries(queries)
    whole = tiny().encode_queries(queries)
    assert not plain[20:].any() and (plain[:20] == whole[0, :20]).all() and (asked == whole[1]).all()


def test_a_long_query_never_pushes_its_instruction_out() -> None:
    for preset in ("tart-dual", "tart-reversed"):
        encoder = tiny(preset)
        queries = [Query("q", "x " * 1000, Instruction(wish)) for wish in ("find code", "find prose")]
        read, vectors = encoder.read_queries(queries), encoder.encode_queries(queries)
        assert "find code" in read[0].text and "find prose" in read[1].text
        assert read[0].tokens == 64 and read[0].cut_tokens > 900
        assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_prompt_that_is_left_out_of_the_mean_stays_out() -> None:
    encoder = tiny("instructor", include_prompt=False)
    queries = [Query("a", "abc", Instruction("one")), Query("b", "abc", Instruction("two")), Query("c", "xyz")]
    theirs = [encoder.model.encode("abc", prompt="one: "), encoder.model.encode("abc", prompt="two: ")]
    np.testing.assert_allclose(encoder.encode_queries(queries)[:2], theirs, atol=1e-6)
    document = encoder.model.encode("abc", prompt="Represent the document for retrieval: ")
    np.testing.assert_allclose(encoder.encode_documents(["abc"])[0], document, atol=1e-6)


def test_a_default_prompt_of_the_model_is_not_added_again() -> None:
    model = tiny_sentence_transformer()
    bare = model.encode("query: abc")
    model.prompts, model.default_prompt_name = {"query": "query: "}, "query"
    np.testing.assert_allclose(BiEncoder(model, PRESETS["e5"], "x").encode_queries([Query("q", "abc")])[0], bare)


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "\ud800 lone", "🎉" * 50, "שלום עולם", "x" * 1_000_000, "é" * 10_000]
)
def test_odd_texts_give_finite_vectors(minilm: BiEncoder, text: str) -> None:
    assert np.isfinite(minilm.encode_documents([text])).all()
    if text.strip():
        assert np.isfinite(minilm.encode_queries([Query("q", text, WISH)])).all()
        assert len(minilm.read_queries([Query("q", text, WISH)])[0].text) <= len(text) + 100


def test_one_warning_when_the_model_knows_no_instruction(caplog: pytest.LogCaptureFixture) -> None:
    encoder = tiny("plain")
    with caplog.at_level(logging.WARNING):
        encoder.encode_queries([Query("a", "abc")])
        assert not caplog.records
        encoder.encode_queries([Query("a", "abc", WISH)])
        encoder.encode_queries([Query("a", "abc", WISH)])
    assert [record.getMessage() for record in caplog.records] == [
        "tiny was not trained with instructions: it reads yours as more words of the query, for better or worse"
    ]


def test_model_hash_changes_with_weights_and_settings_and_with_nothing_else() -> None:
    encoder = tiny()
    before = encoder.model_hash
    encoder.encode_documents(["abc", "a longer one"])
    assert before == tiny().model_hash
    assert before != tiny(seed=1).model_hash
    assert before != tiny(max_tokens=32).model_hash


def test_euclidean_models_are_refused() -> None:
    model = tiny_sentence_transformer()
    model.similarity_fn_name = "euclidean"
    with pytest.raises(CheckpointError, match="tiny: similarity 'euclidean'; wanted 'cosine' or 'dot'"):
        BiEncoder(model, PRESETS["plain"], "tiny")


def test_saved_and_loaded_it_is_the_same(tmp_path: object) -> None:
    encoder = tiny()
    encoder.save(f"{tmp_path}/model")
    again = tart.load_encoder(f"{tmp_path}/model")
    assert again.text_format == encoder.text_format and again.model_hash == encoder.model_hash
    queries = [Query("q", "abc", WISH)]
    np.testing.assert_array_equal(again.encode_queries(queries), encoder.encode_queries(queries))


def test_eight_threads_get_what_one_gets() -> None:
    """Queries and documents are cut at other places, what is told of them at none: all with one tokenizer."""
    encoder = BiEncoder(
        tiny_sentence_transformer(),
        TextFormat("short", instructed_query="{query} {instruction}", max_query_tokens=24, max_document_tokens=40),
        "tiny",
    )
    asked = [Query(str(n), f"{n} words " * (1 + n % 12), WISH if n % 2 else None) for n in range(24)]
    texts = [f"{n} longer text " * (1 + n % 8) for n in range(24)]

    def work(row: int) -> tuple[list[float], list[float], int]:
        query, text = asked[row % 24], texts[row % 24]
        vectors = encoder.encode_queries([query])[0].tolist(), encoder.encode_documents([text])[0].tolist()
        return *vectors, encoder.read_documents([text])[0].cut_tokens

    wanted = [work(row) for row in range(24)]
    assert any(cut for *_, cut in wanted)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(240))) == wanted * 10


def test_static_embeddings_have_a_hash_and_tell_what_they_read() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    def static(*words: str) -> BiEncoder:
        tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token=words[0]))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
        weights = np.eye(len(words), 4, dtype=np.float32)
        model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, weights)], device="cpu")
        return BiEncoder(model, PRESETS["plain"], "static")

    encoder = static("?", "fish", "bird")
    assert encoder.encode_documents(["fish fish", ""]).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert encoder.model_hash == static("?", "fish", "bird").model_hash != static("?", "bird", "fish").model_hash
    assert [(one.tokens, one.cut_tokens) for one in encoder.read_documents(["fish bird", ""])] == [(2, 0), (0, 0)]


def test_a_mapping_is_encoded_by_what_it_maps_to() -> None:
    encoder = tiny()
    given = {"a": Document("a", "the text"), "b": "more"}
    assert (encoder.encode_documents(given) == encoder.encode_documents(list(given.values()))).all()
    assert [one.text for one in encoder.read_documents(given)] == ["the text", "more"]
