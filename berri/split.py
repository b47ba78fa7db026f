"""Splitting by query: no query, and nearly no near duplicate of one, stands on both sides, whatever its task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from berri.near import LEAST_WORDS, LIKENESS, bands_of, likeness, words_of
from tart.seeded import seeded

DEV_SHARE = 0.04
LARGEST = 0.005  # share of all queries in one cluster beyond which it goes to train: a template, not a topic


def split_queries(queries: Iterable[tuple[str, str]], seed: int, dev_share: float, counts: Counter[str]) -> set[str]:
    """Which queries go to the development side.

    Args:
        queries: (group, text) of every query of every task; the order changes nothing.
        seed: of the draw.
        dev_share: about this share of the clusters, between 0 and 1.
        counts: gets how many queries and clusters there were.

    Returns:
        The groups of the development side.
    """
    texts = dict(sorted(queries))
    clusters: dict[str, list[str]] = {}
    parents = _near(texts)
    for group in texts:
        clusters.setdefault(_root(parents, group), []).append(group)
    dev: set[str] = set()
    for members in clusters.values():
        counts["queries"] += len(members)
        counts["clusters of near-equal queries"] += 1
        if len(members) > max(LARGEST * len(texts), 2):
            counts["queries of large clusters, all in train"] += len(members)
        elif seeded(seed, "split", min(members)).random() < dev_share:
            dev.update(members)
    counts["queries in dev"] += len(dev)
    return dev


def _near(texts: Mapping[str, str]) -> dict[str, str]:
    """group -> another group of its cluster, towards the cluster's root.

    Of the queries that share a band only those next to each other are compared, so that a large band costs no square of
    its size: a few near duplicates stay in different clusters.
    """
    parents = {group: group for group in texts}
    groups = [group for group in texts if len(words_of(texts[group])) >= LEAST_WORDS]
    bands = bands_of(words_of(texts[group]) for group in groups)
    for column in bands.T:
        order = np.argsort(column, kind="stable")
        equal = column[order[1:]] == column[order[:-1]]
        for place in np.flatnonzero(equal).tolist():  # neighbours of one band, one after the other
            one, two = groups[order[place]], groups[order[place + 1]]
            low, high = sorted((_root(parents, one), _root(parents, two)))
            if low != high and likeness(words_of(texts[one]), words_of(texts[two])) >= LIKENESS:
                parents[high] = low
    return parents


def _root(parents: dict[str, str], group: str) -> str:
    while parents[group] != group:
        parents[group] = group = parents[parents[group]]
    return group
