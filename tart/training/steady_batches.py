"""The batches of a recipe that makes a bi-encoder steady: texts, and the vectors that they should have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tart.collection import Document, Query
from tart.errors import DataError
from tart.instruction import Instruction
from tart.retrieval.protocols import FloatArray
from tart.seeded import seeded, text_hash
from tart.shards import Collection
from tart.text_format import TextFormat
from tart.text_vectors import TextVectors
from tart.toml import read_toml
from tart.training.batches import Batches, Tokens, shared
from tart.training.examples import Drawn, Examples
from tart.training.steady_settings import SteadyRecipe


class Row(NamedTuple):
    """A text, and what its vector is to be like.

    Args:
        text: what is encoded.
        like: whose vector from the base it should have: the query in a wording that the base knows, or a document
            itself.
        content: whose content it should have instead of that one's.
    """

    text: Query | Document
    like: Query | Document
    content: Query | None = None


class Targets:
    """The base's vectors of all queries and documents of a run.

    Args:
        queries: by the hash of the joined text, of length 1.
        documents: the same.
        text_format: of the base.
    """

    def __init__(self, queries: TextVectors, documents: TextVectors, text_format: TextFormat) -> None:
        self._queries, self._documents, self._format = queries, documents, text_format

    def of(self, rows: Sequence[Row]) -> FloatArray:
        """The vectors that rows should have, of length 1: float32, shape (n, dim)."""
        found = np.concatenate([self._side(row.like) for row in rows])
        content = self._format.plain_dims
        for number, row in enumerate(rows):
            if row.content is not None:
                plain = self._side(row.content)[0, :content]
                found[number, :content] = plain / np.linalg.norm(plain) * np.linalg.norm(found[number, :content])
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)

    def _side(self, one: Query | Document) -> FloatArray:
        vectors = self._queries if isinstance(one, Query) else self._documents
        return vectors.of([key_of(one, self._format)])


class SteadyBatches(Batches):
    """The batches: each query in a known wording, in a new one, or under another task's instruction; some documents.

    Args:
        examples: whose queries and documents.
        recipe: the recipe.
        wordings: task -> further wordings.
        text_format: of the base.
        tokenizer: of the model, from transformers.
        world: how many processes share a step.

    Attributes:
        targets: the vectors that texts should have; to be set before a batch is taken.
    """

    def __init__(
        self,
        examples: Examples,
        recipe: SteadyRecipe,
        wordings: Mapping[str, Sequence[str]],
        text_format: TextFormat,
        tokenizer: Any,
        world: int = 1,
    ) -> None:
        super().__init__(examples, recipe, world)
        self._steady, self._model, self._wordings, self._format = recipe.steady, recipe.model, wordings, text_format
        self._tokens, self._tasks = Tokens(tokenizer), examples.tasks
        self.targets: Targets | None = None

    def rows(self, step: int) -> list[Row]:
        """The texts of a step, all processes together."""
        drawn = self.drawn(step)
        documents = drawn[: round(self._steady.documents * len(drawn))]
        return [*map(self._query, drawn), *(Row(one.positive, one.positive) for one in documents)]

    def all_rows(self) -> Iterator[Row]:
        """Those of all steps."""
        for step in range(self._loop.steps):
            yield from self.rows(step)

    def _query(self, drawn: Drawn) -> Row:
        query, wish = drawn.query, drawn.query.instruction
        if wish is None:
            return Row(query, query)
        random = seeded(self._seed, "steady", drawn.example_id, wish.text)
        chance = random.random()
        if chance < self._steady.foreign:
            known, new = self._wishes(random.choice(self._tasks), random)
            return Row(query.instructed(new), query.instructed(known), query.plain())
        if chance < self._steady.foreign + self._steady.known:
            return Row(query, query)
        return Row(query.instructed(self._wishes(drawn.task, random)[1]), query)

    def _wishes(self, task: str, random: Any) -> tuple[Instruction, Instruction]:
        """A wording of a task that the base knows, and a new one, or another known one where there is none."""
        facts = self._examples.collection.tasks[task]
        known = facts["wordings"][: self._data.wordings or None]
        texts = (random.choice(known), random.choice(self._wordings.get(task) or known))
        old, new = (Instruction(text, facts["intent"], facts["domain"], facts["unit"]) for text in texts)
        return old, new

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Tokens `text_*` of one process's part, and `label`: their targets, and which want no kind."""
        step, part = divmod(number, self._world)
        limits = (self._model.query_tokens, self._model.document_tokens)
        rows = self.rows(step)
        tokens = [
            self._tokens.of([text_of(row.text, self._format)], limits[isinstance(row.text, Document)])[0]
            for row in rows
        ]
        order = shared(sorted(range(len(rows)), key=lambda row: len(tokens[row])), part, self._world)
        assert self.targets is not None
        rows = [rows[row] for row in order]
        return {
            **self._tokens.padded("text_", [tokens[row] for row in order]),
            "label": {
                "target": torch.from_numpy(self.targets.of(rows)),
                "plain": torch.tensor([isinstance(row.text, Query) and row.text.instruction is None for row in rows]),
                "step": step,
                "ids": [row.text.query_id if isinstance(row.text, Query) else row.text.doc_id for row in rows],
            },
        }


def text_of(one: Query | Document, text_format: TextFormat) -> str:
    """What a model reads of it."""
    return text_format.query_text(one) if isinstance(one, Query) else text_format.document_text(one)


def key_of(one: Query | Document, text_format: TextFormat) -> int:
    """By which its vector is found."""
    return text_hash(text_of(one, text_format))


def further_wordings(path: str | Path, collection: Collection, tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Further wordings of tasks, from a file.

    Args:
        path: TOML: a table for each task with lists of wordings, of any names, as `berri expand` writes them.
        collection: what is trained on.
        tasks: those that are trained; others are passed over.

    Raises:
        DataError: naming file and task: no lists of strings, a wording that is held out of training, or no wording at
            all for the tasks.
    """
    table, found = read_toml(path), dict[str, tuple[str, ...]]()
    held_out = {_plain(text) for facts in collection.tasks.values() for text in facts["held_out_wordings"]}
    for task in table.rest():
        lists = table.table(task)
        texts = tuple(text for name in lists.rest() for text in lists.texts(name))
        for text in texts:
            if _plain(text) in held_out:
                raise table.error(task, f"{text!r} is held out of training in the collection")
        if task in tasks and texts:
            found[task] = texts
    if not found:
        raise DataError(f"has no wordings for the tasks of {collection.folder}", path=path)
    return found


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
