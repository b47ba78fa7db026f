"""Approximate search with faiss: an index after a factory string finds candidates, the stored vectors decide.

Its file is verified against the manifest's checksum before faiss reads it. What a search wants of it goes along with
the call, never into the index, so that any number of threads may search at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tart.errors import ConfigError, DataError
from tart.files import atomic_write, sha256_file
from tart.index.dense import DenseIndex, cut
from tart.index.rounded import load_faiss
from tart.progress import Advance, silent
from tart.retrieval.protocols import FloatArray, Scored

EXAMPLES = "'IVF1024,SQ8', 'IVF1024,PQ48x4fs', 'HNSW32', 'HNSW32_SQ8'"
CHUNK = 1 << 16  # rows added at once
TRAINING_ROWS = 1 << 16  # at least, if there are so many
ROWS_PER_LIST = 64  # that the lists' centres are learned from
FACT = "approximate"  # where the manifest keeps a setting


@dataclass(frozen=True, slots=True)
class Setting:
    """How an index is searched approximately.

    Args:
        factory: faiss's name for the index, such as "IVF1024,SQ8".
        oversample: candidates fetched, and scored again exactly, for each result that is wanted.
        nprobe: of an IVF index: how many of its lists are looked through.
        ef_search: of an HNSW index: how many candidates its walk keeps.
    """

    factory: str
    oversample: int = 1
    nprobe: int | None = None
    ef_search: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "factory" and value is not None and not (isinstance(value, int) and value >= 1):
                raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")

    @property
    def effort(self) -> str:
        """How far a search looks, in words."""
        told = {"nprobe": self.nprobe, "efSearch": self.ef_search, "oversample": self.oversample}
        return ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)

    def parameters(self, index: Any) -> Any:
        """The same as faiss's search parameters for an index, None if its kind has none."""
        faiss = load_faiss()

        inner = inner_index(index)
        given = None
        if isinstance(inner, faiss.IndexIVF) and self.nprobe is not None:
            given = faiss.SearchParametersIVF(nprobe=self.nprobe)
        elif isinstance(inner, faiss.IndexHNSW) and self.ef_search is not None:
            given = faiss.SearchParametersHNSW(efSearch=self.ef_search)
        if given is not None and isinstance(index, faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=given)
        return given


def _reason(error: BaseException) -> str:
    """What faiss says, without where in its source it says so."""
    return (str(error) or type(error).__name__).splitlines()[0].rpartition("Error: ")[2]


def inner_index(index: Any) -> Any:
    """An index without what transforms its vectors first."""
    faiss = load_faiss()

    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def new_index(factory: str, dim: int) -> Any:
    """An empty index.

    Raises:
        ConfigError: if faiss doesn't know the string, or what it makes doesn't search by inner product on its own.
    """
    faiss = load_faiss()

    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, AssertionError) as error:
        told = f"{factory!r} is no index for {dim} dimensions ({_reason(error)}); wanted such as {EXAMPLES}"
        raise ConfigError(told) from None
    inner = inner_index(index)
    if isinstance(inner, faiss.IndexFlat):
        raise ConfigError(f"{factory!r} is the exact search, which every index has; wanted such as {EXAMPLES}")
    if isinstance(inner, faiss.IndexRefine | faiss.IndexIDMap) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ConfigError(f"{factory!r}: leave out IDMap and refinement, both are done here; wanted such as {EXAMPLES}")
    return index


