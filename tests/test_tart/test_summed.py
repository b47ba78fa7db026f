"""A cross-encoder that adds to a bi-encoder's score: the sum by hand, and nothing encoded where that score is known."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

import tart
from tart.collection import Document, Query
from tart.errors import CheckpointError
from tart.instruction import Instruction
from tart.models.checkpoint import TART_JSON, FirstStage
from tart.models.cross_encoder import CrossEncoderReranker
from tart.models.export import export_model
from tart.models.summed import SummedReranker
from tart.retrieval.protocols import FloatArray
from tart.retrieval.retrievers import rerank
from tart.run import Hit, Run
from tart.testing import KeywordEncoder, KeywordReranker, tiny_cross_encoder, tiny_sentence_transformer, toy_collection
from tart.text_format import PRESETS

READ, PLAIN = Query("q", "read a file", Instruction("Find code")), Query("p", "read a file")
CODE, PROSE = Document("c", "code to read", "file"), Document("d", "prose about reading")
PAIRS = [(READ, CODE), (READ, PROSE), (PLAIN, CODE), (READ, CODE)]


class Counting(KeywordEncoder):
    """Counts the texts that it encodes."""

    texts = 0

    def _count(self, texts: list[str]) -> FloatArray:
        self.texts += len(texts)
        return super()._count(texts)


def never() -> KeywordEncoder:
    raise AssertionError("loaded")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A bi-encoder, and a cross-encoder that adds to 3 times its score."""
    first, cross = tmp_path / "first", tmp_path / "cross"
    tart.BiEncoder(tiny_sentence_transformer(), PRESETS["tart-dual"], "tiny").save(first)
    model = tiny_cross_encoder()
    model.activation_fn = torch.nn.Identity()
    CrossEncoderReranker(model, PRESETS["tart-dual"], "cross", first_stage=FirstStage(str(first), 3.0)).save(cross)
    return first, cross


def test_the_sum_is_the_one_by_hand_and_each_text_is_encoded_once() -> None:
    encoder = Counting(["code", "read", "prose"])
    summed = SummedReranker(KeywordReranker(), "keywords", 2.0, lambda: encoder)
    # "Find code [SEP] read a file": code 1, read 1. Without instruction: read 1. Document c: code, read; d: prose.
    # Words in common ("plain" joins as "Find code read a file"): code, read, file with c; none with d; read, file.
    assert summed.score(PAIRS).tolist() == [3 + 2 * 2, 0 + 0, 2 + 2 * 1, 3 + 2 * 2]
    assert encoder.texts == 4
    assert summed.add(PAIRS, np.array([1, 1, 0, 0.5], np.float32)).tolist() == [5, 2, 2, 4]
    assert SummedReranker(KeywordReranker(), "keywords", 2.0, never).score([]).shape == (0,)


def test_a_cosine_is_a_cosine() -> None:
    encoder = KeywordEncoder(["code", "read"])
    encoder.similarity = "cosine"
    summed = SummedReranker(KeywordReranker(), "keywords", 10.0, lambda: encoder)
    expected = [3 + 10, 2 + 10 / np.sqrt(2)]
    assert summed.score([PAIRS[0], PAIRS[2]]).tolist() == pytest.approx(expected)


def test_scores_that_the_hits_have_are_taken() -> None:
    run = Run({"q": [Hit("d", 9.0), Hit("c", 1.0)]}, 2)
    documents, summed = {"c": CODE, "d": PROSE}, SummedReranker(KeywordReranker(), "first", 2.0, never)
    assert rerank(run, [READ], documents, summed, "first")["q"] == (Hit("d", 18.0), Hit("c", 5.0))
    with pytest.raises(AssertionError, match="loaded"):
        rerank(run, [READ], documents, summed, "another")


