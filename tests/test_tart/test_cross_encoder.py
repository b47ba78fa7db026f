"""Cross-encoders: what is cut from a pair that is too long, and that nothing stored in a folder bends the scores."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import BertConfig, BertForSequenceClassification

import tart
from tart import Document, Instruction, Query
from tart.errors import CheckpointError
from tart.models.cross_encoder import CrossEncoderReranker, token_ends_of
from tart.models.pair_reranker import fitting_query
from tart.testing import tiny_sentence_transformer
from tart.text_format import PRESETS, TextFormat

WISH = Instruction("find code")
LIMIT = 64  # tokens that the tiny tokenizer lets through; each of its tokens is one character


def cross_encoder_folder(folder: Path, labels: int = 1, activation: str | None = None) -> Path:
    tiny = tiny_sentence_transformer(max_tokens=LIMIT)
    config = BertConfig(**{**tiny[0].config.to_dict(), "num_labels": labels, "id2label": None, "label2id": None})
    torch.manual_seed(labels)
    BertForSequenceClassification(config).save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    if activation:
        facts = json.loads((folder / "config.json").read_text())
        facts["sentence_transformers"] = {"activation_fn": activation}
        (folder / "config.json").write_text(json.dumps(facts))
    return folder


def read(reranker: CrossEncoderReranker, query: Query, document: Document) -> tuple[list[str], list[str]]:
    """The tokens of query and document that reach the model, special ones left out."""
    tokenizer = reranker.model.tokenizer
    ids = reranker.model.preprocess([reranker._texts(query, document)])["input_ids"][0].tolist()
    assert len(ids) <= LIMIT
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[0] == "[CLS]" and tokens[-1] == "[SEP]"
    end = len(tokens) - 1 - tokens[-2::-1].index("[SEP]") - 1  # of the query; its format may hold a [SEP] as well
    return tokens[1:end], tokens[end + 1 : -1]


def test_two_labels_are_a_softmax_of_the_logits_whatever_activation_is_stored(tmp_path: Path) -> None:
    folder = cross_encoder_folder(tmp_path / "ce", 2, "torch.nn.modules.activation.Sigmoid")
    pair = (Query("q", "read a file"), Document("d", "some words"))
    logits = CrossEncoder(str(folder)).predict([("read a file", "some words")], activation_fn=torch.nn.Identity())[0]
    expected = np.exp(logits[1]) / np.exp(logits).sum()
    assert tart.load_reranker(folder).score([pair])[0] == pytest.approx(expected, abs=1e-6)


def test_one_label_keeps_the_activation_that_is_stored(tmp_path: Path) -> None:
    folder = cross_encoder_folder(tmp_path / "ce", 1, "torch.nn.modules.linear.Identity")
    pair = (Query("q", "read a file"), Document("d", "some words"))
    plain = CrossEncoder(str(folder)).predict([("read a file", "some words")])
    np.testing.assert_allclose(tart.load_reranker(folder).score([pair]), plain, atol=1e-6)
    assert CrossEncoder(str(folder)).predict([("read a file", "some words")], activation_fn=torch.nn.Sigmoid()) != plain


def test_a_default_prompt_of_the_model_is_not_read(tmp_path: Path) -> None:
    folder = cross_encoder_folder(tmp_path / "ce")
    model = CrossEncoder(str(folder), prompts={"x": "a prompt "}, default_prompt_name="x")
    reranker = CrossEncoderReranker(model, PRESETS["plain"], "prompted")
    scores = reranker.score([(Query("q", "read a file"), Document("d", "some words"))])
    np.testing.assert_allclose(scores, CrossEncoder(str(folder)).predict([("read a file", "some words")]), atol=1e-6)
    assert abs(model.predict([("read a file", "some words")])[0] - scores[0]) > 1e-6


@pytest.mark.parametrize("name", ["plain", "tart-reversed"])
@pytest.mark.parametrize("words", [("q " * 500, "d " * 500), ("q " * 500, "d " * 10), ("q " * 10, "d " * 500)])
def test_instruction_query_and_document_survive_the_cut(tmp_path: Path, name: str, words: tuple[str, str]) -> None:
    reranker = tart.load_reranker(cross_encoder_folder(tmp_path / "ce"), text_format=name)
    assert isinstance(reranker, CrossEncoderReranker)
    asked, text = read(reranker, Query("q", words[0], WISH), Document("d", words[1]))
    instruction = reranker.model.tokenizer.tokenize("find code")
    assert (asked[-len(instruction) :] if name == "tart-reversed" else asked[: len(instruction)]) == instruction
    assert asked.count("q") >= 10 and text.count("d") >= 10
    assert len(asked) + len(text) + 3 == LIMIT  # nothing is wasted


def test_the_limits_of_the_format_are_kept(tmp_path: Path) -> None:
    form = TextFormat("short", max_query_tokens=20, max_document_tokens=12)
    reranker = tart.load_reranker(cross_encoder_folder(tmp_path / "ce"), text_format=form)
    assert isinstance(reranker, CrossEncoderReranker)
    asked, text = read(reranker, Query("q", "q " * 500, WISH), Document("d", "d " * 500))
    assert len(asked) == 20 - 2 and text == ["d"] * (12 - 1)  # [CLS] and one [SEP] count as the query's
    assert asked == [*reranker.model.tokenizer.tokenize("find code"), *["q"] * 10]
    same = reranker.score([(Query("q", "q " * n, WISH), Document("d", "d " * n)) for n in (50, 500)])
    assert same[0] == same[1]


def test_limits_change_nothing_for_texts_that_fit(tmp_path: Path) -> None:
    folder = cross_encoder_folder(tmp_path / "ce")
    pair = (Query("q", "read a  file", WISH), Document("d", " some words", "title"))
    free = tart.load_reranker(folder, text_format=TextFormat("free")).score([pair])
    short = TextFormat("short", max_query_tokens=30, max_document_tokens=30)
    np.testing.assert_array_equal(tart.load_reranker(folder, text_format=short).score([pair]), free)


def test_a_query_is_cut_between_words_of_its_own() -> None:
    token_ends = token_ends_of(tiny_sentence_transformer().tokenizer)
    query = Query("q", "a b c d e", WISH)  # the instruction has 8 tokens, the query 5
    assert fitting_query(token_ends, PRESETS["plain"], query, 13) == "find code a b c d e"
    assert fitting_query(token_ends, PRESETS["plain"], query, 10) == "find code a b"
    assert fitting_query(token_ends, PRESETS["tart-reversed"], query, 11) == "a b [SEP] find code"
    assert fitting_query(token_ends, PRESETS["tart-reversed"], query, 9) == " [SEP] find code"
    assert fitting_query(token_ends, PRESETS["plain"], query.plain(), 2) == "a b"
    assert fitting_query(token_ends, PRESETS["plain"], query, 0) == "find code "  # the caller cuts on


def test_a_folder_that_sentence_transformers_saved_is_known_as_a_cross_encoder(tmp_path: Path) -> None:
    """It holds a modules.json, as a bi-encoder's does."""
    CrossEncoder(str(cross_encoder_folder(tmp_path / "ce"))).save_pretrained(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "modules.json").is_file()
    plain = CrossEncoder(str(tmp_path / "saved")).predict([("read a file", "some words")])
    scores = tart.load_reranker(tmp_path / "saved").score([(Query("q", "read a file"), Document("d", "some words"))])
    np.testing.assert_allclose(scores, plain, atol=1e-6)


