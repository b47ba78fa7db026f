"""collect: cards and files in, a collection of training examples out.

read -> clean -> decontaminate -> draft -> join families -> cap -> split by query -> mine -> denoise -> instruct ->
shards. Each stage's rows are kept in a work folder until the collection is whole: a run that was killed goes on where
it stopped.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from berri import stages
from berri.against import against_key, test_texts
from berri.beside import join_families
from berri.card import TaskCard, load_cards
from berri.corpus import build_pool, corpus_of, pool_rows
from berri.decontaminate import TestIndex
from berri.denoise import LOGITS, denoise, load_judge, score_candidates
from berri.locate import locate
from berri.settings import Settings
from berri.split import split_queries
from berri.steps import Step
from berri.write import write_collection
from tart.collection import Query
from tart.errors import DataError, DownloadError, StorageError
from tart.manifest import NAME, read_manifest
from tart.models.backend import Backend
from tart.models.load import load_encoder
from tart.progress import progress
from tart.retrieval.protocols import Reranker
from tart.shards import KIND, Collection
from tart.text_vectors import encode_texts

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Made(NamedTuple):
    """What the stages of one task gave, for writing: its drafts, candidates and the side of each query."""

    card: TaskCard
    kept: Step
    mined: Step
    records: Step
    drafts: Step


def collect(
    output: str | Path, settings: Settings, *, cards: Mapping[str, TaskCard] | None = None, overwrite: bool = False
) -> Collection:
    """Collect training examples.

    Args:
        output: the folder to make. A work folder of the same name with a dot before it keeps what is finished.
        settings: what is wanted.
        cards: the tasks to choose from; those that come with the project if None.
        overwrite: take the place of an existing collection.

    Raises:
        ConfigError: no task is wanted, or an unknown one; or the reranker's score is no probability.
        DataError: the files of a source are damaged or hold a bad row (with `on_error="skip"` the source is left out,
            or the row passed over), or nothing can be built.
        StorageError: the output exists and was made otherwise, or the disk is full.
    """
    output = Path(output).absolute()
    chosen = settings.choose(load_cards() if cards is None else cards)
    config = {**settings.config(), "cards": _cards_hash(chosen)}
    key = against_key(settings.against)
    if settings.against:
        config["against_sha256"] = key
    if (output / NAME).is_file() and not overwrite:
        manifest = read_manifest(output, KIND)
        if manifest["config"] == config:
            away = _away(manifest["not_built"], chosen)
            logger.info("%s is there already, made with the same settings%s", output, away)
            return Collection(output)
        raise StorageError(
            f"{output}: exists already, made with other settings or kept apart from other texts; choose another name, "
            "or --overwrite"
        )
    reranker = None if settings.reranker is None else load_judge(settings.reranker, settings.backend)
    work = output.with_name(f".{output.name}.work")
    work.mkdir(parents=True, exist_ok=True)
    compared = stages.count_tests(work, settings.against, key)
    records, missing = _records(work, chosen, settings, key)
    built = {name: card for name, card in chosen.items() if card.source.name in records}
    if not built:
        raise DataError("nothing can be built: " + "; ".join(f"{name}: {why}" for name, why in missing.items()))
    drafts = {
        name: stages.make_drafts(work, card, built.values(), records[card.source.name]) for name, card in built.items()
    }
    for name in [name for name, step in drafts.items() if not step.facts["rows"]]:
        missing[name] = "no record with its query and document is left"
        del drafts[name], built[name]
    if not built:
        raise DataError("nothing is left to collect: " + "; ".join(f"{name}: {why}" for name, why in missing.items()))
    kept = _keep(work, join_families(work, built, drafts), settings)
    dev, split_counts = _split(kept, settings)
    mined = _mine(work, built, kept, settings, reranker)
    made = [
        Made(built[name], kept[name], mined[name], records[built[name].source.name], drafts[name]) for name in built
    ]
    facts = {"config": config, "not_built": missing, "split": dict(split_counts), "mirror": settings.mirror is not None}
    if compared:
        facts["compared"] = compared
    write_collection(output, made, records, dev, facts, settings.seed, overwrite=overwrite)
    shutil.rmtree(work)
    return Collection(output)


def _cards_hash(cards: Mapping[str, TaskCard]) -> str:
    return hashlib.sha256("\n".join(repr(cards[name]) for name in sorted(cards)).encode()).hexdigest()


def _away(not_built: Mapping[str, str], cards: Mapping[str, TaskCard]) -> str:
    """The end of the message that a collection is there: which of its sources were missing."""
    sources = {card.source.name for card in cards.values()}
    names = [name for name in not_built if name in sources]
    if not names:
        return ""
    return f"; {len(names):,} sources could not be had then: {', '.join(names)}; --overwrite collects again"


def each(function: Callable[[str], T], names: list[str], workers: int, doing: str, unit: str) -> Iterator[T]:
    """A function's results for some names, in their order, by several processes if wanted."""
    with progress(doing, len(names), unit) as advance:
        if workers == 1:
            for name in names:
                yield function(name)
                advance(1)
            return
        with ProcessPoolExecutor(min(workers, max(len(names), 1)), mp_context=get_context("spawn")) as pool:
            for result in pool.map(function, names):
                yield result
                advance(1)