def test_a_first_stage_is_the_same_by_every_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models" / "first")
    run, summed = Run({"q": [Hit("c", 1.0)]}, 1), SummedReranker(KeywordReranker(), "../first", 2.0, never)
    assert rerank(run, [READ], {"c": CODE}, summed, str(tmp_path / "models" / "first"))["q"] == (Hit("c", 5.0),)
    for other in ("", str(tmp_path / "models")):
        with pytest.raises(AssertionError, match="loaded"):
            rerank(run, [READ], {"c": CODE}, summed, other)


def test_a_search_encodes_only_what_its_index_does_not_know(toy_searcher: tart.Searcher) -> None:
    encoder = Counting(toy_searcher.encoder.keywords)  # type: ignore[attr-defined]
    summed = SummedReranker(KeywordReranker(), "keywords", 2.0, lambda: encoder)
    queries = toy_collection().queries
    dense = toy_searcher.retrieve(queries, 8, rerank=summed)
    assert not encoder.texts
    hybrid = toy_searcher.retrieve(queries, 8, mode="hybrid", rerank=summed)
    assert encoder.texts
    for query in queries:
        known = {hit.doc_id: hit.score for hit in hybrid[query.query_id]}
        assert dense[query.query_id] and all(hit.score == known[hit.doc_id] for hit in dense[query.query_id])


def test_it_is_loaded_with_its_first_stage_on_every_backend(folders: tuple[Path, Path]) -> None:
    first, cross = folders
    summed, alone = tart.load_reranker(cross, backend="torch"), CrossEncoder(str(cross), device="cpu")
    assert isinstance(summed, SummedReranker) and (summed.first_stage, summed.weight) == (str(first), 3.0)
    encoder = tart.load_encoder(first, backend="torch")
    texts = [("Find code [SEP] read a file" if query.instruction else "read a file") for query, _ in PAIRS]
    logits = alone.predict([(text, f"{d.title} {d.text}".strip()) for text, (_, d) in zip(texts, PAIRS, strict=True)])
    asked = encoder.encode_queries([query for query, _ in PAIRS])
    answers = encoder.encode_documents([document for _, document in PAIRS])
    cosines = (asked * answers).sum(axis=1) / (np.linalg.norm(asked, axis=1) * np.linalg.norm(answers, axis=1))
    np.testing.assert_allclose(summed.score(PAIRS), logits + 3 * cosines, atol=1e-5)
    lean = tart.load_reranker(cross, backend="lean")
    assert isinstance(lean, SummedReranker) and lean.backend and lean.backend.startswith("lean")
    np.testing.assert_allclose(lean.score(PAIRS), summed.score(PAIRS), atol=0.05)
    assert lean.model_hash == summed.model_hash


def test_its_hash_changes_with_a_first_stage_of_the_same_name() -> None:
    encoders = KeywordEncoder(["code"]), KeywordEncoder(["read"]), KeywordEncoder(["code"])
    one, other, same = (
        SummedReranker(KeywordReranker(), "keywords", 2.0, partial(KeywordEncoder, encoder.keywords)).model_hash
        for encoder in encoders
    )
    assert one == same != other


def test_an_exported_folder_keeps_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    export_model(folders[1], tmp_path / "out")
    exported, before = (tart.load_reranker(folder, backend="torch") for folder in (tmp_path / "out", folders[1]))
    assert np.array_equal(exported.score(PAIRS), before.score(PAIRS))


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("minilm", "'first_stage': wanted the name of a model"),
        ({"weight": 1.0}, "'first_stage': wanted the name of a model"),
        ({"model": "minilm", "weight": "much"}, "'first_stage.weight': wanted a number above 0, got 'much'"),
        ({"model": "minilm", "weight": 0}, "'first_stage.weight': wanted a number above 0, got 0"),
        ({"model": "minilm", "weight": True}, "'first_stage.weight': wanted a number above 0, got True"),
    ],
)
def test_a_bad_first_stage_is_named(folders: tuple[Path, Path], stored: object, said: str) -> None:
    path = folders[1] / TART_JSON
    path.write_text(json.dumps(json.loads(path.read_text()) | {"first_stage": stored}))
    with pytest.raises(CheckpointError, match=said):
        tart.load_reranker(folders[1])
