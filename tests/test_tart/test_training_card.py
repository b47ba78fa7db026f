"""The model card and the curves say what the facts say; stored prompts give the joined texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tart.collection import Query
from tart.errors import ConfigError
from tart.instruction import Instruction
from tart.text_format import PRESETS, TextFormat
from tart.training.curves import draw_curves, series
from tart.training.full_settings import FullRecipe
from tart.training.model_card import KNOWN_TASKS, model_card, stored_prompts
from tart.training.settings import DualRecipe
from tart.training.toy import write_toy_world

HISTORY: list[dict[str, Any]] = [
    {"step": 10, "loss": 2.5, "epoch": 0.1},
    {"step": 10, "eval_pooled_own": 0.4, "eval_wrong_own": 0.7},
    {"step": 20, "loss": 1.5},
    {"step": 20, "eval_pooled_own": 0.6, "eval_wrong_own": 0.3},
    {"step": 20, "train_runtime": 90.0},
]


def test_curves_are_a_picture_with_the_log_in_it(tmp_path: Path) -> None:
    assert series(HISTORY, "eval_pooled_own") == ([10, 20], [0.4, 0.6])
    draw_curves(HISTORY, tmp_path / "curves.png")
    draw_curves(HISTORY, tmp_path / "again.png")
    draw_curves([one for one in HISTORY if "loss" in one], tmp_path / "loss.png")
    draw_curves([], tmp_path / "empty.png")
    both, again, loss = ((tmp_path / name).read_bytes() for name in ("curves.png", "again.png", "loss.png"))
    assert both == again and both[:8] == loss[:8] == b"\x89PNG\r\n\x1a\n"
    width, narrow = (int.from_bytes(picture[16:20], "big") for picture in (both, loss))
    assert width == 2 * narrow  # the second panel


@pytest.mark.parametrize("name", ["plain", "tart-dual", "e5"])
def test_a_stored_prompt_before_the_query_is_the_joined_text(name: str) -> None:
    form = PRESETS[name]
    prompts = stored_prompts(form)
    assert prompts["query"] + "a query" == form.query_text(Query("q", "a query"))
    for task, wording in KNOWN_TASKS.items():
        joined = form.query_text(Query("q", "a query", Instruction(wording)))
        assert prompts[f"{task}-query"] + "a query" == joined


def test_what_a_prefix_can_not_express_is_not_stored() -> None:
    assert stored_prompts(PRESETS["tart-reversed"]) == {"query": "", "document": ""}
    assert stored_prompts(TextFormat("odd", instructed_query="{query} {instruction}", plain_query="{query}?")) == {}


def test_the_card_holds_head_data_recipe_and_results(tmp_path: Path) -> None:
    toy = write_toy_world(tmp_path / "toy", train=12, dev=4)
    facts = {
        "config": {"versions": {"torch": "2"}},
        "history": HISTORY,
        "development": {"closed_own": 0.7, "pooled_own": 0.654, "wrong_own": 0.31},
        "machine": {"processor": "A processor", "cores": 2, "gpu": "", "system": "Linux"},
        "finished": "2000-01-01",
        "seconds": 90.0,
        "processes": 1,
        "best_step": 20,
    }
    recipe = DualRecipe("toy-model", license="Apache-2.0")
    card = model_card(recipe, "bi-encoder", PRESETS["tart-dual"], facts, toy)
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
        "license": "apache-2.0",
        "language": ["en"],
        "tags": ["sentence-transformers", "sentence-similarity", "information-retrieval", "instructions", "tart"],
    }
    assert "| its own instruction | 70.0 | 65.4 | 31 % |" in body and "no instruction |" not in body
    assert "96 examples of 8 tasks" in body and "| Toy world | 8 | Apache-2.0 |" in body
    assert "not compared with test collections" in body
    assert "20 steps on A processor, 2 cores; 1 min 30 s" in body
    assert f"{90 * 20 / 3.6e6:.2g} kWh" in body
    assert 'base = "minilm"' in body and "curves.png" in body
    assert "those of step 20, the best by pooled_own" in body and "helped to choose" in body
    del facts["best_step"]
    card = model_card(DualRecipe("toy-model"), "bi-encoder", PRESETS["tart-dual"], facts, toy)
    assert "![loss over the steps]" in card and "helped to choose" not in card and "the best by" not in card


def test_the_cards_example_is_in_the_models_own_format_and_loads_its_folder(tmp_path: Path) -> None:
    toy = write_toy_world(tmp_path / "toy", train=12, dev=4)
    machine = {"processor": "A processor", "cores": 2, "gpu": ""}
    facts = {"config": {"versions": {}}, "history": [], "development": {}, "machine": machine}
    facts |= {"finished": "2000-01-01", "seconds": 90.0, "processes": 1}
    dual = model_card(DualRecipe("toy"), "bi-encoder", PRESETS["e5-instruct"], facts, toy)
    assert r'model.encode("Instruct: Find Python source code that does this\nQuery: sort a list")' in dual
    cross = model_card(FullRecipe("toy"), "cross-encoder", PRESETS["tart-reversed"], facts, toy)
    assert 'model.rank("sort a list [SEP] Find Python source code that does this", documents)' in cross
    own = model_card(FullRecipe("toy"), "enc-t5", PRESETS["tart-full"], facts, toy)
    assert "CrossEncoder(" not in own and 'library_name: "tart-retrieval"' in own
    code = own.partition("```python\n")[2].partition("```")[0]
    with pytest.raises(ConfigError, match="unknown model 'FOLDER'"):  # all else of it runs
        exec(code, {})
