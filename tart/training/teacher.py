"""Scores of a cross-encoder for a collection's examples: what a bi-encoder can be taught by.

teacher/
    manifest.json        which collection, which reranker, sha256 of each file
    <task>.parquet       example_id, and a score for each of its documents: positives, then negatives, in their order
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tart.collection import Document
from tart.errors import DataError
from tart.files import atomic_write, new_folder
from tart.manifest import read_manifest, verify_parts, write_manifest
from tart.progress import Advance, silent
from tart.retrieval.protocols import FloatArray, Reranker
from tart.seeded import text_hash
from tart.shards import Collection, read_examples
from tart.training.batch import Mask
from tart.training.examples import Drawn

KIND = "tart-teacher/1"
_AT_ONCE = 256  # examples


def write_teacher_scores(
    folder: str | Path,
    reranker: Reranker,
    collection: Collection,
    *,
    tasks: Sequence[str] = (),
    overwrite: bool = False,
    advance: Advance = silent,
) -> TeacherScores:
    """Score every document of every training example, each under the instruction that the example holds.

    A killed run goes on where it was: each task's scores are kept beside the folder until all are there.

    Args:
        folder: to make.
        reranker: the teacher.
        collection: whose training examples are scored.
        tasks: names; all if empty.
        overwrite: take the place of an existing folder.
        advance: told how many examples are done.

    Raises:
        StorageError: the folder exists, or the disk is full.
    """
    import shutil

    folder = Path(folder)
    made_from = text_hash(collection.manifest["sha256"], reranker.name, getattr(reranker, "model_hash", ""))
    parts = folder.with_name(f".{folder.name}.{made_from:016x}.parts")
    names = list(tasks) or list(collection.tasks)
    for task in names:
        path = collection.part("train", task)
        if path is not None and not (parts / f"{task}.parquet").is_file():
            _score_task(parts / f"{task}.parquet", reranker, path, advance)
    with new_folder(folder, overwrite=overwrite, kind=KIND) as staging:
        for task in names:
            if collection.part("train", task) is not None:
                shutil.copyfile(parts / f"{task}.parquet", staging / f"{task}.parquet")
        facts = {"collection": collection.manifest["sha256"], "reranker": reranker.name}
        write_manifest(staging, KIND, facts)
    shutil.rmtree(parts, ignore_errors=True)
    return TeacherScores(folder, collection)


def _score_task(output: Path, reranker: Reranker, shard: Path, advance: Advance) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    examples = list(read_examples(shard))
    for start in range(0, len(examples), _AT_ONCE):
        some = examples[start : start + _AT_ONCE]
        documents = [[*one.positives, *(negative.document for negative in one.negatives)] for one in some]
        pairs = [(one.query, each) for one, listed in zip(some, documents, strict=True) for each in listed]
        scores = reranker.score(pairs)
        bounds = np.cumsum([len(listed) for listed in documents])[:-1]
        for one, values in zip(some, np.split(scores, bounds), strict=True):
            rows.append({"example_id": one.example_id, "scores": values.tolist()})
        advance(len(some))
    schema = pa.schema([("example_id", pa.string()), ("scores", pa.list_(pa.float32()))])
    with atomic_write(output) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema), file, compression="zstd")


def scores_checksum(folder: str | Path) -> str:
    """What changes with any of the scores in a folder that `write_teacher_scores` wrote.

    Raises:
        DataError: not there, or damaged.
    """
    checksum: str = read_manifest(Path(folder), KIND)["sha256"]
    return checksum


def _log_odds(probabilities: FloatArray) -> FloatArray:
    """log(p / (1 - p)), at most some 14 on either side."""
    kept = np.clip(probabilities.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(kept / (1 - kept)), dtype=np.float32)


class TeacherScores:
    """What `write_teacher_scores` wrote, in memory: four bytes a document.

    Rerankers that end in a sigmoid or softmax give probabilities; if all scores are such, they become log-odds here,
    which are what distillation follows.

    Args:
        folder: of the scores.
        collection: that they have to be of.
        tasks: that have to be scored.

    Raises:
        DataError: not there, damaged, made from another collection, or without one of the tasks.
    """

    def __init__(self, folder: str | Path, collection: Collection, tasks: Iterable[str] = ()) -> None:
        import pyarrow.parquet as pq

        self.folder = Path(folder)
        manifest = read_manifest(self.folder, KIND)
        verify_parts(self.folder, manifest)
        if manifest["collection"] != collection.manifest["sha256"]:
            raise DataError(f"made from another collection than {collection.folder}; score it anew", path=folder)
        missing = [task for task in tasks if f"{task}.parquet" not in manifest["parts"]]
        if missing:
            raise DataError(f"no scores of the tasks {', '.join(missing[:5])}; score them too", path=folder)
        self.reranker: str = manifest["reranker"]
        self._scores: dict[str, FloatArray] = {}
        for name in manifest["parts"]:
            table = pq.read_table(self.folder / name)
            for example_id, values in zip(*(table.column(key) for key in ("example_id", "scores")), strict=True):
                self._scores[example_id.as_py()] = values.values.to_numpy(zero_copy_only=False)
        if all(((one >= 0) & (one <= 1)).all() for one in self._scores.values()):
            self._scores = {name: _log_odds(one) for name, one in self._scores.items()}

    def of(self, example_id: str) -> FloatArray:
        """The scores of an example's documents, or their log-odds, float32: positives, then negatives, in their order.

        Raises:
            DataError: the example was not scored.
        """
        if example_id not in self._scores:
            raise DataError(f"no scores of example {example_id!r}; score its task too", path=self.folder)
        return self._scores[example_id]

    def labels(self, drawn: Sequence[Drawn], documents: Sequence[Document]) -> tuple[FloatArray, Mask]:
        """The scores of each query's own documents, and where they stand: float32 and bool, shape (n, m).

        Of a query that is asked without its instruction the scores are those under it, of documents of its kind.

        Raises:
            DataError: an example was not scored.
        """
        column = {document.doc_id: number for number, document in enumerate(documents)}
        scores = np.zeros((len(drawn), len(documents)), dtype=np.float32)
        scored = np.zeros(scores.shape, dtype=np.bool_)
        for row, one in enumerate(drawn):
            given = dict(zip(one.listed, self.of(one.example_id), strict=True))
            columns = [column[document.doc_id] for document in one.documents]
            scores[row, columns] = [given[document.doc_id] for document in one.documents]
            scored[row, columns] = True
        return scores, scored
