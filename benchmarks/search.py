"""Exact and approximate search over a million vectors, and one whole `search()` call.

    python benchmarks/search.py [--index demo_index] [--queries FILE] [--documents 100000] [--rounds 5]
        [--recall 0.95] [--ann FACTORY ...] [--folder DIR] [--json FILE]

The vectors: those of a real index (`--index`), and further ones between them, up to `--documents`. Each of these is a
mixture of a real vector and one of its 16 nearest neighbours, in random shares, with noise of 0.3 of the distance
between the two. The queries are real texts, encoded by the model of the index: a file's, or titles of documents.

Exact: a batch of 256 queries and single ones, turns interleaved, against `faiss.IndexFlatIP` as installed and with its
BLAS threshold mended; beside it how fast this machine reads memory, measured in the same minutes. Approximate: `tart
tune` on half of the queries, then the other half through `Searcher.search`, one by one, query encoding included, and
the same from eight threads. Hybrid: each query through the index of `--index`, dense, hybrid and sparse in turns, and
through bm25s alone as it is installed; and 300 of them at once, five times.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_json
from rich.console import Console

from tart.collection import Document, Query
from tart.files import usable_cores
from tart.index.build import build_index
from tart.index.dense import DenseIndex
from tart.index.documents import DocumentStore
from tart.index.readers import read_queries
from tart.manifest import read_manifest
from tart.retrieval.protocols import EncodedText, Encoder
from tart.retrieval.searcher import Searcher
from tart.retrieval.tuning import tune

K, BATCH, SINGLE, MANY = 10, 256, 20, 300


class Expanded:
    """An encoder that hands out real vectors, then mixtures of them; all else it has from the real one."""

    def __init__(self, encoder: Encoder, real: np.ndarray) -> None:
        self._encoder, self._real, self._given = encoder, np.asarray(real), 0
        self._generator = np.random.default_rng(0)
        _, self._near = _flat(self._real).search(self._real, 17)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_documents(self, documents: Sequence[Document | str]) -> np.ndarray:
        real, generator, count = self._real, self._generator, len(documents)
        first = real[self._given : self._given + count]
        self._given += count
        rows = generator.integers(len(real), size=count - len(first))
        one, other = real[rows], real[self._near[rows, generator.integers(1, 17, size=len(rows))]]
        mixed = one + generator.random((len(rows), 1), dtype=np.float32) * (other - one)
        noise = generator.standard_normal(mixed.shape, dtype=np.float32) / np.sqrt(mixed.shape[1], dtype=np.float32)
        mixed += 0.3 * np.linalg.norm(other - one, axis=1, keepdims=True) * noise
        return np.concatenate([first, mixed])

    def read_documents(self, documents: Sequence[Document | str]) -> list[EncodedText]:
        return [EncodedText("", 0, 0)] * len(documents)


def make_index(source: Path, documents: int, output: Path) -> Searcher:
    """An index of `documents` vectors; one that is there already is taken."""
    searcher = Searcher.open(source)
    if not output.exists():
        store = searcher.documents

        def texts() -> Iterator[Document]:
            for row in range(documents):
                yield Document(f"d{row}", store.at(row).text if row < len(store) else f"between {row % len(store)}")

        encoder: Any = Expanded(searcher.encoder, searcher.dense.index.vectors)
        build_index(texts(), encoder, output, show_progress=True)
    return Searcher(output, searcher.encoder)


def titles(index: Path, count: int) -> list[Query]:
    """Titles of documents, spread evenly, as queries."""
    documents = DocumentStore(index)
    found = dict.fromkeys(document.title for document in documents.in_order() if document.title)
    return [Query(f"q{row}", title) for row, title in enumerate([*found][:: max(len(found) // count, 1)])]


def _flat(vectors: np.ndarray) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def read_speed(matrix: np.ndarray) -> float:
    """Bytes a second that all cores together read of a matrix in memory."""
    words, cores = matrix.reshape(-1).view(np.int64), usable_cores()
    with ThreadPoolExecutor(cores) as threads:
        started = time.perf_counter()
        list(threads.map(np.bitwise_or.reduce, np.array_split(words, cores)))
        return float(matrix.nbytes / (time.perf_counter() - started))


def exact(folder: Path, queries: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Seconds, and CPU seconds, for a batch, and for a query of a batch of one, by contender; and the reading speed."""
    import faiss
    import torch  # noqa: F401 (as in a process that evaluates; without it a first batch of this size loads it)

    index = DenseIndex.open(folder, "cosine", read_manifest(folder, "tart-index/1")["rounding"])
    flat, installed = _flat(np.asarray(index.vectors)), faiss.cvar.distance_compute_blas_threshold
    outcome: dict[str, list[float]] = {}
    batch, rest = queries[:BATCH], np.tile(queries, (SINGLE * rounds // len(queries) + 1, 1))

    def seconds(name: str, work: Callable[[], object], divisor: int = 1) -> None:
        started, cpu = time.perf_counter(), time.process_time()
        work()
        outcome.setdefault(name, []).append((time.perf_counter() - started) / divisor)
        outcome.setdefault(f"CPU, {name}", []).append((time.process_time() - cpu) / divisor)

    def one_by_one(search: Callable[[np.ndarray, int], object], turn: int) -> Callable[[], object]:
        part = rest[turn * SINGLE : (turn + 1) * SINGLE]
        return lambda: [search(part[row : row + 1], K) for row in range(SINGLE)]

    index.search(batch[:64], K)
    for turn in range(rounds):
        seconds("batch, tart", lambda: index.search(batch, K))
        faiss.cvar.distance_compute_blas_threshold = 1
        seconds("batch, faiss with BLAS", lambda: flat.search(batch, K))
        faiss.cvar.distance_compute_blas_threshold = installed
        # Without BLAS the time grows with the queries one by one: an eighth of them is enough to know it.
        seconds("batch, faiss as installed", lambda: flat.search(batch[::8], K), 1 / 8)
        seconds("one, tart", one_by_one(index.search, turn), SINGLE)
        seconds("one, faiss as installed", one_by_one(flat.search, turn), SINGLE)
        outcome.setdefault("read", []).append(read_speed(np.asarray(index.rounded.bits)))  # type: ignore[union-attr]
    wanted, _ = flat.search(batch, K)  # by score, not by row: what ties with the last is as good; faiss rounds to 1e-6
    found = np.stack([one.scores[:K] for one in index.search(batch, K)])
    outcome["recall"] = [float((found >= wanted[:, -1:] - 1e-6).mean())]
    return outcome


def report_exact(outcome: dict[str, list[float]], rows: int, dim: int) -> None:
    print(f"\nexact, {rows:,} x {dim}, k {K}: recall@{K} against faiss {outcome['recall'][0]:.4f}")
    print("| | seconds, median (range) | CPU seconds | bytes read, of what this machine can |\n|---|---|---|---|")
    best = max(outcome["read"])
    for name, taken in outcome.items():
        if name in ("read", "recall") or name.startswith("CPU"):
            continue
        middle = float(np.median(taken))
        share = ""
        if name.startswith("one"):
            speed = rows * dim * (2 if "tart" in name else 4) / middle
            share = f"{speed / 1e9:.1f} of {best / 1e9:.1f} GB/s: {speed / best:.0%}"
        cpu = np.median(outcome[f"CPU, {name}"])
        print(f"| {name} | {middle:.4f} ({min(taken):.4f} to {max(taken):.4f}) | {cpu:.4f} | {share} |")


def whole_call(searcher: Searcher, queries: Sequence[Query]) -> dict[str, Any]:
    """Milliseconds of each `search()`, alone and from eight threads, and the recall against the exact search."""

    def call(query: Query, exact: bool = False) -> tuple[float, list[tuple[str, float]]]:
        started = time.perf_counter()
        result = searcher.search(query.text, query.instruction, K, exact=exact)
        return 1000 * (time.perf_counter() - started), [(hit.doc_id, hit.score) for hit in result]

    for query in queries[:20]:
        call(query)
    alone = [call(query) for _ in range(3) for query in queries]
    wanted = [call(query, exact=True) for query in queries]
    shares = [
        float(np.mean([score >= best[-1][1] for _, score in found]))  # by score: what ties with the last is as good
        for (_, found), (_, best) in zip(alone[: len(queries)], wanted, strict=True)
    ]
    with ThreadPoolExecutor(8) as threads:
        started = time.perf_counter()
        together = list(threads.map(call, queries))
        rate = len(queries) / (time.perf_counter() - started)
    same = [found for _, found in together] == [found for _, found in alone[: len(queries)]]
    encoding, cpu = [], []
    for query in queries:
        started = time.perf_counter()
        searcher.encoder.encode_queries([query])
        encoding.append(1000 * (time.perf_counter() - started))
        before = time.process_time()
        call(query)
        cpu.append(1000 * (time.process_time() - before))
    taken = {"tuned": alone, "exact": wanted, "eight threads": together}
    times = {name: [milliseconds for milliseconds, _ in calls] for name, calls in taken.items()}
    return {
        "recall": float(np.mean(shares)),
        "queries": len(queries),
        "same from eight threads": same,
        "queries a second from eight threads": rate,
        "milliseconds": {**times, "query encoding alone": encoding, "CPU time of a tuned call": cpu},
    }


def in_turns(index: Path, searcher: Searcher, queries: Sequence[Query]) -> dict[str, list[float]]:
    """Milliseconds of each search in every mode, query encoding included, and of bm25s on the same texts."""
    import bm25s
    import Stemmer

    stemmer, plain = Stemmer.Stemmer("english"), bm25s.BM25.load(index / "bm25", load_corpus=False)

    def peer(query: Query) -> None:
        words = bm25s.tokenize([query.text], stopwords="english", stemmer=stemmer, show_progress=False)
        plain.retrieve(words, k=K, show_progress=False)

    ways: dict[str, Callable[[Query], object]] = {
        mode: lambda query, mode=mode: searcher.search(query.text, query.instruction, K, mode=mode)  # type: ignore[misc]
        for mode in ("dense", "hybrid", "sparse")
    }
    ways["bm25s alone"] = peer
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number, query in enumerate([*queries[:20], *queries]):
        for name, way in ways.items():
            started = time.perf_counter()
            way(query)
            if number >= 20:
                taken[name].append(1000 * (time.perf_counter() - started))
    for _ in range(5):
        for mode in ("dense", "hybrid"):
            started = time.perf_counter()
            searcher.search_many(queries[:MANY], K, mode=mode)  # type: ignore[arg-type]
            taken.setdefault(f"{mode}, {MANY} at once", []).append(1000 * (time.perf_counter() - started))
    return taken


def report_turns(taken: dict[str, list[float]], rows: int) -> None:
    print(f"\n{rows:,} documents, {len(taken['dense'])} queries, in turns")
    print("| | p50, ms | p99, ms | p50 against dense |\n|---|---|---|---|")
    for name, one in taken.items():
        ratio = np.median(one) / np.median(taken[f"dense, {MANY} at once" if "at once" in name else "dense"])
        print(f"| {name} | {np.median(one):.1f} | {np.quantile(one, 0.99):.1f} | {ratio:.2f} |")


def report_calls(outcome: dict[str, Any], rows: int) -> None:
    print(f"\none `search()` call, query encoding included, {rows:,} documents, {outcome['queries']} other queries")
    print("| | p50, ms | p99, ms |\n|---|---|---|")
    for name, taken in outcome["milliseconds"].items():
        print(f"| {name} | {np.median(taken):.1f} | {np.quantile(taken, 0.99):.1f} |")
    print(
        f"recall@{K} {outcome['recall']:.3f}; from eight threads {outcome['queries a second from eight threads']:.0f} "
        f"queries a second, results {'the same' if outcome['same from eight threads'] else 'OTHERS'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--index", type=Path, default=Path("demo_index"), help="an index folder, whose vectors are real"
    )
    parser.add_argument("--queries", type=Path, help="JSONL with _id and text")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--ann", action="append", help="a factory string that is tried; repeatable")
    parser.add_argument("--only", choices=["exact", "approximate", "hybrid"])
    parser.add_argument("--folder", type=Path, help="keep the large index here, and use it again")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "index"
        searcher = make_index(options.index, options.documents, folder)
        queries = list(read_queries(options.queries)) if options.queries else titles(options.index, 400)
        rows, dim = searcher.dense.index.vectors.shape
        outcome: dict[str, Any] = {}
        if options.only in (None, "exact"):
            outcome["exact"] = exact(folder, searcher.encoder.encode_queries(queries), options.rounds)
            report_exact(outcome["exact"], rows, dim)
        if options.only in (None, "approximate"):
            tuned = tune(folder, queries[::2], recall=options.recall, factories=options.ann or (), show_progress=True)
            Console(width=110).print(tuned.table())
            outcome["trials"] = [{**trial._asdict(), "setting": trial.label} for trial in tuned.trials]
            outcome["whole call"] = whole_call(Searcher(folder, searcher.encoder), queries[1::2])
            report_calls(outcome["whole call"], rows)
        if options.only in (None, "hybrid"):
            small = Searcher.open(options.index)
            outcome["modes"] = in_turns(options.index, small, queries)
            report_turns(outcome["modes"], len(small.documents))
    if options.json:
        write_json(options.json, ("faiss-cpu", "numpy", "torch"), **vars(options), outcome=outcome)


if __name__ == "__main__":
    main()
