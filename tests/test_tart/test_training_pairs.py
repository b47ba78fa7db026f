"""A folder of pairs and a few instructions: what collection it is, what is refused, and the model it becomes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from tart.collection import Query
from tart.errors import DataError
from tart.example import NegativeKind
from tart.instruction import Instruction
from tart.manifest import write_manifest
from tart.models.load import load_encoder
from tart.shards import SPLITS
from tart.testing import tiny_sentence_transformer
from tart.training import pairs as pairs_module
from tart.training.cli import train_app
from tart.training.pairs import ONE_IN, RANDOM, collection_at

COUNT = 60


def write(
    folder: Path, rows: list[dict[str, str]], wordings: str = "find the manual page\n\nshow how it is done\n"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "instructions.txt").write_text(wordings)


def pairs(kind: str) -> list[dict[str, str]]:
    return [{"query": f"topic {n}", "document": f"{kind} of topic {n}", "title": kind} for n in range(COUNT)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "data" / "manual", pairs("manual"))
    write(tmp_path / "data" / "code", [*pairs("code"), {"query": " TOPIC  3 ", "document": "more code"}], "find code\n")
    return tmp_path / "data"


def test_each_folder_is_a_task_and_what_is_right_in_another_does_not_follow(data: Path) -> None:
    collection = collection_at(data, verify=True)
    assert list(collection.tasks) == ["code", "manual"]
    assert collection.tasks["manual"]["wordings"] == ["find the manual page", "show how it is done"]
    examples = {split: list(collection.examples(split, "code")) for split in SPLITS}
    assert {split: len(found) for split, found in examples.items()} == collection.tasks["code"]["examples"]
    assert len(examples["train"]) + len(examples["dev"]) == COUNT and len(examples["dev"]) < 3 * COUNT / ONE_IN
    assert {one.group for one in examples["dev"]} == {one.group for one in collection.examples("dev", "manual")}
    for one in (*examples["train"], *examples["dev"]):
        number, kinds = one.query.text.split()[1], [negative.kind for negative in one.negatives]
        right = [f"code of topic {number}", *(["more code"] if number == "3" else [])]
        assert [document.text for document in one.positives] == right
        assert kinds == [NegativeKind.UNFOLLOWING] + [NegativeKind.RANDOM] * RANDOM
        assert one.negatives[0].document.text == f"manual of topic {number}" and one.query.instruction is not None


def test_equal_files_are_the_same_collection_and_other_ones_another(data: Path, tmp_path: Path) -> None:
    first = collection_at(data, verify=True)
    assert collection_at(data, verify=True).folder == first.folder
    (data / "code" / "instructions.txt").write_text("find source code\n")
    assert collection_at(data, verify=True).manifest["sha256"] != first.manifest["sha256"]
    assert collection_at(first.folder, verify=True).manifest == first.manifest  # a collection is taken as it is


def test_processes_that_begin_together_make_one_collection(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "code" / "instructions.txt").write_text("find code that nobody has made a collection of\n")
    calls = []

    def slow(*arguments: Any) -> Any:
        calls.append(arguments)
        sleep(0.3)
        return write_manifest(*arguments)

    monkeypatch.setattr(pairs_module, "write_manifest", slow)
    with ThreadPoolExecutor(3) as threads:
        folders = [threads.submit(collection_at, data, verify=True) for _ in range(3)]
    assert len({one.result().folder for one in folders}) == 1 == len(calls)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"query": "a"}', r"pairs\.jsonl:2: field 'document': wanted text that isn't blank, found None"),
        ('{"query": " ", "document": "b"}', r"pairs\.jsonl:2: field 'query': wanted text"),
        ("[]", r"pairs\.jsonl:2: wanted a JSON object, found list"),
        ("", r"pairs\.jsonl: holds no pair"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, line: str, problem: str) -> None:
    write(tmp_path, [])
    (tmp_path / "pairs.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(DataError, match=problem):
        collection_at(tmp_path, verify=True)


def test_instructions_have_to_be_there(tmp_path: Path) -> None:
    write(tmp_path, pairs("code"), "\n")
    with pytest.raises(DataError, match=r"instructions\.txt: holds no instruction"):
        collection_at(tmp_path, verify=True)
    (tmp_path / "instructions.txt").unlink()
    with pytest.raises(DataError, match=r"instructions\.txt: is missing; say there what is wanted"):
        collection_at(tmp_path, verify=True)
    with pytest.raises(DataError, match="no finished berri-collection folder"):
        collection_at(Path(__file__).parent, verify=True)  # neither pairs nor a collection


def test_one_command_makes_a_model_of_them(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no output is named, it is called as the recipe says."""
    monkeypatch.chdir(tmp_path)
    tiny_sentence_transformer(max_tokens=256).save(str(tmp_path / "base"))
    command = ["dual", "-r", "own-data", "-d", str(data), "name=own", f"base={tmp_path / 'base'}"]
    train_app([*command, "steps=2", "batch_size=8"], standalone_mode=False)
    vectors = load_encoder(tmp_path / "models" / "own").encode_queries(
        [Query("q", "topic 3", Instruction("find code"))]
    )
    assert vectors.shape == (1, 32)
    assert "| code | 1 | not stated |" in (tmp_path / "models" / "own" / "README.md").read_text()
