"""Pool files: what they mean, and what is refused, with the key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.wordings import reword
from eval.x2_suite import load_pool
from tart.errors import DataError
from tart.instruction import Instruction

POOL = """
name = "two kinds"

[[tasks]]
name = "code"
path = "sets/code"
unit = "code"
instruction = "Find code."

[[tasks]]
name = "prose"
path = "sets/prose"
unit = "prose"
instruction = "Find prose."
wordings = ["Prose is wanted.", "Give me prose."]
split = "dev"
drop_identical_ids = true

[[tasks]]
name = "more"
path = "sets/more"
unit = "prose"
instruction = ""
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three collections with the same document ids; the third has no queries."""
    for name, split in (("code", "test"), ("prose", "dev"), ("more", "")):
        place = tmp_path / "sets" / name
        (place / "qrels").mkdir(parents=True)
        (place / "corpus.jsonl").write_text(f'{{"_id": "d1", "text": "{name}"}}\n{{"_id": "d2", "text": "x"}}\n')
        (place / "queries.jsonl").write_text('{"_id": "q1", "text": "sort"}\n' if split else "\n")
        (place / f"qrels/{split or 'test'}.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    (tmp_path / "pool.toml").write_text(POOL)
    return tmp_path


def test_a_pool_is_read_with_paths_relative_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    pool = load_pool(folder / "pool.toml")
    assert (pool.name, [task.name for task in pool.tasks]) == ("two kinds", ["code", "prose", "more"])
    code, prose, more = pool.tasks
    assert {task.suite for task in pool.tasks} == {"x2"}
    assert [task.unit for task in pool.tasks] == ["code", "prose", "prose"]
    assert [task.collection.corpus["d1"].text for task in pool.tasks] == ["code", "prose", "more"]
    assert [len(task.collection.queries) for task in pool.tasks] == [1, 1, 0]  # no queries: a distractor
    assert [task.drop_identical_ids for task in pool.tasks] == [False, True, False]
    own = Instruction("Find code.", unit="code")
    assert code.wordings == (own, *reword(own))  # made by rule where the file gives none
    assert [wording.text for wording in prose.wordings] == ["Find prose.", "Prose is wanted.", "Give me prose."]
    assert more.wordings == ()


def test_a_distractor_needs_no_queries_file(folder: Path) -> None:
    (folder / "sets/more/queries.jsonl").unlink()
    assert load_pool(folder / "pool.toml").tasks[2].collection.queries == ()


def test_a_pool_without_a_name_has_the_files(folder: Path) -> None:
    (folder / "mine.toml").write_text(POOL.replace('name = "two kinds"', "", 1))
    assert load_pool(folder / "mine.toml").name == "mine"


def test_a_set_of_beirs_name_gets_nothing_that_the_file_does_not_say(folder: Path) -> None:
    (folder / "pool.toml").write_text('[[tasks]]\nname = "scifact"\npath = "sets/code"\n')
    (task,) = load_pool(folder / "pool.toml").tasks
    assert (task.wordings, task.unit, task.drop_identical_ids) == ((), "", False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('unit = "code"', 'unti = "code"', "field 'tasks[1].unti': unknown key; did you mean unit?"),
        ('name = "two kinds"', 'nam = "two kinds"', "field 'nam': unknown key; did you mean name?"),
        ('name = "two kinds"', "name = 2", "field 'name': must be a string that isn't blank"),
        ('name = "prose"', 'name = "code"', "field 'tasks[2].name': 'code' is the name of two tasks"),
        ('path = "sets/more"', "", "field 'tasks[3].path': is missing"),
        ('path = "sets/more"', 'path = ""', "field 'tasks[3].path': is missing"),
        ('instruction = "Find code."', "instruction = 3", "field 'tasks[1].instruction': must be a string"),
        ("drop_identical_ids = true", "drop_identical_ids = 1", "field 'tasks[2].drop_identical_ids': must be true or"),
        ('["Prose is wanted.", "Give me prose."]', '[" "]', "field 'tasks[2].wordings': must be a list of strings"),
        ('["Prose is wanted.", "Give me prose."]', '"x"', "field 'tasks[2].wordings': must be a list of strings"),
        ('instruction = "Find prose."', "", "field 'tasks[2].wordings': go with an instruction, and there is none"),
        ('["Prose is wanted.", "Give me prose."]', '["a", "a "]', "field 'tasks[2].wordings': holds a wording twice"),
        (
            '["Prose is wanted.", "Give me prose."]',
            '["Find prose."]',
            "field 'tasks[2].wordings': holds a wording twice",
        ),
        ('name = "code"', 'name = " "', "field 'tasks[1].name': is missing"),
        ('name = "code"', "name = 0", "field 'tasks[1].name': must be a string"),
        ("[[tasks]]", "[tasks", "not valid TOML"),
        ('unit = "code"', f"unit = {'9' * 5000}", "not valid TOML"),
    ],
)
def test_a_bad_pool_file_is_refused_with_its_key(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / "pool.toml"
    path.write_text(POOL.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        load_pool(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_empty_and_missing_files_are_named(folder: Path) -> None:
    (folder / "empty.toml").write_text("")
    with pytest.raises(DataError, match=r"empty.toml: field 'tasks': wanted at least one \[\[tasks\]\]"):
        load_pool(folder / "empty.toml")
    with pytest.raises(DataError, match=r"gone.toml: no such file"):
        load_pool(folder / "gone.toml")
    (folder / "pool.toml").write_text(POOL.replace("sets/code", "sets/gone"))
    with pytest.raises(DataError, match=r"sets.gone: no such folder"):
        load_pool(folder / "pool.toml")
    rows = [json.dumps({"_id": "q1", "text": ""})]
    (folder / "sets/code/queries.jsonl").write_text("\n".join(rows))
    (folder / "pool.toml").write_text(POOL)
    with pytest.raises(DataError, match=r"queries.jsonl:1: field 'text': must not be empty"):
        load_pool(folder / "pool.toml")
