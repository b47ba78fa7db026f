"""check: do the cards hold, and do the sources give what the cards expect?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from berri.card import Source, TaskCard
from berri.clean import clean_records
from berri.draft import drafts_of
from berri.locate import locate
from berri.readers import find_reader
from berri.record import Record
from berri.stages import read_source
from tart.errors import DataError, DownloadError


class Checked(NamedTuple):
    """What came of one card.

    Args:
        task: its name.
        verdict: "ok", "off" (something is wrong), or "not here" (the files are missing).
        pairs: pairs of a query and a right document, after cleaning; None if they were not counted.
        remark: what is wrong or missing.
    """

    task: str
    verdict: str
    pairs: int | None
    remark: str


def check_cards(cards: Mapping[str, TaskCard], mirror: Path | None, download: bool) -> Iterator[Checked]:
    """Check cards against their sources, one source after the other.

    Args:
        cards: as `load_cards` gives them, so what they hold by themselves is checked already.
        mirror: where the files lie; None, and nothing downloaded: only the readers are looked up.
        download: whether missing files are fetched.
    """
    sources: dict[str, list[TaskCard]] = {}
    for card in cards.values():
        sources.setdefault(card.source.name, []).append(card)
    for _, tasks in sorted(sources.items()):
        yield from _check_source(tasks[0].source, tasks, mirror, download)


def _check_source(source: Source, tasks: list[TaskCard], mirror: Path | None, download: bool) -> Iterator[Checked]:
    find_reader(source.reader)
    if mirror is None and not download:
        yield from (Checked(task.name, "ok", None, "") for task in tasks)
        return
    try:
        files = locate(source, mirror, download)
        records = list(clean_records(read_source(source, files), source.text_steps, Counter()))
    except DownloadError as error:
        yield from (Checked(task.name, "not here", None, str(error)) for task in tasks)
        return
    except DataError as error:
        yield from (Checked(task.name, "off", None, str(error)) for task in tasks)
        return
    known = {field for record in records for field in record.fields}
    for task in tasks:
        yield _check_task(task, tasks, records, known)


def _check_task(task: TaskCard, tasks: Iterable[TaskCard], records: list[Record], known: set[str]) -> Checked:
    wanted = [name for name in (task.query, task.document, task.title, task.negatives) if name]
    lacking = [name for name in wanted if name not in known]
    if lacking:
        return Checked(
            task.name, "off", None, f"no record has {', '.join(lacking)}; there are {', '.join(sorted(known))}"
        )
    others = [other for other in tasks if other.name != task.name]
    drafts = drafts_of(task, others, records, Counter())
    pairs = sum(len(draft.positives) + sum(one.task == task.name for one in draft.allowed) for draft in drafts)
    if pairs < task.expected:
        return Checked(task.name, "off", pairs, f"wanted at least {task.expected:,} pairs, found {pairs:,}")
    return Checked(task.name, "ok", pairs, "")