def build_approximate(vectors: FloatArray, factory: str, advance: Advance = silent) -> Any:
    """Train an index on a sample of the vectors and add all of them.

    Args:
        vectors: float32, shape (rows, dim); may be memory-mapped.
        factory: see `Setting`.
        advance: told of the rows that were added.

    Raises:
        ConfigError: see `new_index`; or if there are too few vectors for such an index.
    """
    faiss = load_faiss()

    rows, dim = vectors.shape
    index = new_index(factory, dim)
    inner = inner_index(index)
    if isinstance(inner, faiss.IndexIVF):
        inner.cp.min_points_per_centroid = 1  # it warns on stderr of fewer than 39; recall is measured, not foretold
    lists = inner.nlist if isinstance(inner, faiss.IndexIVF) else 0
    wanted = min(max(TRAINING_ROWS, ROWS_PER_LIST * lists), rows)
    sample = np.sort(np.random.default_rng(0).choice(rows, size=wanted, replace=False))
    try:
        index.train(np.ascontiguousarray(vectors[sample]))
    except RuntimeError as error:
        told = f"{factory!r} can't be learned from {rows:,} documents ({_reason(error)}); take a smaller one"
        raise ConfigError(told) from None
    for first in range(0, rows, CHUNK):
        part = np.ascontiguousarray(vectors[first : first + CHUNK])
        index.add(part)
        advance(len(part))
    return index


def write_approximate(index: Any, path: Path) -> None:
    """Write an index to a file, which appears when it is whole."""
    faiss = load_faiss()

    with atomic_write(path) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def size_in_memory(index: Any) -> int:
    """Bytes that an index takes, those of its file."""
    faiss = load_faiss()

    total = 0

    def count(block: bytes) -> None:
        nonlocal total
        total += len(block)

    faiss.write_index(index, faiss.PyCallbackIOWriter(count))
    return total


class ApproximateIndex:
    """Searches approximately; the same interface as `DenseIndex`.

    Args:
        index: faiss's, over the vectors of `exact`.
        setting: how it is searched.
        exact: scores the candidates again, and searches itself where too few were found.
    """

    def __init__(self, index: Any, setting: Setting, exact: DenseIndex) -> None:
        self.index, self.setting, self.exact = index, setting, exact

    @classmethod
    def open(cls, folder: Path, manifest: Mapping[str, Any], exact: DenseIndex) -> ApproximateIndex | None:
        """Read the approximate index of a folder, None if it has none.

        Raises:
            DataError: if the file isn't the one that the manifest tells of, or doesn't fit the vectors.
        """
        faiss = load_faiss()

        facts = manifest.get(FACT)
        if facts is None:
            return None
        path = folder / facts["file"]
        if sha256_file(path) != manifest["parts"][facts["file"]]["sha256"]:
            raise DataError("damaged: its sha256 is not the manifest's; run `tart tune` again", path=path)
        try:
            index = faiss.read_index(str(path))
        except (RuntimeError, MemoryError) as error:
            told = f"damaged: faiss can't read it ({_reason(error)}); run `tart tune` again"
            raise DataError(told, path=path) from None
        if (index.ntotal, index.d) != exact.vectors.shape or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise DataError("doesn't fit the vectors of this index; run `tart tune` again", path=path)
        try:
            return cls(index, Setting(**facts["setting"]), exact)
        except (TypeError, ConfigError) as error:
            told = f"doesn't know this setting ({error}); run `tart tune` again"
            raise DataError(told, path=folder / "manifest.json", field=FACT) from None

    def search(self, queries: FloatArray, k: int) -> list[Scored]:
        """About the best rows for each query; see `DenseIndex.search`. Scores are exact, ties at the end may be cut."""
        if not len(queries):
            return []
        queries = self.exact.prepared(queries)
        k = min(k, self.index.ntotal)
        count = min(k * self.setting.oversample, self.index.ntotal)
        _, rows = self.index.search(queries, count, params=self.setting.parameters(self.index))
        missing = (rows >= 0).sum(axis=1) < k  # faiss fills up with -1
        if missing.any():
            sure = iter(self.exact.search(queries[missing], k))
            pairs = zip(missing, queries, rows, strict=True)
            return [next(sure) if few else self._scored(query, found, k) for few, query, found in pairs]
        if (rows < 0).any():
            return [self._scored(query, found, k) for query, found in zip(queries, rows, strict=True)]
        return [cut(found, k) for found in self.exact.scored(queries, rows)]

    def _scored(self, query: FloatArray, rows: Any, k: int) -> Scored:
        return cut(self.exact.scored(query[None], rows[rows >= 0][None])[0], k)
