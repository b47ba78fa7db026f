"""Converting a collection to the layouts that other training and evaluation tools read. `convert_from` leads back."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tart.collection import Document
from tart.errors import ConfigError, DataError
from tart.example import TrainingExample
from tart.files import new_folder
from tart.shards import SPLITS, Collection, Split
from tart.text_format import TextFormat

logger = logging.getLogger(__name__)

Rows = Iterator[dict[str, Any]]


def _triplets(example: TrainingExample, form: TextFormat) -> Rows:
    """sentence-transformers: one row for each positive and negative; the anchor holds the instruction."""
    for positive in example.positives:
        for negative in example.negatives:
            yield {
                "anchor": form.query_text(example.query),
                "positive": form.document_text(positive),
                "negative": form.document_text(negative.document),
            }


def _flag_embedding(example: TrainingExample, form: TextFormat) -> Rows:
    """FlagEmbedding: the instruction as `prompt`, which it puts before the query."""
    yield {
        "query": example.query.text,
        "pos": [form.document_text(one) for one in example.positives],
        "neg": [form.document_text(one.document) for one in example.negatives],
        "prompt": example.query.instruction.text if example.query.instruction else "",
    }


def _tevatron(example: TrainingExample, form: TextFormat) -> Rows:
    """Tevatron: passages with id, title and text; the query holds the instruction."""
    yield {
        "query_id": example.example_id,
        "query": form.query_text(example.query),
        "positive_passages": [_passage(one) for one in example.positives],
        "negative_passages": [_passage(one.document) for one in example.negatives],
    }


def _passage(document: Document) -> dict[str, str]:
    return {"docid": document.doc_id, "title": document.title, "text": document.text}


JSON_LINES: dict[str, Callable[[TrainingExample, TextFormat], Rows]] = {
    "triplets": _triplets,
    "flagembedding": _flag_embedding,
    "tevatron": _tevatron,
}
FORMATS = (*JSON_LINES, "beir")


def convert(
    collection: Collection, output: str | Path, layout: str, text_format: TextFormat, *, overwrite: bool = False
) -> None:
    """Write a collection in another layout.

    Args:
        collection: what `collect` made.
        output: the folder to make: `train.jsonl` and `dev.jsonl`, or for BEIR one folder for each task, whose qrels are
            called `train.tsv` and `dev.tsv` (negatives have the grade 0) and whose queries carry their instruction as
            metadata.
        layout: "triplets" (sentence-transformers), "flagembedding", "tevatron" or "beir".
        text_format: how instruction and query, title and text are joined where the layout has one text for both.
        overwrite: take the place of an existing folder.

    Raises:
        ConfigError: unknown layout.
        DataError: the layout is of triplets, and no example has a negative.
        StorageError: the folder exists, or the disk is full.
    """
    if layout not in FORMATS:
        near = difflib.get_close_matches(layout, FORMATS, n=1) or FORMATS
        raise ConfigError(f"unknown layout {layout!r}; did you mean {', '.join(near)}?")
    marker = "train.jsonl" if layout in JSON_LINES else "tasks.json"
    with new_folder(output, overwrite=overwrite, marker=marker) as folder:
        if layout in JSON_LINES:
            count = left_out = 0
            for split in SPLITS:
                with (folder / f"{split}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
                    for example in _examples(collection, split):
                        rows = [json.dumps(row) + "\n" for row in JSON_LINES[layout](example, text_format)]
                        file.writelines(rows)
                        count, left_out = count + 1, left_out + (not rows)
            if left_out:
                problem = "have no negative, so they make no triplet"
                if left_out == count:
                    raise DataError(f"its {count:,} examples {problem}; choose another layout", path=collection.folder)
                logger.warning("%s of %s examples %s and are left out", f"{left_out:,}", f"{count:,}", problem)
        else:
            for task in collection.tasks:
                _write_beir(folder / task, collection, task)
            (folder / marker).write_text(json.dumps(list(collection.tasks), indent=2) + "\n")


def _examples(collection: Collection, split: Split) -> Iterator[TrainingExample]:
    for task in collection.tasks:
        yield from collection.examples(split, task)


def _write_beir(folder: Path, collection: Collection, task: str) -> None:
    """One task as a test collection; its corpus holds every document of its examples, wrong ones too."""
    (folder / "qrels").mkdir(parents=True)
    seen: set[str] = set()
    with (
        (folder / "corpus.jsonl").open("w", encoding="utf-8", newline="\n") as corpus,
        (folder / "queries.jsonl").open("w", encoding="utf-8", newline="\n") as queries,
    ):
        for split in SPLITS:
            with (folder / "qrels" / f"{split}.tsv").open("w", encoding="utf-8", newline="\n") as qrels:
                qrels.write("query-id\tcorpus-id\tscore\n")
                for example in collection.examples(split, task):
                    wish = example.query.instruction.text if example.query.instruction else ""
                    row = {"_id": example.example_id, "text": example.query.text, "metadata": {"instruction": wish}}
                    queries.write(json.dumps(row) + "\n")
                    wrong = [negative.document for negative in example.negatives]
                    qrels.writelines(f"{example.example_id}\t{one.doc_id}\t1\n" for one in example.positives)
                    qrels.writelines(f"{example.example_id}\t{one.doc_id}\t0\n" for one in wrong)
                    for one in (*example.positives, *wrong):
                        if one.doc_id not in seen:
                            seen.add(one.doc_id)
                            corpus.write(json.dumps({"_id": one.doc_id, "title": one.title, "text": one.text}) + "\n")
