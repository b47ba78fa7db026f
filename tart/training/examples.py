"""The training examples of a collection, at hand by task and row, and what one of them becomes in one epoch."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tart.collection import Document, Query
from tart.errors import ConfigError, DataError
from tart.example import Negative, NegativeKind, TrainingExample
from tart.instruction import Instruction
from tart.seeded import seeded
from tart.shards import Collection, Split, of_row, read_table
from tart.training.settings import DataSettings

if TYPE_CHECKING:
    import pyarrow as pa


OTHER_WISH = ("sibling", "query")  # origins of unfollowing negatives that are of another kind than what is wanted


class Place(NamedTuple):
    """Where an example is: its task and its row there."""

    task: str
    row: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """An example as one epoch sees it.

    Args:
        example_id: of the example.
        task: its task.
        group: of its query; siblings share it.
        query: with the wording drawn, or without instruction.
        positive: the one drawn.
        others: further right documents, by id: never negatives.
        right_kind: negatives of the kind that the instruction wants (hard and random ones).
        wrong_kind: unfollowing ones; none where the instruction was left out.
        other_wish: ids of those among them that are of another kind: right for the query under another instruction, or
            a copy of it.
        listed: ids of all documents of the example, drawn or not: positives, then negatives, in its order.
    """

    example_id: str
    task: str
    group: str
    query: Query
    positive: Document
    others: frozenset[str]
    right_kind: tuple[Document, ...]
    wrong_kind: tuple[Document, ...]
    listed: tuple[str, ...] = ()
    other_wish: tuple[str, ...] = ()

    @property
    def documents(self) -> tuple[Document, ...]:
        """All of its documents, the positive first."""
        return (self.positive, *self.right_kind, *self.wrong_kind)


class Examples:
    """The examples of some tasks of a collection, kept as Arrow tables: about as much memory as their text.

    Args:
        collection: a finished one.
        split: "train" or "dev".
        tasks: names; all if empty.
        levels: tasks of other levels are left out; all if empty.

    Raises:
        ConfigError: unknown task (near names are suggested).
        DataError: no example of all tasks, or of one that was named; an example without a positive; a damaged shard.
    """

    def __init__(
        self, collection: Collection, split: Split, *, tasks: Sequence[str] = (), levels: Sequence[str] = ()
    ) -> None:
        for name in tasks:
            if name not in collection.tasks:
                near = difflib.get_close_matches(name, collection.tasks, n=3) or list(collection.tasks)[:8]
                raise ConfigError(f"no task {name!r} in {collection.folder}; did you mean {', '.join(near)}?")
        chosen = tasks or [
            name for name, facts in collection.tasks.items() if not levels or facts.get("level", "train") in levels
        ]
        self.collection, self._split = collection, split
        tables = {name: read_table(collection, split, name) for name in chosen}
        self._tables: dict[str, pa.Table] = {name: table for name, table in tables.items() if len(table)}
        empty = [name for name in tasks if name not in self._tables]
        if empty:
            raise DataError(f"no {split} example of the tasks {', '.join(empty[:5])}", path=collection.folder)
        for name, table in self._tables.items():
            self._check_positives(name, table)
        if not self._tables:
            raise DataError(f"no {split} example of the tasks that are wanted", path=collection.folder)

    def _check_positives(self, task: str, table: pa.Table) -> None:
        import pyarrow.compute as pc

        bare = pc.index(pc.less(pc.fill_null(pc.list_value_length(table.column("positives")), 0), 1), True).as_py()
        if bare >= 0:
            problem, path = "an example without a positive", self.collection.part(self._split, task)
            raise DataError(problem, path=path, line=bare + 1, field="positives")

    @property
    def tasks(self) -> list[str]:
        """The tasks that have examples."""
        return list(self._tables)

    def groups(self) -> Iterator[tuple[Place, str]]:
        """Each example's place and group."""
        for name, table in self._tables.items():
            for row, group in enumerate(table.column("group").to_pylist()):
                yield Place(name, row), group

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def queries(self) -> Iterator[str]:
        """The query of each example."""
        for table in self._tables.values():
            yield from table.column("query").to_pylist()

    def documents(self) -> Iterator[tuple[str, str]]:
        """Title and text of each document of each example."""
        for table in self._tables.values():
            for side in ("positives", "negatives"):
                for chunk in table.column(side).chunks:
                    listed = chunk.flatten()
                    yield from zip(*(listed.field(name).to_pylist() for name in ("title", "text")), strict=True)

    def at(self, place: Place) -> TrainingExample:
        """The example at a place.

        Raises:
            DataError: it has no positive, or one among its negatives; naming file and row.
        """
        row: dict[str, Any] = self._tables[place.task].slice(place.row, 1).to_pylist()[0]
        try:
            return of_row(row)
        except DataError as error:
            path = self.collection.part(self._split, place.task)
            raise DataError(error.problem, path=path, line=place.row + 1, field=error.field) from None


def draw(example: TrainingExample, facts: Mapping[str, Any], settings: DataSettings, seed: int, epoch: int) -> Drawn:
    """What an example is in one epoch: one wording, one positive, some of its negatives; the same for the same epoch.

    Args:
        example: the example.
        facts: of its task, as the manifest has them.
        settings: how many negatives, which wordings, how often without instruction.
        seed: of the recipe.
        epoch: from 0.
    """
    random = seeded(seed, "draw", example.example_id, str(epoch))
    positive = random.choice(example.positives)
    plain = random.random() < settings.without_instruction
    wordings = facts["wordings"][: settings.wordings or None]
    wish = example.query.instruction
    if plain or not wordings:
        instruction = None if plain else wish
    else:
        text = random.choice(wordings)
        instruction = Instruction(text, facts["intent"], facts["domain"], facts["unit"])
    hard = _some(random, _of_kind(example, NegativeKind.HARD), settings.hard)
    drawn = _some(random, _of_kind(example, NegativeKind.RANDOM), settings.random)
    copies = random.random() < settings.copies
    unfollowing = [one for one in _of_kind(example, NegativeKind.UNFOLLOWING) if copies or one.origin != "query"]
    wrong = _some(random, unfollowing, settings.unfollowing)
    return Drawn(
        example.example_id,
        example.task,
        example.group,
        Query(example.example_id, example.query.text, instruction),
        positive,
        frozenset(one.doc_id for one in example.positives if one.doc_id != positive.doc_id),
        tuple(one.document for one in (*hard, *drawn)),
        () if instruction is None else tuple(one.document for one in wrong),
        tuple(one.doc_id for one in (*example.positives, *(negative.document for negative in example.negatives))),
        () if instruction is None else tuple(one.document.doc_id for one in wrong if one.origin in OTHER_WISH),
    )


def _of_kind(example: TrainingExample, kind: NegativeKind) -> list[Negative]:
    return [one for one in example.negatives if one.kind is kind]


def _some(random: Any, items: list[Negative], most: int) -> list[Negative]:
    return items if len(items) <= most else random.sample(items, most)
