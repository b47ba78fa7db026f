"""Cross-encoders and TART-full's EncT5: scores checked against plain libraries and against a computation by hand."""

from __future__ import annotations

import argparse
import io
import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from sentencepiece import sentencepiece_model_pb2
from transformers import BertConfig, BertForSequenceClassification, BertModel, T5Config, T5EncoderModel

import tart
from tart import Document, Instruction, Query
from tart.errors import CheckpointError, ConfigError
from tart.models.cross_encoder import CrossEncoderReranker
from tart.models.enc_t5 import EncT5Reranker
from tart.models.export import export_model
from tart.testing import tiny_sentence_transformer, tiny_tokenizer_words
from tart.text_format import PRESETS

WISH = Instruction("find code")
PAIRS = [
    (Query(f"q{n}", "read a file", WISH if n % 2 else None), Document(f"d{n}", "some words " * n, "a title"))
    for n in range(9)
]


def cross_encoder_folder(folder: Path, labels: int) -> Path:
    tiny = tiny_sentence_transformer()
    config = BertConfig(**{**tiny[0].config.to_dict(), "num_labels": labels, "id2label": None, "label2id": None})
    torch.manual_seed(labels)
    BertForSequenceClassification(config).save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("labels", [1, 2])
def test_scores_equal_plain_cross_encoder(tmp_path: Path, labels: int) -> None:
    reranker = tart.load_reranker(cross_encoder_folder(tmp_path / "ce", labels))
    texts = [("find code read a file" if q.instruction else "read a file", f"a title {d.text}") for q, d in PAIRS]
    plain = CrossEncoder(str(tmp_path / "ce")).predict(texts, apply_softmax=labels == 2)
    scores = reranker.score(PAIRS)
    np.testing.assert_allclose(scores, plain[:, 1] if labels == 2 else plain, atol=1e-5)
    assert scores.dtype == np.float32 and len(set(scores.tolist())) > 5
    assert isinstance(reranker, CrossEncoderReranker)
    for size in (1, 7):
        reranker.batch_size = size
        np.testing.assert_allclose(reranker.score(PAIRS), scores, atol=1e-5)
    assert reranker.score([]).shape == (0,)


def test_the_hash_of_a_cross_encoder_changes_with_its_weights_alone(tmp_path: Path) -> None:
    found = [tart.load_reranker(cross_encoder_folder(tmp_path / name, 1)) for name in ("one", "two")]
    assert found[0].model_hash == found[1].model_hash
    other = tart.load_reranker(tmp_path / "two")
    assert isinstance(other, CrossEncoderReranker)
    with torch.no_grad():
        other.model.model.classifier.bias += 1  # type: ignore[union-attr]
    assert other.model_hash != found[0].model_hash


def test_other_numbers_of_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has 3 labels; a reranker has one or two"):
        tart.load_reranker(cross_encoder_folder(tmp_path / "ce", 3))


def test_nan_scores_are_refused_by_pair(tmp_path: Path) -> None:
    reranker = tart.load_reranker(cross_encoder_folder(tmp_path / "ce", 1))
    assert isinstance(reranker, CrossEncoderReranker)
    with torch.no_grad():
        reranker.model.model.classifier.bias.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match=r"the score of 9 of 9 pairs is NaN, .* query 'q0' and document 'd0'"):
        reranker.score(PAIRS)


def test_a_saved_cross_encoder_is_plain_and_keeps_its_format(tmp_path: Path) -> None:
    first = tart.load_reranker(cross_encoder_folder(tmp_path / "ce", 1), text_format="tart-dual")
    export_model(tmp_path / "ce", tmp_path / "out", text_format="tart-dual")
    again = tart.load_reranker(tmp_path / "out")
    assert again.text_format == PRESETS["tart-dual"]
    np.testing.assert_array_equal(again.score(PAIRS), first.score(PAIRS))
    plain = CrossEncoder(str(tmp_path / "out")).predict([("find code [SEP] read a file", "a title some words ")])
    np.testing.assert_allclose(plain, first.score(PAIRS[1:2]), atol=1e-6)


def test_one_warning_when_the_reranker_knows_no_instruction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reranker = tart.load_reranker(cross_encoder_folder(tmp_path / "ce", 1))
    with caplog.at_level(logging.WARNING):
        reranker.score(PAIRS)
        reranker.score(PAIRS)
    assert sum("was not trained with instructions" in record.getMessage() for record in caplog.records) == 1


# EncT5 ------------------------------------------------------------------------------------------------------------

