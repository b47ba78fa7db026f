"""mteb and this project measure the same figure on the same collection, and the instruction reaches the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mteb
import pytest
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from eval.measures import mean, per_query
from eval.mteb_adapter import MtebEncoder
from tart import Instruction, Query, Run, Searcher
from tart.models.bi_encoder import BiEncoder
from tart.models.load import load_encoder
from tart.testing import KeywordEncoder, tiny_sentence_transformer, toy_collection
from tart.text_format import PRESETS
from tart.training.dual import train_dual
from tart.training.model_card import KNOWN_TASKS
from tart.training.recipe import read_recipe
from tart.training.settings import DualRecipe
from tart.training.toy import toy_words, write_toy_world

TOY = toy_collection()


class ToyTask(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="ToyRetrieval", type="Retrieval", main_score="ndcg_at_10", description="toy", reference=None,
        dataset={"path": "none/none", "revision": "1"}, category="t2t", modalities=["text"], eval_splits=["test"],
        eval_langs=["eng-Latn"], date=None, domains=None, task_subtypes=None, license=None, annotations_creators=None,
        dialect=None, sample_creation=None, bibtex_citation=None,
    )  # fmt: skip
    own_instructions = True

    def load_data(self, **_: Any) -> None:
        corpus = [{"id": d.doc_id, "title": d.title, "text": d.text} for d in TOY.corpus.values()]
        queries: list[dict[str, str]] = [{"id": q.query_id, "text": q.text} for q in TOY.queries]
        if self.own_instructions:
            for row, query in zip(queries, TOY.queries, strict=True):
                row["instruction"] = query.instruction.text if query.instruction else ""
        self.dataset = {
            "default": {
                "test": {
                    "corpus": Dataset.from_list(corpus),
                    "queries": Dataset.from_list(queries),
                    "relevant_docs": {query_id: dict(found) for query_id, found in TOY.qrels.items()},
                    "top_ranked": None,
                }
            }
        }
        self.data_loaded = True


class PlainTask(ToyTask):
    own_instructions = False


class KnownTask(PlainTask):
    """Under a name that trained models have a prompt for."""

    metadata = ToyTask.metadata.model_copy(update={"name": "SciFact"})


def by_mteb(encoder: Any, task: AbsTaskRetrieval) -> float:
    result = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False, co2_tracker=False)
    return float(result.task_results[0].scores["test"][0]["ndcg_at_10"])


def by_us(run: Run) -> float:
    return mean(per_query(run, TOY.qrels, ["nDCG@10"])["nDCG@10"])


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_our_figure_is_mtebs(tmp_path: Any, similarity: Any) -> None:
    encoder = BiEncoder(tiny_sentence_transformer(similarity=similarity), PRESETS["tart-dual"], "tiny")
    searcher = Searcher.build(TOY.corpus.values(), encoder, tmp_path / "index")
    ours = by_us(searcher.retrieve(TOY.queries, 10))
    assert 0.1 < ours < 1.0
    assert by_mteb(MtebEncoder(encoder), ToyTask()) == pytest.approx(ours, abs=1e-5)


def test_the_instruction_reaches_the_model_through_mteb() -> None:
    encoder = KeywordEncoder(["code", "prose", "sort", "read", "open", "parse"])
    assert by_mteb(MtebEncoder(encoder), ToyTask()) == 1.0  # here the instruction alone tells which document is wanted
    assert by_mteb(MtebEncoder(encoder), PlainTask()) < 1.0


def test_a_tasks_instruction_is_used_where_the_data_has_none() -> None:
    encoder = KeywordEncoder(["code", "prose", "sort", "read", "open", "parse"])
    asked: list[str] = []
    encode = encoder.encode_queries

    def spy(queries: Any) -> Any:
        asked.extend(query.instruction.text for query in queries)
        return encode(queries)

    encoder.encode_queries = spy  # type: ignore[method-assign]
    by_mteb(MtebEncoder(encoder, {"ToyRetrieval": Instruction("Find code")}), PlainTask())
    assert set(asked) == {"Find code"} and len(asked) == len(TOY.queries)


def test_a_trained_folder_is_scored_as_it_is(tmp_path: Path) -> None:
    """By plain sentence-transformers, equal to our search: without instruction, and with the prompt of a known task."""
    from sentence_transformers import SentenceTransformer

    write_toy_world(tmp_path / "world", train=8, dev=2)
    tiny_sentence_transformer(words=toy_words()).save(str(tmp_path / "base"))
    changes = [f"base={json.dumps(str(tmp_path / 'base'))}", "loop.steps=2", "batch_size=4"]
    folder = train_dual(read_recipe(DualRecipe, "toy", changes), tmp_path / "world", tmp_path / "trained")
    plain = SentenceTransformer(str(folder), device="cpu")
    searcher = Searcher.build(TOY.corpus.values(), load_encoder(folder), tmp_path / "index")
    figures = []
    for task, wish in ((PlainTask(), None), (KnownTask(), Instruction(KNOWN_TASKS["SciFact"]))):
        run = searcher.retrieve([Query(query.query_id, query.text, wish) for query in TOY.queries], 10)
        figures.append(by_us(run))
        assert by_mteb(plain, task) == pytest.approx(figures[-1], abs=1e-5)
    assert 0.1 < figures[0] != figures[1]
