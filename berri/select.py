"""select: the training examples nearest to somebody's own queries, as a collection of its own.

Source: data-efficient finetuning, arXiv 2212.00196: unlabeled target texts choose the multi-task examples to train on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from berri.data_card import data_card
from berri.write import REMOVED, SKIPPED
from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.example import TrainingExample
from tart.files import new_folder
from tart.index.dense import DenseIndex, normalised
from tart.manifest import write_manifest
from tart.progress import progress
from tart.retrieval.protocols import Encoder, FloatArray
from tart.shards import KIND, SPLITS, Collection, write_examples

_AT_ONCE = 2048  # texts encoded together
T = TypeVar("T")


def select(
    collection: Collection,
    queries: Sequence[Query],
    encoder: Encoder,
    output: str | Path,
    *,
    count: int,
    documents: Sequence[Document] = (),
    per_query: int = 100,
    overwrite: bool = False,
) -> Collection:
    """Write the examples whose queries are nearest to the target queries, or whose documents to the target documents.

    Each target query votes for its nearest training queries, each target document for the examples with the nearest
    right documents, the nearer the more; tasks take turns, so that the largest doesn't take everything.

    Args:
        collection: where from.
        queries: of the target, without judgements; instructions are left out of the comparison.
        encoder: says what is near.
        output: the folder to make.
        count: how many training examples are wanted; fewer if fewer were voted for.
        documents: of the target; none: the queries alone decide.
        per_query: how many neighbours a target query or document votes for.
        overwrite: take the place of an existing folder.

    Raises:
        ConfigError: neither queries nor documents, or a count below 1.
        StorageError: the folder exists, or the disk is full.
    """
    if not (queries or documents) or count < 1 or per_query < 1:
        raise ConfigError(f"wanted queries and counts of at least 1, got {len(queries)}, {count} and {per_query}")
    target = _Target(
        encoder.encode_queries([query.plain() for query in queries]) if queries else None,
        encoder.encode_documents(documents) if documents else None,
    )
    votes: dict[str, dict[str, float]] = {}
    with progress("Comparing", len(collection.tasks), "tasks") as advance:
        for task in collection.tasks:
            votes[task] = _votes(collection, task, encoder, target, per_query)
            advance()
    selected = {
        "queries": len(queries),
        "documents": len(documents),
        "count": count,
        "per_query": per_query,
        "model": encoder.name,
    }
    _write(collection, _take_turns(votes, count), selected, output, overwrite)
    return Collection(output)


def _write(
    collection: Collection,
    chosen: Mapping[str, set[str]],
    selected: Mapping[str, Any],
    output: str | Path,
    overwrite: bool,
) -> None:
    with new_folder(output, overwrite=overwrite, kind=KIND) as folder:
        tasks: dict[str, Any] = {}
        for name, facts in collection.tasks.items():
            if not chosen[name]:
                continue
            examples = {
                "train": write_examples(folder / "train" / f"{name}.parquet", _kept(collection, name, chosen[name])),
                "dev": write_examples(folder / "dev" / f"{name}.parquet", collection.examples("dev", name)),
            }
            tasks[name] = {**facts, "examples": examples}
        for name in (REMOVED, SKIPPED):
            if (collection.folder / name).is_file():
                shutil.copyfile(collection.folder / name, folder / name)
        totals = {split: sum(one["examples"][split] for one in tasks.values()) for split in SPLITS}
        facts = {key: value for key, value in collection.manifest.items() if key not in ("kind", "parts", "sha256")}
        facts |= {"tasks": tasks, "examples": totals, "selected": {**selected, "from": collection.manifest["sha256"]}}
        (folder / "README.md").write_text(data_card(Path(output).name, facts), encoding="utf-8")
        write_manifest(folder, KIND, facts)


class _Target(NamedTuple):
    """Vectors of the target's texts, shape (n, dim); None for a kind that isn't there."""

    queries: FloatArray | None
    documents: FloatArray | None


def _votes(collection: Collection, task: str, encoder: Encoder, target: _Target, per_query: int) -> dict[str, float]:
    """example id -> the sum of its similarities to the target texts that it is near to."""
    votes: dict[str, float] = {}
    examples = partial(collection.examples, "train", task)
    if target.queries is not None:
        texts = ((one.example_id, one.query.plain()) for one in examples())
        _add_votes(votes, texts, encoder.encode_queries, target.queries, per_query)
    if target.documents is not None:
        found = ((one.example_id, document) for one in examples() for document in one.positives)
        _add_votes(votes, found, encoder.encode_documents, target.documents, per_query)
    return votes


def _add_votes(
    votes: dict[str, float], texts: Iterator[tuple[str, T]], encode: Callable[[list[T]], FloatArray],
    target: FloatArray, per_query: int,
) -> None:  # fmt: skip
    names: list[str] = []
    parts: list[FloatArray] = []
    while waiting := list(islice(texts, _AT_ONCE)):
        names += [name for name, _ in waiting]
        parts.append(encode([text for _, text in waiting]))
    if not parts:
        return
    for found in DenseIndex(normalised(np.concatenate(parts)), "cosine").search(target, per_query):
        for row, score in zip(found.rows.tolist()[:per_query], found.scores.tolist(), strict=False):
            if score > 0:
                votes[names[row]] = votes.get(names[row], 0.0) + score


def _take_turns(votes: Mapping[str, Mapping[str, float]], count: int) -> dict[str, set[str]]:
    """The best example of each task, then the second of each, until there are enough."""
    ranked = {task: sorted(found, key=lambda name: (-found[name], name)) for task, found in votes.items()}
    chosen: dict[str, set[str]] = {task: set() for task in votes}
    for rank in range(max(map(len, ranked.values()), default=0)):
        turn = [task for task, names in ranked.items() if rank < len(names)]
        for task in sorted(turn, key=lambda task: -votes[task][ranked[task][rank]]):
            if sum(map(len, chosen.values())) == count:
                return chosen
            chosen[task].add(ranked[task][rank])
    return chosen


def _kept(collection: Collection, task: str, wanted: set[str]) -> Iterator[TrainingExample]:
    return (example for example in collection.examples("train", task) if example.example_id in wanted)
