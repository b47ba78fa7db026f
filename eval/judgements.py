"""What judgements name and the data lack: told once, and measured as trec_eval measures it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from tart.collection import Corpus, Qrels, Query

logger = logging.getLogger(__name__)

_SHOWN = 5


def tell_oddities(name: str, qrels: Qrels, corpus: Corpus, queries: Iterable[Query]) -> None:
    """Warn, in one message, of judgements that name what isn't there, and of negative grades.

    Nothing is changed: a relevant document that the corpus lacks still counts in the ideal ranking, and a negative
    grade means not relevant, as for trec_eval.

    Args:
        name: of the task, for the message.
        qrels: the judgements.
        corpus: what can be retrieved.
        queries: what is asked.
    """
    known = {query.query_id for query in queries}
    told = []
    for what, ids in (
        ("queries", [query_id for query_id in qrels if query_id not in known]),
        ("documents", list(dict.fromkeys(i for judged in qrels.values() for i in judged if i not in corpus))),
    ):
        if ids:
            shown = ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
            told.append(f"name {len(ids):,} {what} that aren't there ({shown})")
    negative = sum(grade < 0 for judged in qrels.values() for grade in judged.values())
    if negative:
        told.append(f"hold {negative:,} negative grades, which count as not relevant")
    if told:
        logger.warning("%s: the judgements %s", name, "; they ".join(told))
