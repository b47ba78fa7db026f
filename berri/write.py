"""Writing a collection: shards, the list of what was taken out, the data card, and the manifest last."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from berri import stages
from berri.corpus import corpus_of
from berri.data_card import data_card
from berri.draft import Draft
from berri.mine import classes_of
from berri.negatives import example_of
from berri.steps import Step
from tart.example import TrainingExample
from tart.files import new_folder
from tart.manifest import write_manifest
from tart.shards import KIND, SPLITS, write_examples

if TYPE_CHECKING:
    from berri.pipeline import Made

REMOVED = "removed.jsonl"
SKIPPED = "skipped.jsonl"


def write_collection(
    output: Path,
    made: Sequence[Made],
    records: Mapping[str, Step],
    dev: set[str],
    facts: dict[str, Any],
    seed: int,
    *,
    overwrite: bool,
) -> None:
    """Write the folder of a collection.

    Args:
        output: the folder; it appears when it is whole.
        made: the tasks with their rows.
        records: source -> its records, also of sources of which nothing is left.
        dev: groups of the queries on the development side.
        facts: for the manifest.
        seed: of wordings and negatives.
        overwrite: take the place of an existing folder.

    Raises:
        StorageError: the folder exists, or the disk is full.
    """
    with new_folder(output, overwrite=overwrite, kind=KIND) as folder:
        tasks = {one.card.name: _write_task(folder, one, dev, seed) for one in made}
        removed = _write_removed(folder, records)
        _write_skipped(folder, records)
        versions = {name: version(name) for name in ("tart-retrieval", "pyarrow", "bm25s", "faiss-cpu")}
        totals: Counter[str] = Counter()
        for one in tasks.values():
            totals.update({split: one["examples"][split] for split in SPLITS})
        facts = {**facts, "examples": dict(totals), "removed": removed, "versions": versions, "tasks": tasks}
        (folder / "README.md").write_text(data_card(output.name, facts), encoding="utf-8")
        write_manifest(folder, KIND, facts)


def _write_task(folder: Path, made: Made, dev: set[str], seed: int) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    examples = {
        split: write_examples(
            folder / split / f"{made.card.name}.parquet", _examples(made, dev, split == "dev", seed, counts)
        )
        for split in SPLITS
    }
    card, source = made.card, made.card.source
    return {
        "examples": examples,
        "counts": dict(sorted(counts.items())),
        "left_out": {**made.drafts.facts["counts"], **made.kept.facts["counts"]},
        "wordings": [one.text for one in card.wordings if not one.held_out],
        "held_out_wordings": [one.text for one in card.wordings if one.held_out],
        "intent": card.intent,
        "domain": card.domain,
        "unit": card.unit,
        "query_is": card.query_is,
        "document_is": card.document_is,
        "query_field": card.query,
        "family": card.family,
        "level": card.level,
        "compatible": list(card.compatible),
        "opposite": list(card.opposite),
        "source": source.name,
        "title": source.title,
        "published": source.published,
        "revision": source.revision,
        "license": source.license,
        "license_class": source.license_class,
        "citation": source.citation,
        "overlaps": list(source.overlaps),
        "note": source.note,
        "files": {file.name: file.sha256 for file in source.files},
        "source_counts": made.records.facts["counts"],
    }


def _examples(made: Made, dev: set[str], wanted: bool, seed: int, counts: Counter[str]) -> Iterator[TrainingExample]:
    texts = corpus_of(stages.drafts_in(made.kept))
    classes = classes_of(stages.drafts_in(made.kept))
    corpus = [(text, classes[doc_id]) for doc_id, text in texts.items()]
    for row, mined in zip(made.kept.rows(), made.mined.rows(), strict=True):
        draft = Draft.of_row(row)
        if (draft.group in dev) != wanted:
            continue
        example = example_of(made.card, draft, mined, corpus, texts, seed)
        kinds = {negative.kind.value for negative in example.negatives}
        counts.update(f"with {kind}" for kind in kinds)
        counts.update(f"{negative.kind.value}: {negative.origin}" for negative in example.negatives)
        counts["positives"] += len(example.positives)
        counts["with hard and unfollowing"] += {"hard", "unfollowing"} <= kinds
        yield example


def _write_removed(folder: Path, records: Mapping[str, Step]) -> dict[str, Any]:
    """Name each record that met a test collection, and count them by collection and by source."""
    by_collection: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    with (folder / REMOVED).open("w", encoding="utf-8", newline="\n") as file:
        for source, step in records.items():
            for row in step.rows():
                if "met" in row:
                    file.write(json.dumps(row["met"]) + "\n")
                    by_collection[row["met"]["collection"]] += 1
                    by_source[source] += 1
    return {"by_collection": dict(sorted(by_collection.items())), "by_source": dict(sorted(by_source.items()))}


def _write_skipped(folder: Path, records: Mapping[str, Step]) -> None:
    """Name the bad rows that were passed over, by file, line and field; no file if there were none."""
    rows = [
        {"source": name, "problem": row["bad"]}
        for name, step in records.items()
        if step.facts["counts"].get("bad rows")
        for row in step.rows()
        if "bad" in row
    ]
    if rows:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / SKIPPED).write_text(text, encoding="utf-8", newline="\n")
