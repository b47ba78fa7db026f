"""Pools written in TOML: several collections in BEIR's layout, searched each alone and all together."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.beir_suite import load_beir
from eval.task import Pool, Task
from eval.wordings import reword
from tart.collection import Corpus, TestCollection
from tart.errors import DataError
from tart.files import read_lines
from tart.index.readers import read_documents
from tart.instruction import Instruction

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_POOL_KEYS = {"name", "tasks"}
_TASK_KEYS = {
    "name": str,
    "path": str,
    "unit": str,
    "instruction": str,
    "wordings": list,
    "split": str,
    "drop_identical_ids": bool,
}
_WANTED = {str: "a string", list: "a list of strings that aren't blank", bool: "true or false"}


def load_pool(path: str | Path) -> Pool:
    """Load a pool file.

    It has a `name` and a list of `[[tasks]]`, each with a `name`, a `path` (a folder in BEIR's layout, relative to the
    file), and optionally a `unit` ("abstract", "code", ...), an `instruction`, more `wordings` of it (without them,
    five are made by rule), a `split`, and `drop_identical_ids = true` where the queries are documents themselves. A
    task whose folder has no queries fills the pool: a distractor. Ids of different tasks may be the same.

    Raises:
        DataError: naming the file and the key; unknown keys are refused, near ones suggested.
    """
    path = Path(path)
    try:
        table = tomllib.loads("\n".join(text for _, text in read_lines(path)))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError, as is a number of too many digits
        raise DataError(f"not valid TOML ({error})", path=path) from None
    _check_keys(table, _POOL_KEYS, path, "")
    name, entries = table.get("name", path.stem), table.get("tasks")
    if not isinstance(name, str) or not name.strip():
        raise DataError("must be a string that isn't blank", path=path, field="name")
    if not isinstance(entries, list) or not entries:
        raise DataError("wanted at least one [[tasks]]", path=path, field="tasks")
    tasks: list[Task] = []
    for number, entry in enumerate(entries, start=1):
        _check_task(entry, path, f"tasks[{number}]")
        if entry["name"] in [task.name for task in tasks]:
            raise DataError(f"{entry['name']!r} is the name of two tasks", path=path, field=f"tasks[{number}].name")
        tasks.append(_load_task(entry, path))
    return Pool(name, tuple(tasks))


def _check_task(entry: Any, path: Path, where: str) -> None:
    if not isinstance(entry, dict):
        raise DataError("wanted a table", path=path, field=where)
    _check_keys(entry, _TASK_KEYS, path, f"{where}.")
    for key in ("name", "path"):
        if not str(entry.get(key, "")).strip():
            raise DataError("is missing", path=path, field=f"{where}.{key}")
    for key, value in entry.items():
        items = value if isinstance(value, list) else []
        if not isinstance(value, _TASK_KEYS[key]) or not all(isinstance(item, str) and item.strip() for item in items):
            raise DataError(f"must be {_WANTED[_TASK_KEYS[key]]}", path=path, field=f"{where}.{key}")
    if entry.get("wordings") and not entry.get("instruction"):
        raise DataError("go with an instruction, and there is none", path=path, field=f"{where}.wordings")
    texts = [text.strip() for text in (entry.get("instruction", ""), *entry.get("wordings", ()))]
    if len(set(texts)) < len(texts):  # it would weigh twice in the mean over wordings
        raise DataError("holds a wording twice, or the instruction again", path=path, field=f"{where}.wordings")


def _check_keys(table: Mapping[str, Any], known: Collection[str], path: Path, where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=2, cutoff=0.5) or sorted(known)
            raise DataError(f"unknown key; did you mean {', '.join(near)}?", path=path, field=f"{where}{key}")


def _load_task(entry: Mapping[str, Any], path: Path) -> Task:
    folder = path.parent / entry["path"]
    name, unit, text = entry["name"], entry.get("unit", ""), entry.get("instruction", "").strip()
    wordings: tuple[Instruction, ...] = ()
    if text:
        own = Instruction(text, unit=unit)
        more = [Instruction(wording, unit=unit) for wording in entry.get("wordings", ())]
        wordings = (own, *(more or reword(own)))
    if not folder.is_dir():
        raise DataError("no such folder", path=folder)
    queries = folder / "queries.jsonl"
    if queries.is_file() and any(line.strip() for _, line in read_lines(queries)):
        drop = entry.get("drop_identical_ids", False)
        task = load_beir(folder, split=entry.get("split"), name=name, drop_identical_ids=drop)
        return replace(task, suite="x2", wordings=wordings, unit=unit)
    corpus = Corpus(read_documents(folder / "corpus.jsonl"))
    return Task(name, "x2", TestCollection(name, corpus, (), {}), wordings, unit)