def test_a_folder_without_a_head_is_refused_instead_of_scored_at_random(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    cross_encoder_folder(tmp_path / "whole")
    weights = tmp_path / "whole" / "model.safetensors"
    body = {name: value for name, value in load_file(weights).items() if "classifier" not in name}
    save_file(body, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: holds no classification head"):
        tart.load_reranker(tmp_path / "whole")


def test_eight_threads_get_what_one_gets(tmp_path: Path) -> None:
    """Texts are cut at the limits of the format, pairs at that of the model: all with one tokenizer."""
    folder = cross_encoder_folder(tmp_path / "m")
    form = TextFormat("short", instructed_query="{query} {instruction}", max_query_tokens=24, max_document_tokens=200)
    pairs = [(Query(str(n), f"{n} ask " * (1 + n % 9), WISH), Document(str(n), f"{n} word " * 30)) for n in range(12)]

    def scores(reranker: CrossEncoderReranker) -> list[float]:
        with ThreadPoolExecutor(8) as threads:
            return [float(one[0]) for one in threads.map(lambda row: reranker.score([pairs[row % 12]]), range(120))]

    alone = CrossEncoderReranker.load(folder, form, "tiny", device="cpu")
    wanted = [float(alone.score([pair])[0]) for pair in pairs]
    for _ in range(3):
        assert scores(CrossEncoderReranker.load(folder, form, "tiny", device="cpu")) == wanted * 10
