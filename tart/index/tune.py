"""Choosing how an index is searched: settings are tried, recall is measured against the exact search."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from tart.errors import ConfigError, StorageError
from tart.files import folder_lock, storage_errors
from tart.index.approximate import (
    FACT,
    ApproximateIndex,
    Setting,
    build_approximate,
    inner_index,
    new_index,
    size_in_memory,
    write_approximate,
)
from tart.index.dense import DenseIndex
from tart.index.rounded import load_faiss
from tart.manifest import read_manifest, replace_manifest
from tart.progress import Advance, silent
from tart.retrieval.protocols import FloatArray, Scored

EXACT = "exact"
OVERSAMPLES = (1, 4, 16)
GAIN = 0.002  # a doubled effort that gives less has come to what the codes allow
FEW_ROWS = 1000  # too few to learn centres and codes from
HNSW_ROWS = 200_000  # up to which a graph is built without being asked for: beyond, it takes many minutes
FILE = "approximate-{}.faiss"


class Trial(NamedTuple):
    """One setting, measured.

    Args:
        setting: what was tried; None is the exact search.
        recall: share of the exact search's k best that were found, mean over the queries.
        p50: milliseconds for one query, the median.
        p99: milliseconds that 99 of 100 queries stay below.
        mebibytes: of the index that is read for it.
        build_seconds: how long that index took to build.
    """

    setting: Setting | None
    recall: float
    p50: float
    p99: float
    mebibytes: float
    build_seconds: float

    @property
    def factory(self) -> str:
        """The factory string, or "exact"."""
        return EXACT if self.setting is None else self.setting.factory

    @property
    def label(self) -> str:
        """The setting in words."""
        return EXACT if self.setting is None else f"{self.factory} ({self.setting.effort})"

    def summary(self) -> str:
        """The setting and what was measured, in one line."""
        return f"{self.label}: recall {self.recall:.3f}, one query in {self.p50:.1f} ms (p99 {self.p99:.1f} ms)"


class Asked(NamedTuple):
    """What settings are measured with.

    Args:
        queries: float32, shape (n, dim).
        own: shape (n,): the row that each query is a copy of, which doesn't count as found; -1 if it is none.
        source: what they are, in words.
    """

    queries: FloatArray
    own: npt.NDArray[np.int64]
    source: str


def held_out(index: DenseIndex, count: int) -> Asked:
    """Some of the documents as queries, spread evenly."""
    rows = np.linspace(0, len(index.vectors) - 1, min(count, len(index.vectors))).astype(np.int64)
    return Asked(np.array(index.vectors[rows]), rows, f"{len(rows)} documents in place of queries")


def default_factories(rows: int, dim: int) -> list[str]:
    """The indexes that are tried for a corpus of some size."""
    if rows < FEW_ROWS:
        return ["HNSW32_SQ8"]
    lists = 2 ** round(math.log2(2 * math.sqrt(rows)))
    factories = [f"IVF{lists},SQ8"]
    if dim % 4 == 0:
        factories.append(f"IVF{lists},PQ{dim // 4}x4fs")
    return [*factories, "HNSW32_SQ8"] if rows <= HNSW_ROWS else factories


def choose(trials: Sequence[Trial], recall: float) -> Trial:
    """The fastest setting that reaches a recall; of equally fast ones the smallest.

    Raises:
        ConfigError: if none reaches it.
    """
    fit = [trial for trial in trials if trial.recall >= recall]
    if not fit:
        best = max(trials, key=lambda trial: trial.recall)
        raise ConfigError(f"no setting reaches a recall of {recall}; the best is {best.label} with {best.recall:.3f}")
    return min(fit, key=lambda trial: (trial.p50, trial.mebibytes))


def measure(
    search: DenseIndex | ApproximateIndex, asked: Asked, wanted: list[Scored], k: int
) -> tuple[float, float, float]:
    """Recall, and p50 and p99 of one query in milliseconds; the queries are searched one by one.

    Args:
        search: what is measured.
        asked: the queries.
        wanted: what the exact search finds for each, one document more than k.
        k: how many are wanted.
    """
    taken, shares = [], []
    for query, own, best in zip(asked.queries, asked.own, wanted, strict=True):
        started = time.perf_counter()
        (found,) = search.search(query[None], k + int(own >= 0))
        taken.append(1000 * (time.perf_counter() - started))
        true = best.scores[best.rows != own][:k]
        # A score is the same bits whoever finds the row: what ties with the last of the best is as good as it.
        shares.append((found.scores[found.rows != own][:k] >= true[-1]).sum() / len(true) if len(true) else 1.0)
    return float(np.mean(shares)), float(np.median(taken)), float(np.quantile(taken, 0.99))


def try_settings(
    index: DenseIndex, asked: Asked, factories: Sequence[str], k: int, recall: float, advance: Advance = silent
) -> Iterator[tuple[Trial, Any]]:
    """Measure the exact search, then settings of each index from cheap to dear; with each trial faiss's index.

    Within one index, what looks further is tried until the recall is well reached, or stays the same, or the exact
    search is as fast; more candidates are scored again only where fewer don't reach it.

    Raises:
        ConfigError: a factory string that is none.
    """
    for factory in factories:
        new_index(factory, index.vectors.shape[1])  # a wrong one shows before the slow part
    wanted = index.search(asked.queries, k + 1)
    size = (index.vectors.nbytes if index.rounded is None else index.rounded.bits.nbytes) / 2**20
    exact = Trial(None, *measure(index, asked, wanted, k), size, 0.0)
    yield exact, None
    for factory in factories:
        started = time.perf_counter()
        built = build_approximate(index.vectors, factory, advance)
        seconds, size = time.perf_counter() - started, size_in_memory(built) / 2**20
        best = 0.0
        for oversample in OVERSAMPLES:
            if best >= recall:
                break
            before = 0.0
            for setting in _efforts(built, factory, oversample):
                measured = measure(ApproximateIndex(built, setting, index), asked, wanted, k)
                trial = Trial(setting, *measured, size, seconds)
                yield trial, built
                best = max(best, trial.recall)
                if trial.recall >= (1 + recall) / 2 or trial.recall < before + GAIN or trial.p50 > exact.p50:
                    break
                before = trial.recall


def _efforts(index: Any, factory: str, oversample: int) -> Iterator[Setting]:
    faiss = load_faiss()

    inner = inner_index(index)
    if isinstance(inner, faiss.IndexIVF):
        for power in range(int(math.log2(inner.nlist)) + 1):
            yield Setting(factory, oversample, nprobe=2**power)
    elif isinstance(inner, faiss.IndexHNSW):
        for ef_search in (16, 32, 64, 128, 256, 512):
            yield Setting(factory, oversample, ef_search=ef_search)
    else:
        yield Setting(factory, oversample)


def save_setting(folder: Path, manifest: dict[str, Any], chosen: Trial, built: Any, facts: dict[str, Any]) -> None:
    """Make a setting the one that an index folder is searched with.

    The file of the new setting comes first, then the manifest, which is replaced in one step; then the old file goes.

    Args:
        folder: an index folder.
        manifest: its manifest, as it was when the setting was measured.
        chosen: the setting; the exact search takes an approximate one away.
        built: faiss's index, None for the exact search.
        facts: what the manifest shall tell of the measurement.

    Raises:
        StorageError: if somebody else is writing this folder, has changed it since, or the disk is full.
    """
    with storage_errors(folder), folder_lock(folder):
        if read_manifest(folder, manifest["kind"])["sha256"] != manifest["sha256"]:
            raise StorageError(f"{folder}: was changed while settings were measured; run `tart tune` again")
        old = sorted(folder.glob(FILE.format("*")))  # of the setting before, or of a `tune` that was killed
        rest = {key: value for key, value in manifest.items() if key != FACT}
        added = []
        if chosen.setting is not None:
            name = FILE.format(uuid4().hex[:12])
            write_approximate(built, folder / name)
            rest[FACT] = {"setting": asdict(chosen.setting), "file": name, **facts}
            added = [name]
        replace_manifest(folder, rest, added=added, removed=[path.name for path in old])
        for path in [*old, *folder.glob(f".{FILE.format('*')}.*.tmp")]:
            path.unlink(missing_ok=True)
