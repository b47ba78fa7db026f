"""EncT5: what is cut from a pair that is too long, pieces equal to sentencepiece's own, weights that contradict."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2
from transformers import T5Config, T5EncoderModel

import tart
from tart import Document, Instruction, Query
from tart.errors import CheckpointError
from tart.models.enc_t5 import EncT5Reranker
from tart.models.export import export_model
from tart.text_format import PRESETS, TextFormat

WISH = Instruction("find code")
T5 = T5Config(
    vocab_size=32128, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
)  # fmt: skip


@pytest.fixture(scope="module")
def pieces() -> bytes:
    """A small sentencepiece model in T5's layout: pad 0, eos 1, unk 2, then as many pieces as T5 has."""
    words = "find code read a file some words title passage sort list".split()
    generator = random.Random(0)
    lines = [" ".join(generator.choices(words, k=12)) for _ in range(300)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=30, model_type="unigram", minloglevel=2,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>",
    )  # fmt: skip
    whole = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    for number in range(32_000 - len(whole.pieces)):
        whole.pieces.add(piece=f"▁unused{number}", score=-100.0)
    return bytes(whole.SerializeToString())


def published_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {key: value.clone() for key, value in T5EncoderModel(T5).state_dict().items()}
    state["encoder.embed_tokens.weight"] = state["shared.weight"].clone()
    return {**state, "classifier.weight": torch.randn(2, 16), "classifier.bias": torch.randn(2)}


