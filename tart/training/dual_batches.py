"""The batches of a bi-encoder's training as a map-style dataset: item i is what one process encodes in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tart.collection import Document
from tart.seeded import text_hash
from tart.text_format import TextFormat
from tart.text_vectors import TextVectors
from tart.training.batch import Relations, compatible_tasks, distinct_documents, guarded, relations, units_of
from tart.training.batches import Batches, Tokens, shared
from tart.training.examples import Drawn, Examples
from tart.training.settings import DualRecipe
from tart.training.teacher import TeacherScores


class BaseVectors:
    """The base's vectors of all queries (without instruction) and documents of a collection.

    Args:
        queries: by the hash of the query's text.
        documents: by that of title and text.
    """

    def __init__(self, queries: TextVectors, documents: TextVectors) -> None:
        self._queries, self._documents = queries, documents

    def of(self, drawn: Sequence[Drawn], documents: Sequence[Document]) -> tuple[Any, Any]:
        """Those of a batch: shapes (n, dim) and (m, dim), of length 1."""
        asked = self._queries.of(text_hash(one.query.text) for one in drawn)
        return asked, self._documents.of(text_hash(one.title, one.text) for one in documents)


class DualBatches(Batches):
    """The batches of a bi-encoder.

    Args:
        examples: what to train on.
        recipe: the recipe.
        text_format: joins instruction and query.
        tokenizer: of the model, from transformers.
        world: how many processes share a step.

    Attributes:
        base: the base's vectors; to be set where a term of the loss needs them.
        teacher: the teacher's scores; the same.
    """

    def __init__(
        self,
        examples: Examples,
        recipe: DualRecipe,
        text_format: TextFormat,
        tokenizer: Any,
        world: int = 1,
    ) -> None:
        super().__init__(examples, recipe, world)
        self._format, self._model, self._guard = text_format, recipe.model, recipe.loss.guard
        self._tokens = Tokens(tokenizer)
        self.base: BaseVectors | None = None
        self.teacher: TeacherScores | None = None
        self._compatible, self._units = compatible_tasks(examples.collection), units_of(examples.collection)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Tokens `query_*` and `document_*` of one process's part, and `label`: what the loss needs of the batch."""
        step, part = divmod(number, self._world)
        drawn = self.drawn(step)
        queries = self._tokens.of([self._format.query_text(one.query) for one in drawn], self._model.query_tokens)
        order = sorted(range(len(drawn)), key=lambda row: len(queries[row]))
        drawn, queries = [drawn[row] for row in order], [queries[row] for row in order]
        documents = distinct_documents(drawn)
        texts = self._tokens.of([self._format.document_text(one) for one in documents], self._model.document_tokens)
        order = sorted(range(len(documents)), key=lambda row: len(texts[row]))
        documents, texts = [documents[row] for row in order], [texts[row] for row in order]
        found = relations(drawn, documents, self._compatible, self._units)
        return {
            **self._tokens.padded("query_", shared(queries, part, self._world)),
            **self._tokens.padded("document_", shared(texts, part, self._world)),
            "label": {
                **self._labels(found, drawn, documents),
                "world": self._world,
                "step": step,
                "ids": [one.example_id for one in drawn],
            },
        }

    def _labels(self, found: Relations, drawn: list[Drawn], documents: list[Document]) -> dict[str, Any]:
        candidate, more = found.candidate, dict[str, Any]()
        if self.base is not None:
            asked, answers = self.base.of(drawn, documents)
            more = {"base_queries": torch.from_numpy(asked), "base_documents": torch.from_numpy(answers)}
            if self._guard:
                candidate = guarded(found, np.asarray(asked @ answers.T), self._guard)
        if self.teacher is not None:
            scores, scored = self.teacher.labels(drawn, documents)
            more.update(teacher=torch.from_numpy(scores), scored=torch.from_numpy(scored))
        return {
            "positive": torch.from_numpy(found.positive),
            "instructed": torch.tensor([one.query.instruction is not None for one in drawn]),
            "candidate": torch.from_numpy(candidate),
            "right_kind": torch.from_numpy(found.right_kind),
            "wrong_kind": torch.from_numpy(found.wrong_kind),
            **more,
        }
