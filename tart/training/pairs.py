"""A user's own pairs as a collection: what `tart train` reads beside what `berri collect` writes.

    my_data/                    or, below it, a folder like it for each kind of document
        pairs.jsonl             a query and a document that is right for it in each line: {"query": "", "document": ""}
        instructions.txt        a way of saying what is wanted in each line

What is right for the same query in another folder is a negative here that doesn't follow the instruction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from tart.collection import Document, Query
from tart.errors import DataError
from tart.example import Negative, NegativeKind, TrainingExample
from tart.files import new_folder, parse_json_object, read_lines, sha256_file, storage_errors
from tart.instruction import Instruction
from tart.manifest import NAME, write_manifest
from tart.models.packaged import cache_folder
from tart.seeded import seeded, text_hash
from tart.shards import KIND, SPLITS, Collection, Split, task_facts, write_examples

PAIRS, INSTRUCTIONS = "pairs.jsonl", "instructions.txt"
RANDOM = 4  # random negatives of an example
ONE_IN = 20  # queries, stands on the development side


class _Task(NamedTuple):
    wordings: tuple[str, ...]
    queries: dict[str, str]  # group -> text
    right: dict[str, dict[str, Document]]  # group -> doc_id -> document


def collection_at(folder: str | Path, *, verify: bool) -> Collection:
    """The collection in a folder; if it holds pairs, one that is made of them and kept in the cache folder.

    Args:
        folder: a collection, or pairs and instructions.
        verify: check every byte of the collection first.

    Raises:
        DataError: neither is there, or a line doesn't fit; naming file, line and field.
        StorageError: the disk is full.
    """
    folder = Path(folder)
    places = [folder] if (folder / PAIRS).is_file() else sorted(path.parent for path in folder.glob(f"*/{PAIRS}"))
    if (folder / NAME).is_file() or not places:
        return Collection(folder, verify=verify)
    tasks = {place.name: _read(place) for place in places}
    sources = {f"{place.name}/{name}": sha256_file(place / name) for place in places for name in (PAIRS, INSTRUCTIONS)}
    made = cache_folder() / "pairs" / f"{text_hash(*(part for one in sources.items() for part in one)):016x}"
    if not (made / NAME).is_file():
        with storage_errors(made):
            made.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(made.with_name(f".{made.name}.wait.lock")):
                if not (made / NAME).is_file():  # another process of the training may have made it
                    _write(made, tasks, sources)
    return Collection(made, verify=verify)


def _read(folder: Path) -> _Task:
    path = folder / INSTRUCTIONS
    if not path.is_file():
        raise DataError("is missing; say there what is wanted for these queries, in one way a line", path=path)
    wordings = tuple(dict.fromkeys(" ".join(line.split()) for _, line in read_lines(path) if line.strip()))
    if not wordings:
        raise DataError("holds no instruction", path=path)
    task = _Task(wordings, {}, {})
    for number, line in read_lines(path := folder / PAIRS):
        if not line.strip():
            continue
        row = parse_json_object(line, path, number)
        query, text = (_text(row, key, path, number) for key in ("query", "document"))
        title = _text(row, "title", path, number) if row.get("title") else ""
        group = f"{text_hash(' '.join(query.casefold().split())):016x}"
        document = Document(f"{text_hash(title, text):016x}", text, title)
        task.queries.setdefault(group, query)
        task.right.setdefault(group, {})[document.doc_id] = document
    if not task.right:
        raise DataError("holds no pair", path=path)
    return task


def _text(row: Mapping[str, Any], key: str, path: Path, number: int) -> str:
    if not isinstance(value := row.get(key), str) or not value.strip():
        raise DataError(f"wanted text that isn't blank, found {value!r}", path=path, line=number, field=key)
    return value


def _write(folder: Path, tasks: Mapping[str, _Task], sources: Mapping[str, str]) -> None:
    facts = {}
    with new_folder(folder) as staging:
        for name, task in tasks.items():
            others = [other for other_name, other in tasks.items() if other_name != name]
            counts = {
                split: write_examples(staging / split / f"{name}.parquet", _examples(name, task, others, split))
                for split in SPLITS
            }
            facts[name] = task_facts(name, counts, task.wordings, unit=name)
        manifest = {
            "config": {"pairs": sources},
            "examples": {split: sum(one["examples"][split] for one in facts.values()) for split in SPLITS},
            "removed": {"by_collection": {}, "by_source": {}},
            "tasks": facts,
        }
        write_manifest(staging, KIND, manifest)


def _examples(name: str, task: _Task, others: list[_Task], split: Split) -> Iterator[TrainingExample]:
    corpus = {doc_id: document for right in task.right.values() for doc_id, document in right.items()}
    for group, right in task.right.items():
        if (int(group, 16) % ONE_IN == 0) != (split == "dev"):
            continue
        random = seeded(0, "pairs", name, group)
        siblings = {key: one for other in others for key, one in other.right.get(group, {}).items() if key not in right}
        far = random.sample(sorted(corpus), min(len(corpus), RANDOM + len(right)))
        negatives = (
            *(Negative(one, NegativeKind.UNFOLLOWING, "sibling") for one in siblings.values()),
            *(
                Negative(corpus[key], NegativeKind.RANDOM, "random")
                for key in [key for key in far if key not in right and key not in siblings][:RANDOM]
            ),
        )
        wish = Instruction(random.choice(task.wordings), unit=name)
        query = Query(f"{name}:{group}", task.queries[group], wish)
        yield TrainingExample(query.query_id, name, query, tuple(right.values()), negatives, group)