T5 = T5Config(
    vocab_size=32128, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
    tie_word_embeddings=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def sentencepiece_model() -> bytes:
    """A small model in T5's layout: pad 0, eos 1, unk 2."""
    words = "find code read a file some words title passage sort list retrieve question what is the".split()
    generator = random.Random(0)
    lines = [" ".join(generator.choices(words, k=12)) for _ in range(300)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=40, model_type="unigram", minloglevel=2,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>",
    )  # fmt: skip
    whole = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    for number in range(32_000 - len(whole.pieces)):  # as many as T5 has, so that the ids are the published ones
        whole.pieces.add(piece=f"▁unused{number}", score=-100.0)
    return whole.SerializeToString()  # type: ignore[no-any-return]


def published_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """The keys and shapes of TART-full's published file, small."""
    torch.manual_seed(seed)
    state = {key: value.clone() for key, value in T5EncoderModel(T5).state_dict().items()}
    state["encoder.embed_tokens.weight"] = state["shared.weight"].clone()
    return {**state, "classifier.weight": torch.randn(2, 16), "classifier.bias": torch.randn(2)}


def enc_t5_folder(folder: Path, pieces: bytes, state: dict[str, torch.Tensor], *, pickled: bool = False) -> Path:
    """A folder as published: spiece.model and added_tokens.json, no tokenizer.json."""
    folder.mkdir()
    config = {**T5.to_dict(), "architectures": ["EncT5ForSequenceClassification"], "model_type": "t5"}
    (folder / "config.json").write_text(json.dumps(config, default=str))
    (folder / "spiece.model").write_bytes(pieces)
    (folder / "added_tokens.json").write_text(json.dumps({"<s>": 32100}))
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100, "model_max_length": 512})
    )
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors")
    return folder


def by_hand(state: dict[str, torch.Tensor], ids: list[int]) -> float:
    body = T5EncoderModel(T5)
    own = {key: value for key, value in state.items() if not key.startswith("classifier")}
    body.load_state_dict({**own, "encoder.embed_tokens.weight": state["shared.weight"]}, strict=False)
    with torch.inference_mode():
        first = body.eval()(input_ids=torch.tensor([ids])).last_hidden_state[0, 0]
        logits = state["classifier.weight"] @ first + state["classifier.bias"]
    return float(torch.exp(logits[1]) / torch.exp(logits).sum())


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickle"])
def test_enc_t5_scores_by_hand(tmp_path: Path, sentencepiece_model: bytes, pickled: bool) -> None:
    state = published_state()
    reranker = tart.load_reranker(enc_t5_folder(tmp_path / "t5", sentencepiece_model, state, pickled=pickled))
    assert isinstance(reranker, EncT5Reranker) and reranker.text_format == PRESETS["tart-full"]
    start, end = reranker.tokenizer.convert_tokens_to_ids("<s>"), 1
    ids = {
        word: reranker.tokenizer(word, add_special_tokens=False)["input_ids"]
        for word in ("find code", "read a file", "a title some words")
    }
    pair = (Query("q", "read a file", WISH), Document("d", "some words", "a title"))
    expected = [start, *ids["find code"], end, *ids["read a file"], end, *ids["a title some words"], end]
    assert reranker._input_ids(*pair) == expected  # "</s>" between instruction and query is T5's one token
    assert reranker.score([pair])[0] == pytest.approx(by_hand(state, expected), abs=1e-6)
    plain = [start, *ids["read a file"], end, *ids["a title some words"], end]
    assert reranker.score([(pair[0].plain(), pair[1])])[0] == pytest.approx(by_hand(state, plain), abs=1e-6)


def test_the_hash_of_enc_t5_is_that_of_its_weights_whatever_file_holds_them(
    tmp_path: Path, sentencepiece_model: bytes
) -> None:
    def hashed(name: str, seed: int, pickled: bool) -> str:
        folder = enc_t5_folder(tmp_path / name, sentencepiece_model, published_state(seed), pickled=pickled)
        return tart.load_reranker(folder).model_hash

    assert hashed("one", 0, False) == hashed("two", 0, True) != hashed("three", 1, False)


def test_enc_t5_start_token_has_the_published_id(tmp_path: Path, sentencepiece_model: bytes) -> None:
    reranker = tart.load_reranker(enc_t5_folder(tmp_path / "t5", sentencepiece_model, published_state()))
    assert isinstance(reranker, EncT5Reranker)
    assert reranker.tokenizer.convert_tokens_to_ids("<s>") == 32100


def test_enc_t5_reads_sep_as_ordinary_pieces(tmp_path: Path, sentencepiece_model: bytes) -> None:
    folder = enc_t5_folder(tmp_path / "t5", sentencepiece_model, published_state())
    reranker = tart.load_reranker(folder, text_format="tart-full-sep")
    assert isinstance(reranker, EncT5Reranker)
    ids = reranker._input_ids(Query("q", "read", WISH), Document("d", "file"))
    assert ids.count(1) == 2  # after the query and after the document, none between instruction and query


