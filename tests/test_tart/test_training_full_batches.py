"""What goes into a cross-encoder, and its losses: equal to the formula, however a step is cut or shared."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.index.dense import normalised
from tart.instruction import Instruction
from tart.models.bi_encoder import BiEncoder
from tart.models.cross_encoder import CrossEncoderReranker
from tart.shards import Collection
from tart.testing import tiny_cross_encoder, tiny_sentence_transformer
from tart.text_format import PRESETS
from tart.training.batch import distinct_documents
from tart.training.examples import Examples
from tart.training.first_stage import FirstStageScores
from tart.training.full_batches import GUARD, SPREAD, FullBatches
from tart.training.full_loss import FullLoss, listwise, pointwise
from tart.training.full_settings import FullLossSettings, FullModelSettings, FullRecipe
from tart.training.settings import DataSettings, LoopSettings
from tart.training.toy import toy_words, write_toy_world


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return write_toy_world(tmp_path_factory.mktemp("toy") / "world", train=30, dev=6)


def reranker(labels: int = 1) -> CrossEncoderReranker:
    return CrossEncoderReranker(tiny_cross_encoder(words=toy_words(), labels=labels), PRESETS["tart-dual"], "tiny")


def batches(toy: Collection, world: int = 1, **loop: Any) -> FullBatches:
    data = DataSettings(hard=2, unfollowing=1, random=1)
    recipe = FullRecipe("toy", data=data, loop=LoopSettings(batch_size=8, steps=6, **loop))
    return FullBatches(Examples(toy, "train"), recipe, reranker(), world)


def groups_of(part: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    groups: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, value in part.items():
        if key != "label":
            group, _, name = key.partition("_")
            groups[group][name] = value
    return list(groups.values())


def tokens_of(part: dict[str, Any]) -> list[list[int]]:
    """Of each pair, list by list, without padding."""
    rows = [
        ids[mask.bool()].tolist()
        for group in groups_of(part)
        for ids, mask in zip(group["input_ids"], group["attention_mask"], strict=True)
    ]
    return [rows[place] for place in part["label"]["place"]]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_pointwise_is_the_cross_entropy_of_each_pair() -> None:
    scores = torch.tensor([[2.0], [-1.0], [0.5], [3.0], [1.0]])
    first = -(math.log(sigmoid(2)) + math.log(1 - sigmoid(-1)) + math.log(1 - sigmoid(0.5))) / 3
    second = -(math.log(sigmoid(3)) + math.log(1 - sigmoid(1))) / 2
    assert pointwise(scores, [3, 2]).tolist() == pytest.approx([first, second])
    # Two classes whose log-odds are these scores give the same.
    assert pointwise(torch.cat([torch.zeros(5, 1), scores], dim=1), [3, 2]).tolist() == pytest.approx([first, second])


def test_listwise_is_the_softmax_over_a_list() -> None:
    scores = torch.tensor([[2.0], [-1.0], [0.5], [3.0], [1.0]])
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(-1) + math.exp(0.5)))
    second = -math.log(math.exp(3) / (math.exp(3) + math.exp(1)))
    assert listwise(scores, [3, 2]).tolist() == pytest.approx([first, second])
    assert listwise(torch.cat([-scores, torch.zeros(5, 1)], dim=1), [3, 2]).tolist() == pytest.approx([first, second])


@pytest.mark.parametrize("labels", [1, 2])
def test_tokens_of_training_are_those_of_scoring(labels: int) -> None:
    model = reranker(labels)
    pairs = [
        (Query("q", "bad fed", Instruction("find a table")), Document("a", "row total bad", "title")),
        (Query("q", "bad " * 80), Document("b", "fed " * 80)),
    ]
    tokens = model.tokens(pairs)
    assert len(tokens["input_ids"][1]) == 64 and set(tokens) == {"input_ids", "token_type_ids", "attention_mask"}
    logits = model.model.eval()(model.padded(tokens))["scores"].detach()
    expected = logits.softmax(dim=1)[:, 1] if labels == 2 else logits[:, 0].sigmoid()
    np.testing.assert_allclose(model.score(pairs), expected, atol=1e-6)


@pytest.mark.parametrize("form", ["pointwise", "listwise"])
@pytest.mark.parametrize("labels", [1, 2])
def test_the_loss_is_the_same_however_a_step_is_cut_and_shared(toy: Collection, form: Any, labels: int) -> None:
    loss = FullLoss(reranker(labels).model.eval(), FullLossSettings(form))

    def of(item: dict[str, Any]) -> torch.Tensor:
        return torch.stack([loss(groups_of(part), part["label"]) for part in item["parts"]]).sum()

    whole, cut, shared = batches(toy, token_budget=10**6), batches(toy, token_budget=200), batches(toy, world=2)
    assert len(whole[3]["parts"]) == 1 < len(cut[3]["parts"])
    assert len(whole) == 6 and len(shared) == 12
    assert of(cut[3]).item() == pytest.approx(of(whole[3]).item(), abs=1e-5)
    halves = [of(shared[2 * 3 + process]) for process in (0, 1)]
    assert torch.stack(halves).mean().item() == pytest.approx(of(whole[3]).item(), abs=1e-5)


def test_what_is_added_moves_the_softmax() -> None:
    class Given(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"scores": features["scores"]}

    loss = FullLoss(Given(), FullLossSettings())
    labels = {"sizes": [2], "place": torch.tensor([0, 1]), "lists": 1, "first": [1.0, 4.0]}
    expected = -math.log(math.exp(2 + 1) / (math.exp(2 + 1) + math.exp(-1 + 4)))
    assert loss([{"scores": torch.tensor([[2.0], [-1.0]])}], labels).item() == pytest.approx(expected)
    two = torch.tensor([[0.0, 2.0], [0.0, -1.0]])
    assert loss([{"scores": two}], labels).item() == pytest.approx(expected)


def with_first_stage(toy: Collection, **changes: Any) -> tuple[FullBatches, FirstStageScores]:
    from tart.training.first_stage import first_stage_scores

    recipe = FullRecipe(
        "toy",
        first_stage="minilm",
        data=DataSettings(hard=1, unfollowing=1, without_instruction=0.3),
        model=FullModelSettings(first_stage_weight=20.0),
        loss=FullLossSettings(in_batch=3),
        loop=LoopSettings(batch_size=8, steps=2, **changes),
    )
    found = FullBatches(Examples(toy, "train"), recipe, reranker())
    found.first_stage = first_stage_scores(recipe, found, toy.manifest["sha256"])
    return found, found.first_stage


def test_lists_end_with_what_the_first_stage_scores_highest_of_the_step(
    toy: Collection, minilm: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TART_CACHE", str(tmp_path))
    some, first_stage = with_first_stage(toy, token_budget=300)
    drawn = some.drawn(1)
    documents = distinct_documents(drawn)
    asked = minilm.encode_queries([one.query for one in drawn])
    cosines = normalised(asked) @ normalised(minilm.encode_documents(documents)).T
    np.testing.assert_allclose(first_stage.of(drawn, documents), cosines, atol=2e-3)

    scores, column = first_stage.of(drawn, documents), {one.doc_id: place for place, one in enumerate(documents)}
    right = {
        one.group: {other.positive.doc_id for other in drawn if other.group == one.group} | one.others for one in drawn
    }
    by_id = {one.example_id: (row, one) for row, one in enumerate(drawn)}
    tokenizer, further = reranker().model.tokenizer, 0
    for part in some[1]["parts"]:
        starts, tokens = np.cumsum([0, *part["label"]["sizes"]]), tokens_of(part)
        for name, start, end in zip(part["label"]["ids"], starts[:-1], starts[1:], strict=True):
            row, one = by_id[name]
            own, columns = [document.doc_id for document in one.documents], []
            for ids in tokens[start:end]:
                text = tokenizer.decode(ids, skip_special_tokens=True)
                held = [at for at in column.values() if documents[at].text in text]
                columns.append(max(held, key=lambda at: len(documents[at].text)))
            assert [documents[at].doc_id for at in columns[: len(own)]] == own
            added = scores[row, columns[len(own) :]]
            assert len(added) <= 3 and (np.diff(added) <= 0).all()
            barred = {one.positive.doc_id, *one.others} | (right[one.group] if one.query.instruction is None else set())
            assert not barred & {documents[at].doc_id for at in columns[len(own) :]}
            guarded = GUARD * scores[row, column[one.positive.doc_id]]
            passed_over = [at for at in column.values() if at not in columns and scores[row, at] > added.min(initial=1)]
            assert all(scores[row, at] > guarded or documents[at].doc_id in barred for at in passed_over)
            np.testing.assert_allclose(part["label"]["first"][start:end], 20 * scores[row, columns], rtol=1e-5)
            further += len(added)
    assert further >= 8


def test_without_a_weight_nothing_is_added_and_a_dot_product_is_refused(
    toy: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tart.training.first_stage import first_stage_scores

    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))
    assert "first" not in batches(toy)[0]["parts"][0]["label"]
    folder = tmp_path / "dot"
    BiEncoder(tiny_sentence_transformer(similarity="dot"), PRESETS["tart-dual"], "dot").save(folder)
    recipe = FullRecipe("toy", first_stage=str(folder), loss=FullLossSettings(in_batch=1))
    with pytest.raises(ConfigError, match="doesn't compare by cosine"):
        first_stage_scores(recipe, batches(toy), "x")
    with pytest.raises(ConfigError, match=r"loss\.in_batch: wanted at least 0"):
        FullLossSettings(in_batch=-1)
    with pytest.raises(ConfigError, match=r"model\.first_stage_weight: wanted at least 0"):
        FullModelSettings(first_stage_weight=-1)
    with pytest.raises(ConfigError, match=r"model\.first_stage_scale: wanted more than 0"):
        FullModelSettings(first_stage_weight=1, first_stage_scale=0)
    with pytest.raises(ConfigError, match="nothing to scale"):
        FullModelSettings(first_stage_scale=2)


def test_a_model_of_two_labels_adds_nothing(tmp_path: Path) -> None:
    from tart.training.full_model import build_full

    reranker(labels=2).save(tmp_path / "two")
    with pytest.raises(ConfigError, match="scores by probabilities"):
        build_full(
            str(tmp_path / "two"),
            FullModelSettings(64, first_stage_weight=1.0),
            PRESETS["tart-dual"],
            "new",
            first_stage="minilm",
        )


def test_an_item_is_a_function_of_its_number(toy: Collection) -> None:
    some, again = batches(toy), batches(toy)
    last = again[5]["parts"][0]  # first the last one: nothing depends on what was read before
    first = some[5]["parts"][0]
    assert tokens_of(first) == tokens_of(last) and first["label"].pop("place").equal(last["label"].pop("place"))
    assert first["label"] == last["label"] and last["label"]["step"] == 5
    assert some[4]["parts"][0]["label"]["ids"] != last["label"]["ids"]


def test_parts_keep_the_budget_and_whole_lists_with_the_positive_first(toy: Collection) -> None:
    cut = batches(toy, token_budget=300)
    drawn = {one.example_id: one for one in cut.drawn(0)}
    tokenizer, named = reranker().model.tokenizer, []
    for part in cut[0]["parts"]:
        ids, label = tokens_of(part), part["label"]
        assert sum(map(len, ids)) <= 300 and label["lists"] == 8 and sum(label["sizes"]) == len(ids)
        for group in groups_of(part):
            lengths = group["attention_mask"].sum(dim=1)
            assert lengths.max() == group["input_ids"].shape[1] <= SPREAD * lengths.min()
        named += label["ids"]
        for start, name in zip(np.cumsum([0, *label["sizes"][:-1]]), label["ids"], strict=True):
            assert drawn[name].positive.text in tokenizer.decode(ids[start])
    assert sorted(named) == sorted(drawn)


def test_instructions_come_from_the_wordings_and_change_with_the_epoch(toy: Collection) -> None:
    some = batches(toy)
    facts, seen = toy.tasks, dict[str, set[str]]()
    for step in range(0, 240, 1):
        for one in some.drawn(step):
            if one.query.instruction is not None:
                assert one.query.instruction.text in facts[one.task]["wordings"]
                seen.setdefault(one.example_id, set()).add(one.query.instruction.text)
    assert max(len(texts) for texts in seen.values()) > 2


def test_processes_have_to_share_evenly(toy: Collection) -> None:
    with pytest.raises(ConfigError, match="8 examples can't be shared by 3 processes"):
        batches(toy, world=3)


@pytest.mark.parametrize("name", ["toy-full", "mini-full", "paper-full"])
def test_recipes_that_ship_are_whole(name: str) -> None:
    from tart.training.recipe import read_recipe, recipe_names

    assert name in recipe_names()
    assert read_recipe(FullRecipe, name).data.unfollowing > 0


def test_the_body_of_a_bi_encoder_gets_a_head() -> None:
    from tart.training.full_model import build_full

    heads = []
    for _ in range(2):
        torch.manual_seed(0)
        model, found = build_full("minilm", FullModelSettings(64), PRESETS["tart-dual"], "new")
        assert isinstance(found, CrossEncoderReranker) and model.num_labels == 1 and model.max_seq_length == 64
        heads.append(model[0].model.classifier.weight.detach())
    assert torch.equal(*heads)