def _records(
    work: Path, cards: Mapping[str, TaskCard], settings: Settings, key: str
) -> tuple[dict[str, Step], dict[str, str]]:
    """Source -> its records; task or source -> why it can't be built."""
    sources = {card.source.name: card.source for card in cards.values()}
    overlapping = {
        name: f"shares texts with {', '.join(shared)}, as its card says"
        for name, source in sources.items()
        if (shared := [one for one in source.overlaps if one in settings.without])
    }
    sources = {name: source for name, source in sources.items() if name not in overlapping}
    steps = {name: stages.records_step(work, source, key, settings.on_error) for name, source in sources.items()}
    names = sorted(sources)
    work_on = partial(_records_of, steps, sources, settings, key)
    reasons = dict(zip(names, each(work_on, names, settings.workers, "Reading", "sources"), strict=True))
    missing = overlapping | {name: reason for name, reason in reasons.items() if reason}
    for name, reason in missing.items():
        logger.warning("%s is left out: %s", name, reason)
    return {name: step for name, step in steps.items() if name not in missing}, missing


_indexes: dict[str, TestIndex] = {}  # by `against_key`


def _records_of(steps: Mapping[str, Step], sources: Mapping[str, Any], settings: Settings, key: str, name: str) -> str:
    if steps[name].is_done:
        return ""
    if settings.against and key not in _indexes:  # once in each process
        _indexes[key] = TestIndex(test_texts(settings.against))
    find = partial(locate, sources[name], settings.mirror, settings.download)
    try:
        stages.make_records(steps[name], sources[name], find, _indexes.get(key), settings.on_error == "skip")
    except DownloadError as error:
        return str(error)
    except DataError as error:  # a whole file is damaged, or another one than the card means
        if settings.on_error == "stop":
            raise
        return str(error)
    return ""


def _split(kept: Mapping[str, Step], settings: Settings) -> tuple[set[str], Counter[str]]:
    counts: Counter[str] = Counter()
    queries = ((row["group"], row["query"]) for step in kept.values() for row in step.rows())
    return split_queries(queries, settings.seed, settings.dev_share, counts), counts


def _keep(work: Path, drafts: Mapping[str, Step], settings: Settings) -> dict[str, Step]:
    largest = max(step.facts["rows"] for step in drafts.values())
    return {
        name: stages.keep(work, step, settings.quota(step.facts["rows"], largest), settings.seed)
        for name, step in drafts.items()
    }


def _mine(
    work: Path,
    cards: Mapping[str, TaskCard],
    kept: Mapping[str, Step],
    settings: Settings,
    reranker: Reranker | None,
) -> dict[str, Step]:
    pool_key = stages.digest_of([kept[name] for name in sorted(kept)])
    build_pool(
        work / "pool", pool_rows({name: partial(stages.drafts_in, kept[name]) for name in sorted(kept)}), pool_key
    )
    model_key = "" if settings.model is None else _encode(work, kept, settings.model, settings.backend)
    work_on = partial(_mine_one, work, cards, kept, pool_key, model_key)
    names = sorted(kept)
    mined = dict(zip(names, each(work_on, names, settings.workers, "Mining", "tasks"), strict=True))
    if reranker is None:
        return mined
    scored = {name: _score(work, cards[name], kept[name], mined[name], reranker, settings) for name in names}
    logits = any(step.facts["counts"].get(LOGITS) for step in scored.values())  # of one reranker all are, or none
    return {name: _denoise(work, scored[name], logits) for name in names}


def _mine_one(
    work: Path, cards: Mapping[str, TaskCard], kept: Mapping[str, Step], pool_key: str, model_key: str, name: str
) -> Step:
    return stages.make_candidates(work, cards[name], cards, kept[name], pool_key, model_key)


def _encode(work: Path, kept: Mapping[str, Step], model: str, backend: Backend) -> str:
    """Encode every query and document once; gives what identifies the vectors."""
    queries, documents = stages.texts_to_encode(draft for step in kept.values() for draft in stages.drafts_in(step))
    encoder = load_encoder(model, backend=backend)
    key = f"{encoder.model_hash} {encoder.backend}"
    with progress("Encoding", len(queries) + len(documents), "texts") as advance:
        encode_texts(
            work / "vectors" / "queries",
            queries,
            lambda texts: encoder.encode_queries([Query(str(row), text) for row, text in enumerate(texts)]),
            key,
            advance,
        )
        encode_texts(work / "vectors" / "documents", documents, encoder.encode_documents, key, advance)
    return key


def _score(work: Path, card: TaskCard, kept: Step, mined: Step, reranker: Reranker, settings: Settings) -> Step:
    step = Step(work / "scored" / f"{card.name}.jsonl", [stages.FORMAT, mined.digest, settings.reranker, settings.seed])

    def rows(counts: Counter[str]) -> Iterator[dict[str, Any]]:
        texts = corpus_of(stages.drafts_in(kept))
        yield from score_candidates(card, stages.drafts_in(kept), mined.rows(), texts, reranker, settings.seed, counts)

    return step.make(rows)


def _denoise(work: Path, scored: Step, logits: bool) -> Step:
    step = Step(work / "judged" / scored.path.name, [stages.FORMAT, scored.digest, logits])
    return step.make(lambda counts: denoise(scored.rows(), logits, counts))