def test_enc_t5_does_not_depend_on_batch_or_padding(tmp_path: Path, sentencepiece_model: bytes) -> None:
    reranker = tart.load_reranker(enc_t5_folder(tmp_path / "t5", sentencepiece_model, published_state()))
    assert isinstance(reranker, EncT5Reranker)
    scores = reranker.score(PAIRS)
    assert len(set(scores.tolist())) > 5 and ((scores > 0) & (scores < 1)).all()
    for tokens in (1, 30, 100):
        reranker._budget.tokens = tokens
        np.testing.assert_allclose(reranker.score(PAIRS), scores, atol=1e-6)
    assert reranker.score([]).shape == (0,)


@pytest.mark.parametrize("family", ["cross-encoder", "enc-t5"])
def test_out_of_memory_halves_the_batch_and_goes_on(
    tmp_path: Path, sentencepiece_model: bytes, family: str, caplog: pytest.LogCaptureFixture
) -> None:
    if family == "enc-t5":
        reranker = tart.load_reranker(enc_t5_folder(tmp_path / "t5", sentencepiece_model, published_state()))
    else:
        reranker = tart.load_reranker(cross_encoder_folder(tmp_path / "ce", 1))
    assert isinstance(reranker, CrossEncoderReranker | EncT5Reranker)
    expected, most, sizes = reranker.score(PAIRS), 3, list[int]()

    def small(module: torch.nn.Module, inputs: Any, settings: dict[str, Any]) -> None:
        sizes.append(len(settings["input_ids"] if family == "enc-t5" else inputs[0]["input_ids"]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    reranker.model.register_forward_pre_hook(small, with_kwargs=True)
    np.testing.assert_allclose(reranker.score(PAIRS), expected, atol=1e-6)
    assert sizes[0] == len(PAIRS) and sizes[-1] <= most and "out of memory" in caplog.text
    sizes.clear()
    reranker.score(PAIRS)
    assert max(sizes) <= most  # what it has learned it keeps
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        reranker.score(PAIRS)  # a single pair that doesn't fit


def test_enc_t5_cuts_the_document_first(tmp_path: Path, sentencepiece_model: bytes) -> None:
    reranker = tart.load_reranker(enc_t5_folder(tmp_path / "t5", sentencepiece_model, published_state()))
    assert isinstance(reranker, EncT5Reranker)
    whole = reranker.tokenizer("read a file", add_special_tokens=False)["input_ids"]
    long = Document("d", "words " * 5000)
    ids = reranker._input_ids(Query("q", "read a file"), long)
    assert len(ids) == 512 and ids[1 : 1 + len(whole)] == whole
    both = reranker._input_ids(Query("q", "file " * 5000), long)
    assert len(both) == 512 and both.index(1) == 512 - 256 - 2  # half of the room is the document's


@pytest.mark.parametrize("missing", ["shared.weight", "encoder.embed_tokens.weight"])
def test_enc_t5_ties_its_embeddings(tmp_path: Path, sentencepiece_model: bytes, missing: str) -> None:
    whole = tart.load_reranker(enc_t5_folder(tmp_path / "whole", sentencepiece_model, published_state()))
    state = published_state()
    del state[missing]
    part = tart.load_reranker(enc_t5_folder(tmp_path / "part", sentencepiece_model, state))
    np.testing.assert_array_equal(part.score(PAIRS), whole.score(PAIRS))


def test_enc_t5_refuses_weights_that_do_not_fit(tmp_path: Path, sentencepiece_model: bytes) -> None:
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "lacking": ({"classifier.bias": None}, "it lacks classifier.bias"),
        "extra": ({"decoder.block.0.weight": torch.zeros(1)}, "it has no place for decoder.block.0.weight"),
        "shape": ({"classifier.weight": torch.zeros(3, 16)}, "size mismatch for classifier.weight"),
    }
    for name, (change, message) in cases.items():
        state = {key: value for key, value in {**published_state(), **change}.items() if value is not None}
        with pytest.raises(CheckpointError, match=message):
            tart.load_reranker(enc_t5_folder(tmp_path / name, sentencepiece_model, state))
    folder = enc_t5_folder(tmp_path / "none", sentencepiece_model, published_state())
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        tart.load_reranker(folder)


class Hostile:
    """What runs when somebody unpickles it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.witness,)


def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path: Path, sentencepiece_model: bytes) -> None:
    state: dict[str, Any] = {**published_state(), "extra": Hostile(tmp_path / "executed")}
    folder = enc_t5_folder(tmp_path / "t5", sentencepiece_model, state, pickled=True)
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin: refused: it is no plain file of weights"):
        tart.load_reranker(folder)
    assert not (tmp_path / "executed").exists()


def test_enc_t5_becomes_safetensors(tmp_path: Path, sentencepiece_model: bytes) -> None:
    folder = enc_t5_folder(tmp_path / "t5", sentencepiece_model, published_state(), pickled=True)
    export_model(folder, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.bin"))
    again = tart.load_reranker(tmp_path / "out")
    assert again.text_format == PRESETS["tart-full"]
    np.testing.assert_array_equal(again.score(PAIRS), tart.load_reranker(folder).score(PAIRS))
    published = set(published_state()) - {"encoder.embed_tokens.weight"}
    assert set(load_file(tmp_path / "out" / "model.safetensors")) == published


@pytest.mark.parametrize("package", ["sentencepiece", "google.protobuf"])
def test_a_tokenizer_that_needs_a_package_names_the_extra(
    tmp_path: Path, sentencepiece_model: bytes, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    folder = enc_t5_folder(tmp_path / "t5", sentencepiece_model, published_state())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs {package}; pip install tart-retrieval\[t5\]"):
        tart.load_reranker(folder)


# TART-dual --------------------------------------------------------------------------------------------------------


def bert(seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tiny_tokenizer_words()), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=False).eval()


def mean_vector(model: BertModel, tokenizer: Any, text: str) -> np.ndarray:
    with torch.inference_mode():
        hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    return hidden.mean(dim=0).numpy()  # type: ignore[no-any-return]


def check_tart_dual(encoder: tart.BiEncoder, model: BertModel) -> None:
    assert encoder.similarity == "dot" and encoder.text_format == PRESETS["tart-dual"]
    query = mean_vector(model, encoder.model.tokenizer, "find code [SEP] read a file")
    np.testing.assert_allclose(encoder.encode_queries([Query("q", "read a file", WISH)])[0], query, atol=1e-5)
    document = mean_vector(model, encoder.model.tokenizer, "a title some words")
    np.testing.assert_allclose(
        encoder.encode_documents([Document("d", "some words", "a title")])[0], document, atol=1e-5
    )


def test_the_published_tart_dual_folder(tmp_path: Path) -> None:
    """A bare BERT without any sentence-transformers file: mean pooling, dot product, not normalised."""
    bert().save_pretrained(tmp_path / "hf")
    tiny_sentence_transformer().tokenizer.save_pretrained(tmp_path / "hf")
    check_tart_dual(tart.load_encoder(tmp_path / "hf", text_format="tart-dual"), bert())
    export_model(tmp_path / "hf", tmp_path / "out", text_format="tart-dual")
    check_tart_dual(tart.load_encoder(tmp_path / "out"), bert())


@pytest.mark.parametrize("prefix", ["", "encoder.", "encoder_q.", "q_encoder.", "module.encoder."])
def test_the_old_tart_dual_checkpoint(tmp_path: Path, prefix: str) -> None:
    folder = tmp_path / "old"
    bert().config.save_pretrained(folder)
    tiny_sentence_transformer().tokenizer.save_pretrained(folder)
    state = {f"{prefix}{key}": value for key, value in bert().state_dict().items()}
    if prefix == "q_encoder.":
        state |= {f"p_encoder.{key}": value for key, value in bert(seed=9).state_dict().items()}
    content = {"step": 3, "model": state, "optimizer": {"state": {}}, "opt": argparse.Namespace(lr=1e-5, path="x")}
    torch.save(content, folder / "checkpoint.pth")
    check_tart_dual(tart.load_encoder(folder), bert())
    export_model(folder, tmp_path / "out")
    check_tart_dual(tart.load_encoder(tmp_path / "out"), bert())
    assert not list((tmp_path / "out").rglob("*.pth"))


def test_a_hostile_or_foreign_old_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    bert().config.save_pretrained(folder)
    tiny_sentence_transformer().tokenizer.save_pretrained(folder)
    torch.save({"model": {}, "opt": Hostile(tmp_path / "executed")}, folder / "checkpoint.pth")
    with pytest.raises(CheckpointError, match=r"checkpoint.pth: refused"):
        tart.load_encoder(folder)
    assert not (tmp_path / "executed").exists()
    torch.save({"model": {"other.weight": torch.zeros(1)}}, folder / "checkpoint.pth")
    with pytest.raises(CheckpointError, match=r"checkpoint.pth: not the BERT of config.json"):
        tart.load_encoder(folder)
