"""The scores of a first stage for what a cross-encoder is trained on: each text encoded once, before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.models.load import load_encoder
from tart.models.packaged import cache_folder
from tart.retrieval.protocols import FloatArray
from tart.seeded import text_hash
from tart.text_vectors import TextVectors, encode_both
from tart.training.examples import Drawn
from tart.training.full_settings import FullRecipe

if TYPE_CHECKING:
    from tart.training.batches import Batches


class FirstStageScores:
    """A bi-encoder's scores of queries with their instructions.

    Args:
        queries: vectors by the hash of the query's text and its instruction.
        documents: by that of title and text.
    """

    def __init__(self, queries: TextVectors, documents: TextVectors) -> None:
        self._queries, self._documents = queries, documents

    def of(self, drawn: Sequence[Drawn], documents: Sequence[Document]) -> FloatArray:
        """Cosines, shape (len(drawn), len(documents))."""
        asked = self._queries.of(_key(one.query) for one in drawn)
        scores: FloatArray = asked @ self._documents.of(text_hash(one.title, one.text) for one in documents).T
        return scores


def first_stage_scores(recipe: FullRecipe, batches: Batches, collection: str) -> FirstStageScores:
    """Encode every text that the run will see; kept in the cache folder, so that a killed run goes on from there.

    Args:
        recipe: names the first stage.
        batches: of the run.
        collection: its checksum.

    Raises:
        ConfigError: the first stage compares by dot product: its scores have no scale that a weight could be for.
    """
    encoder = load_encoder(recipe.first_stage)
    if encoder.similarity != "cosine":
        raise ConfigError(f"first_stage: {recipe.first_stage} doesn't compare by cosine, which is wanted here")
    queries, documents = dict[int, Query](), dict[int, Document]()
    for step in range(recipe.loop.steps):
        for one in batches.drawn(step):
            queries.setdefault(_key(one.query), one.query)
            documents.update({text_hash(each.title, each.text): each for each in one.documents})
    folder = cache_folder() / "first-stage-vectors" / collection[:16]
    return FirstStageScores(*encode_both(folder, encoder, queries, documents, "Encoding with the first stage"))


def _key(query: Query) -> int:
    return text_hash(query.text, query.instruction.text if query.instruction else "")
