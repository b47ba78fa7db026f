"""The stages of a collection: each makes rows on disk from those of the one before, for one source or one task."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from berri.against import test_texts
from berri.card import Source, TaskCard
from berri.clean import clean_records
from berri.corpus import Pool, corpus_of, elsewhere
from berri.decontaminate import Met, TestIndex, decontaminate
from berri.draft import Draft, drafts_of
from berri.files import SourceFiles
from berri.mine import Corpus, classes_of, mine
from berri.readers import find_reader
from berri.record import Record
from berri.steps import Step
from tart.errors import DataError, TartError
from tart.seeded import text_hash
from tart.text_vectors import TextVectors

FORMAT = 3  # raised when a change of the code changes what stages write: finished steps are then done again
MOST_NAMED = 100  # bad rows of a source that are named; all are counted


def count_tests(folder: Path, against: Sequence[Path], key: str) -> dict[str, int]:
    """Test collection -> how many texts of it are compared.

    Args:
        folder: keeps the counts.
        against: as `test_texts` takes it.
        key: their `against_key`.
    """
    step = Step(folder / "against.jsonl", [FORMAT, key])

    def rows(counts: Counter[str]) -> Iterator[dict[str, Any]]:
        found = Counter(one.collection for one in test_texts(against))
        yield from ({"collection": name, "texts": count} for name, count in sorted(found.items()))

    return {row["collection"]: row["texts"] for row in step.make(rows).rows()}


def read_source(source: Source, files: SourceFiles) -> Iterator[Record]:
    """The records of a source as its reader gives them.

    Raises:
        DataError: a file isn't what the reader expects.
    """
    rows = find_reader(source.reader)(files, **source.settings)
    count = 0
    try:
        for row in rows:
            yield Record.of_row(f"{source.name}:{count}", row)
            count += 1
    except TartError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # a reader trusts the form of what it reads
        problem = f"not as the reader {source.reader!r} of {source.name} expects it, after {count:,} records"
        raise DataError(f"{problem} ({error!r})", path=files.path(files.opened)) from error


def records_step(folder: Path, source: Source, against_key: str, on_error: str) -> Step:
    """The step of a source's records."""
    facts = asdict(source)
    used = {name: facts[name] for name in ("name", "files", "reader", "settings", "text_steps")}
    return Step(folder / "records" / f"{source.name}.jsonl", [FORMAT, used, against_key, on_error])


def make_records(
    step: Step,
    source: Source,
    files: Callable[[Callable[[DataError], None]], SourceFiles],
    index: TestIndex | None,
    skip: bool,
) -> None:
    """Read, clean and decontaminate one source. Rows are records first, then what was taken out.

    Args:
        step: where the rows go.
        source: the source.
        files: finds its files; gets what is to be done with a bad row.
        index: the test collections, if any.
        skip: count bad rows instead of stopping at the first.
    """

    def rows(counts: Counter[str]) -> Iterator[dict[str, Any]]:
        bad: list[str] = []

        def on_bad(error: DataError) -> None:
            if not skip:
                raise error
            counts["bad rows"] += 1
            if len(bad) < MOST_NAMED:
                place = Path(error.path or "").name  # the folder differs from machine to machine
                bad.append(str(DataError(error.problem, path=place, line=error.line, field=error.field)))

        met: list[Met] = []
        records = clean_records(read_source(source, files(on_bad)), source.text_steps, counts)
        if index is not None:
            records = decontaminate(records, index, met, counts)
        for record in records:
            counts["records"] += 1
            yield {"id": record.record_id, "fields": {name: list(texts) for name, texts in record.fields.items()}}
        for one in met:
            yield {"met": one._asdict()}
        for problem in bad:
            yield {"bad": problem}

    step.make(rows)


def records_of(step: Step) -> Iterator[Record]:
    """The records that a step holds."""
    for row in step.rows():
        if "id" in row:
            yield Record(row["id"], {name: tuple(texts) for name, texts in row["fields"].items()})


def make_drafts(folder: Path, card: TaskCard, cards: Iterable[TaskCard], records: Step) -> Step:
    """The drafts of one task."""
    others = [other for other in cards if other.source.name == card.source.name and other.name != card.name]
    roles = [(one.name, one.query, one.document, one.title, one.negatives) for one in (card, *others)]
    key = [FORMAT, records.digest, roles, card.compatible, card.opposite]
    step = Step(folder / "drafts" / f"{card.name}.jsonl", key)
    return step.make(lambda counts: (one.to_row() for one in drafts_of(card, others, records_of(records), counts)))


def drafts_in(step: Step) -> Iterator[Draft]:
    """The drafts that a step holds."""
    return (Draft.of_row(row) for row in step.rows())


def keep(folder: Path, drafts: Step, count: int, seed: int) -> Step:
    """Some drafts of a task, drawn by hash and in that order: more of them begin with the same ones."""
    name = drafts.path.stem
    step = Step(folder / "kept" / f"{name}.jsonl", [FORMAT, drafts.digest, count, seed])

    def rows(counts: Counter[str]) -> Iterator[dict[str, Any]]:
        order = sorted((text_hash(str(seed), name, row["group"]), place) for place, row in enumerate(drafts.rows()))
        counts["left out by the cap"] = len(order) - count
        wanted = {place: rank for rank, (_, place) in enumerate(order[:count])}
        chosen = sorted((wanted[place], row) for place, row in enumerate(drafts.rows()) if place in wanted)
        yield from (row for _, row in chosen)

    return step.make(rows)


def texts_to_encode(drafts: Iterable[Draft]) -> tuple[dict[int, str], dict[int, str]]:
    """The queries and the documents of drafts, by hash."""
    queries, documents = {}, {}
    for draft in drafts:
        queries[text_hash(draft.query)] = draft.query
        for one in draft.positives:
            documents[text_hash(one.title, one.text)] = f"{one.title} {one.text}".strip()
    return queries, documents


def make_candidates(
    folder: Path, card: TaskCard, cards: Mapping[str, TaskCard], kept: Step, pool_key: str, model_key: str
) -> Step:
    """The candidates for the negatives of one task."""
    others = elsewhere(card, cards)
    step = Step(folder / "mined" / f"{card.name}.jsonl", [FORMAT, kept.digest, pool_key, model_key, sorted(others)])

    def rows(counts: Counter[str]) -> Iterable[dict[str, Any]]:
        drafts = list(drafts_in(kept))
        corpus = corpus_of(drafts)
        vectors, asked = None, None
        if model_key:
            vectors = TextVectors.open(folder / "vectors" / "documents").of(int(doc_id, 16) for doc_id in corpus)
            asked = TextVectors.open(folder / "vectors" / "queries").of(text_hash(draft.query) for draft in drafts)
        return mine(drafts, Corpus(corpus, classes_of(drafts), vectors), asked, Pool(folder / "pool"), others)

    return step.make(rows)


def digest_of(steps: Sequence[Step]) -> str:
    """One hash over the rows of several steps."""
    return hashlib.sha256("".join(step.digest for step in steps).encode()).hexdigest()