def enc_t5_folder(folder: Path, pieces: bytes, state: dict[str, torch.Tensor], **tokenizer: Any) -> Path:
    """A folder as published: spiece.model and added_tokens.json, no tokenizer.json."""
    folder.mkdir()
    config = {**T5.to_dict(), "architectures": ["EncT5ForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config, default=str))
    (folder / "spiece.model").write_bytes(pieces)
    (folder / "added_tokens.json").write_text(json.dumps({"<s>": 32100}))
    facts = {"tokenizer_class": "T5Tokenizer", "extra_ids": 100, "model_max_length": 512, **tokenizer}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
    save_file(state, folder / "model.safetensors")
    return folder


def load(folder: Path, text_format: TextFormat | str = "tart-full") -> EncT5Reranker:
    reranker = tart.load_reranker(folder, text_format=text_format)
    assert isinstance(reranker, EncT5Reranker)
    return reranker


def ids_of(reranker: EncT5Reranker, text: str) -> list[int]:
    return list(reranker.tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize(
    "text", ["find code", " read  a\tfile \n", "", "ﬁnd ｃｏｄｅ", "find—code", "é ü 漢字", "some words" * 50]
)
def test_pieces_are_those_of_sentencepiece_itself(tmp_path: Path, pieces: bytes, text: str) -> None:
    reranker = load(enc_t5_folder(tmp_path / "t5", pieces, published_state()))
    assert ids_of(reranker, text) == sentencepiece.SentencePieceProcessor(model_proto=pieces).encode(text)


@pytest.mark.parametrize("name", ["tart-full", "tart-reversed"])
@pytest.mark.parametrize("words", [("file " * 900, "words " * 900), ("file " * 900, "words " * 20)])
def test_the_instruction_stays_where_a_long_query_is_cut(
    tmp_path: Path, pieces: bytes, name: str, words: tuple[str, str]
) -> None:
    reranker = load(enc_t5_folder(tmp_path / "t5", pieces, published_state()), name)
    ids = reranker._input_ids(Query("q", words[0], WISH), Document("d", words[1]))
    document = ids_of(reranker, words[1])[:256]
    assert len(ids) == 512 and ids[-1 - len(document) : -1] == document  # half of the room at most is the document's
    asked = ids[1 : -2 - len(document)]
    instruction = ids_of(reranker, "find code")
    assert (asked[-len(instruction) :] if name == "tart-reversed" else asked[: len(instruction)]) == instruction
    assert asked.count(ids_of(reranker, "file")[0]) > 200


def test_an_instruction_longer_than_the_room_is_cut_too(tmp_path: Path, pieces: bytes) -> None:
    reranker = load(enc_t5_folder(tmp_path / "t5", pieces, published_state()))
    ids = reranker._input_ids(Query("q", "read", Instruction("code " * 900)), Document("d", "words " * 900))
    assert len(ids) == 512 and ids.count(1) == 2


def test_the_limits_of_the_format_are_kept(tmp_path: Path, pieces: bytes) -> None:
    form = TextFormat("short", PRESETS["tart-full"].instructed_query, max_query_tokens=20, max_document_tokens=12)
    reranker = load(enc_t5_folder(tmp_path / "t5", pieces, published_state()), form)
    query = Query("q", "file " * 90, WISH)
    file, words = ids_of(reranker, "file " * 90), ids_of(reranker, "words " * 90)
    asked = [*ids_of(reranker, "find code"), 1]
    expected = [32100, *asked, *file[: 20 - 2 - len(asked)], 1, *words[: 12 - 1], 1]
    assert reranker._input_ids(query, Document("d", "words " * 90)) == expected
    same = reranker.score([(query, Document("d", "words " * n)) for n in (90, 900)])
    assert same[0] == same[1]


def test_the_instruction_changes_the_score_and_dropout_does_not(tmp_path: Path, pieces: bytes) -> None:
    reranker = load(enc_t5_folder(tmp_path / "t5", pieces, published_state()))
    with_wish, without = Query("q", "read a file", WISH), Query("q", "read a file")
    scores = reranker.score([(with_wish, Document("d", "some words")), (without, Document("d", "some words"))])
    assert abs(scores[0] - scores[1]) > 1e-4
    again = reranker.score([(with_wish, Document("d", "some words")), (without, Document("d", "some words"))])
    np.testing.assert_array_equal(scores, again)
    assert reranker.model.dropout.p > 0 and not reranker.model.training


def test_two_embedding_matrices_that_differ_are_refused(tmp_path: Path, pieces: bytes) -> None:
    state = published_state()
    state["encoder.embed_tokens.weight"][7, 3] += 1
    message = r"no EncT5: shared.weight and encoder.embed_tokens.weight differ, they have to be one matrix"
    with pytest.raises(CheckpointError, match=message):
        load(enc_t5_folder(tmp_path / "t5", pieces, state))


@pytest.mark.parametrize("named", ["T5Tokenizer", "EncT5Tokenizer", "T5TokenizerFast", None])
def test_the_tokenizer_is_t5s_own_whatever_class_the_folder_names(
    tmp_path: Path, pieces: bytes, named: str | None
) -> None:
    """TART saved its tokenizer from a class of its own, EncT5Tokenizer, which no library has."""
    pair = [(Query("q", "read a file", WISH), Document("d", "some words"))]
    expected = load(enc_t5_folder(tmp_path / "t5", pieces, published_state())).score(pair)
    folder = enc_t5_folder(tmp_path / "named", pieces, published_state(), tokenizer_class=named, bos_token="<s>")
    found = load(folder)
    assert found._start == 32100
    np.testing.assert_array_equal(found.score(pair), expected)
    export_model(folder, tmp_path / "out")
    (tmp_path / "out" / "tart.json").unlink()  # config.json alone has to say what it is
    np.testing.assert_array_equal(load(tmp_path / "out").score(pair), expected)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path, pieces: bytes) -> None:
    folder = enc_t5_folder(tmp_path / "t5", pieces, published_state())
    (folder / "spiece.model").unlink()
    with pytest.raises(CheckpointError, match=r"holds no tokenizer; wanted tokenizer.json or spiece.model"):
        load(folder)


def test_it_is_trained_and_saved_in_its_own_form(tmp_path: Path, pieces: bytes) -> None:
    from tart.testing import tiny_sentence_transformer
    from tart.training.full import train_full
    from tart.training.full_settings import FullRecipe
    from tart.training.recipe import read_recipe
    from tart.training.toy import write_toy_world

    base = enc_t5_folder(tmp_path / "t5", pieces, published_state())
    tiny_sentence_transformer().save(str(tmp_path / "first"))
    write_toy_world(tmp_path / "world", train=8, dev=2)

    changes = [f"{key}={json.dumps(str(tmp_path / name))}" for key, name in (("base", "t5"), ("first_stage", "first"))]
    changes += ["loop.steps=4", "batch_size=4", "learning_rate=1e-2", "gpu=false", "precision=fp32", "tokens=64"]
    recipe = read_recipe(FullRecipe, "paper-full", [*changes, "every=2", "development.tasks=1", "queries=1"])
    train_full(recipe, tmp_path / "world", tmp_path / "trained")
    before, after = load(base), load(tmp_path / "trained")
    assert {key: value.shape for key, value in before.model.published().items()} == {
        key: value.shape for key, value in after.model.published().items()
    }
    assert not torch.equal(before.model.classifier.weight, after.model.classifier.weight)
    pair = (Query("q", "read a file", WISH), Document("d", "some words"))
    assert before.score([pair])[0] != after.score([pair])[0]
    assert json.loads((tmp_path / "trained" / "tart.json").read_text())["family"] == "enc-t5"
    assert "tart.load_reranker(" in (tmp_path / "trained" / "README.md").read_text()


def test_a_plain_t5_gets_a_head(tmp_path: Path, pieces: bytes) -> None:
    from transformers import T5ForConditionalGeneration

    from tart.training.full_model import build_full
    from tart.training.full_settings import FullModelSettings

    folder = enc_t5_folder(tmp_path / "t5", pieces, published_state())
    torch.manual_seed(0)
    whole = T5ForConditionalGeneration(T5)
    whole.save_pretrained(folder)
    torch.manual_seed(1)
    model, reranker = build_full(str(folder), FullModelSettings(64, dropout=0.0), PRESETS["tart-full"], "new")
    assert isinstance(reranker, EncT5Reranker)
    state = reranker.model.published()
    assert torch.equal(
        state["encoder.block.1.layer.0.SelfAttention.q.weight"],
        whole.state_dict()["encoder.block.1.layer.0.SelfAttention.q.weight"],
    )
    tokens = reranker.padded(reranker.tokens([(Query("q", "read a file", WISH), Document("d", "some words"))]))
    logits = model.eval()({key: value.to(model.device) for key, value in tokens.items()})["scores"]
    expected = reranker.score([(Query("q", "read a file", WISH), Document("d", "some words"))])
    assert logits.softmax(dim=1)[0, 1].item() == pytest.approx(float(expected[0]), abs=1e-6)
