"""Shards: collections of training examples on disk, one Parquet file for each task and split.

    collection/
        manifest.json           counts, config, the tasks with their wordings and licenses, sha256 of each file
        README.md               the data card
        train/<task>.parquet    one row an example
        dev/<task>.parquet

The files load in `datasets.load_dataset("parquet", ...)` as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tart.collection import Document, Query
from tart.errors import ConfigError, DataError
from tart.example import Negative, NegativeKind, TrainingExample
from tart.files import atomic_write
from tart.instruction import Instruction
from tart.manifest import read_manifest, verify_parts

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "berri-collection/1"
ROWS_AT_ONCE = 512  # of a row group: what is in memory while reading or writing
Level = Literal["train", "held-out-task", "held-out-family"]
"""Of a task: trained on; a family of it is trained on; nothing like it is trained on."""
Split = Literal["train", "dev"]
SPLITS: tuple[Split, ...] = ("train", "dev")


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    document = [("doc_id", text), ("title", text), ("text", text)]
    negative = [*document, ("kind", text), ("origin", text), ("score", pa.float32())]
    return pa.schema(
        [
            *((name, text) for name in ("example_id", "task", "group", "query", "instruction")),
            *((name, text) for name in ("intent", "domain", "unit")),
            ("positives", pa.list_(pa.struct(document))),
            ("negatives", pa.list_(pa.struct(negative))),
        ]
    )


def write_examples(path: str | Path, examples: Iterable[TrainingExample]) -> int:
    """Write one shard; equal examples make equal bytes.

    Args:
        path: the Parquet file; it appears when it is whole.
        examples: streamed, `ROWS_AT_ONCE` of them in memory.

    Returns:
        How many were written.

    Raises:
        StorageError: if the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, waiting, schema = 0, list[dict[str, Any]](), _schema()
    with atomic_write(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for example in examples:
            waiting.append(to_row(example))
            count += 1
            if len(waiting) == ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                waiting.clear()
        if waiting:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
    return count


def read_examples(path: str | Path) -> Iterator[TrainingExample]:
    """Read one shard, a row group at a time.

    Raises:
        DataError: naming the file, and the row if one doesn't fit.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow != _schema():
                raise DataError("has other columns than a shard of training examples", path=path)
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group).to_pylist():
                    number += 1
                    yield of_row(row)
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"damaged ({' '.join(str(error).split())[:200]}); collect it again", path=path) from None
    except (DataError, ConfigError, ValueError, TypeError) as error:
        if isinstance(error, DataError) and error.path is not None:
            raise
        raise DataError(f"row doesn't fit: {error}", path=path, line=number) from None


def to_row(example: TrainingExample) -> dict[str, Any]:
    """An example as plain values, JSON-able: a row of a shard."""
    instruction = example.query.instruction
    return {
        "example_id": example.example_id,
        "task": example.task,
        "group": example.group,
        "query": example.query.text,
        "instruction": instruction.text if instruction else "",
        "intent": instruction.intent if instruction else "",
        "domain": instruction.domain if instruction else "",
        "unit": instruction.unit if instruction else "",
        "positives": [_document(document) for document in example.positives],
        "negatives": [
            {**_document(one.document), "kind": one.kind.value, "origin": one.origin, "score": one.score}
            for one in example.negatives
        ],
    }


def of_row(row: Mapping[str, Any]) -> TrainingExample:
    """The example of a row that `to_row` made."""
    wish = row["instruction"]
    instruction = Instruction(wish, row["intent"], row["domain"], row["unit"]) if wish else None
    return TrainingExample(
        example_id=row["example_id"],
        task=row["task"],
        query=Query(row["example_id"], row["query"], instruction),
        positives=tuple(Document(one["doc_id"], one["text"], one["title"]) for one in row["positives"]),
        negatives=tuple(
            Negative(
                Document(one["doc_id"], one["text"], one["title"]),
                NegativeKind(one["kind"]),
                one["origin"],
                one["score"],
            )
            for one in row["negatives"]
        ),
        group=row["group"],
    )


def _document(document: Document) -> dict[str, str]:
    return {"doc_id": document.doc_id, "title": document.title, "text": document.text}


class Collection:
    """A folder of shards.

    Args:
        folder: what `berri collect` wrote.
        verify: read every file and compare its checksum first.

    Raises:
        DataError: if the folder is no finished collection, or is damaged.
    """

    def __init__(self, folder: str | Path, *, verify: bool = False) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = read_manifest(self.folder, KIND)
        if verify:
            verify_parts(self.folder, self.manifest)

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """The facts of each task by its name: wordings, held-out ones, family, level, license, counts."""
        tasks: dict[str, dict[str, Any]] = self.manifest["tasks"]
        return tasks

    def examples(self, split: Split, task: str) -> Iterator[TrainingExample]:
        """The examples of one task, in their order; none if the split has no part of it.

        Raises:
            ConfigError: unknown split or task.
            DataError: a damaged file.
        """
        path = self.part(split, task)
        return iter(()) if path is None else read_examples(path)

    def part(self, split: Split, task: str) -> Path | None:
        """The file of a task's examples; None if the split has no part of it.

        Raises:
            ConfigError: unknown split or task.
        """
        if split not in SPLITS or task not in self.tasks:
            raise ConfigError(f"no split {split!r} of task {task!r}; there are {', '.join(self.tasks)}")
        name = f"{split}/{task}.parquet"
        return self.folder / name if name in self.manifest["parts"] else None


def task_facts(name: str, examples: Mapping[Split, int], wordings: Sequence[str], **known: Any) -> dict[str, Any]:
    """A task as the manifest has it, where no card tells: what is not known is empty.

    Args:
        name: of the task; also its source and title.
        examples: how many of each split.
        wordings: of its instruction.
        known: further facts.
    """
    unknown = ("intent", "domain", "unit", "family", "published", "revision", "citation", "note")
    return {
        **dict.fromkeys(unknown, ""),
        **{key: [] for key in ("held_out_wordings", "compatible", "opposite", "overlaps")},
        **{key: {} for key in ("counts", "left_out", "files", "source_counts")},
        "examples": dict(examples),
        "wordings": list(wordings),
        "query_is": "query",
        "document_is": "document",
        "query_field": "query",
        "level": "train",
        "source": name,
        "title": name,
        "license": "not stated",
        "license_class": "research",
        **known,
    }


def read_table(collection: Collection, split: Split, task: str) -> pa.Table:
    """One shard as an Arrow table; an empty one if the split has no part of the task.

    Raises:
        ConfigError: unknown split or task.
        DataError: a damaged file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = collection.part(split, task)
    if path is None:
        return _schema().empty_table()
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"damaged ({' '.join(str(error).split())[:200]}); collect it again", path=path) from None
    if table.schema != _schema():
        raise DataError("has other columns than a shard of training examples", path=path)
    return table
