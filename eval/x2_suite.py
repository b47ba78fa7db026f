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
from tart.index.readers import read_documents
from tart.instruction import Instruction

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_POOL_KEYS = {"name", "tasks"}
_TASK_KEYS = {"name": str, "path": str, "unit": str, "instruction": str, "wordings": list, "split": str}


def load_pool(path: str | Path) -> Pool:
    """Load a pool file.

    It has a `name` and a list of `[[tasks]]`, each with a `name`, a `path` (a folder in BEIR's layout, relative to the
    file), and optionally a `unit` ("abstract", "code", ...), an `instruction`, more `wordings` of it (without them,
    five are made by rule), and a `split`. A task whose folder has no queries fills the pool: a distractor.

    Raises:
        DataError: naming the file and the key; unknown keys are refused, near ones suggested.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise DataError(f"not valid TOML ({error})", path=path) from None
    _check_keys(table, _POOL_KEYS, path, "")
    entries = table.get("tasks")
    if not isinstance(entries, list) or not entries:
        raise DataError("wanted at least one [[tasks]]", path=path, field="tasks")
    tasks: list[Task] = []
    for number, entry in enumerate(entries, start=1):
        _check_task(entry, path, f"tasks[{number}]")
        if entry["name"] in [task.name for task in tasks]:
            raise DataError(f"{entry['name']!r} is the name of two tasks", path=path, field=f"tasks[{number}].name")
        tasks.append(_load_task(entry, path))
    return Pool(str(table.get("name") or path.stem), tuple(tasks))


def _check_task(entry: Any, path: Path, where: str) -> None:
    if not isinstance(entry, dict):
        raise DataError("wanted a table", path=path, field=where)
    _check_keys(entry, _TASK_KEYS, path, f"{where}.")
    for key in ("name", "path"):
        if not entry.get(key):
            raise DataError("is missing", path=path, field=f"{where}.{key}")
    for key, value in entry.items():
        items = value if isinstance(value, list) else []
        if not isinstance(value, _TASK_KEYS[key]) or not all(isinstance(item, str) and item.strip() for item in items):
            wanted = "a list of strings that aren't blank" if _TASK_KEYS[key] is list else "a string"
            raise DataError(f"must be {wanted}", path=path, field=f"{where}.{key}")
    if entry.get("wordings") and not entry.get("instruction"):
        raise DataError("go with an instruction, and there is none", path=path, field=f"{where}.wordings")


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
    queries = folder / "queries.jsonl"
    if queries.is_file() and queries.read_text(encoding="utf-8").strip():
        task = load_beir(folder, split=entry.get("split"), name=name)
    else:
        corpus = Corpus(read_documents(folder / "corpus.jsonl"))
        task = Task(name, "x2", TestCollection(name, corpus, (), {}))
    return replace(task, suite="x2", wordings=wordings, unit=unit, drop_identical_ids=False)
