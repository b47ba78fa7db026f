"""From a JSONL file to a searchable index: documents a second, the share of the time outside the model, and memory.

    python benchmarks/build.py [--corpus FILE] [--documents 4000] [--rounds 3] [--full 1000000] [--json FILE]

The documents are a corpus.jsonl's, else paragraphs of Python's own standard library; there are as many as wanted,
because each round through them adds a number to their texts. Each build runs in a process of its own, turns
interleaved: ours, and the plain way (sentence-transformers with its defaults, `faiss.IndexFlatIP`, bm25s), which keeps
all in memory. Ours is also killed halfway and begun again. With --full, an index of that size is built with vectors
that cost nothing: that is how long all but the model takes there, and how much memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
from machine import write_json

from tart.collection import Document
from tart.demo.stdlib_corpus import stdlib_documents
from tart.index.readers import read_documents
from tart.models.load import load_encoder
from tart.retrieval.searcher import Searcher


class Timed:
    """An encoder that knows how long it took; all else it has from the real one."""

    def __init__(self, model: str, free: bool) -> None:
        self._encoder, self._free, self.cpu = load_encoder(model), free, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_documents(self, documents: Sequence[Document | str]) -> np.ndarray:
        started = time.process_time()
        if self._free:
            rows = np.random.default_rng(0).standard_normal((len(documents), self.dim), dtype=np.float32)
        else:
            rows = self._encoder.encode_documents(documents)
        self.cpu += time.process_time() - started
        return rows


def write_corpus(path: Path, source: Path | None, count: int) -> None:
    """As many documents as wanted."""
    found = list(stdlib_documents() if source is None else read_documents(source))
    found = [one for one in found if source is not None or not one.doc_id.startswith("code:")]
    with path.open("w", encoding="utf-8") as file:
        for row in range(count):
            turn, one = divmod(row, len(found))
            text = found[one].text + (f" ({turn})" if turn else "")
            file.write(json.dumps({"_id": f"d{row}", "title": found[one].title, "text": text}) + "\n")


def ours(corpus: Path, output: Path, model: str, free: bool) -> float:
    """Build; returns the seconds of the processor that the model took."""
    encoder: Any = Timed(model, free)
    Searcher.build(corpus, encoder, output)
    return float(encoder.cpu)


def plain(corpus: Path, output: Path, model: str) -> float:
    """What one writes by hand."""
    import bm25s
    import faiss
    import Stemmer
    from sentence_transformers import SentenceTransformer

    from tart.models.registry import locate

    encoder = SentenceTransformer(str(locate(model)[2] or model), device="cpu")
    rows = [json.loads(line) for line in corpus.open(encoding="utf-8")]
    texts = [f"{row['title']} {row['text']}" for row in rows]
    started = time.process_time()
    vectors = encoder.encode(texts, show_progress_bar=False)
    cpu = time.process_time() - started
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    words = bm25s.BM25()
    words.index(bm25s.tokenize(texts, stemmer=Stemmer.Stemmer("english"), show_progress=False), show_progress=False)
    output.mkdir()
    faiss.write_index(index, str(output / "vectors.faiss"))
    words.save(output / "bm25", show_progress=False)
    return cpu


def run_one(kind: str, corpus: Path, output: Path, model: str) -> None:
    """One build in this process; libraries and model are loaded within the time, as they are for who waits."""
    started = time.perf_counter()
    inside = plain(corpus, output, model) if kind == "plain" else ours(corpus, output, model, kind == "free")
    seconds, cpu = time.perf_counter() - started, time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 1e6
    print(json.dumps({"seconds": seconds, "cpu": cpu, "model": inside, "mebibytes": peak, "megabytes on disk": size}))


def child(kind: str, corpus: Path, output: Path, model: str, kill_after: float | None = None) -> dict[str, float]:
    """Run one build; if it is to be killed, nothing is returned."""
    command = [sys.executable, __file__, "--one", kind, str(corpus), str(output), "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            told, _ = process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            return {}
    outcome: dict[str, float] = json.loads(told.splitlines()[-1])
    return outcome


def report(found: dict[str, list[dict[str, float]]], counts: dict[str, int]) -> None:
    print("| | documents a second, median (range) | CPU time outside the model | peak memory, MiB | on disk, MB |")
    print("|---|---|---|---|---|")
    for name, measured in found.items():
        rates = sorted(counts[name] / one["seconds"] for one in measured)
        outside = statistics.median(1 - one["model"] / one["cpu"] for one in measured)
        memory, disk = (statistics.median(one[key] for one in measured) for key in ("mebibytes", "megabytes on disk"))
        spread = f"{statistics.median(rates):,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f})"
        print(f"| {name} | {spread} | {outside:.1%} | {memory:,.0f} | {disk:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", type=int, help="documents of the build whose vectors cost nothing")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # kind, corpus, folder: in the child process
    options = parser.parse_args()
    if options.one:
        return run_one(options.one[0], Path(options.one[1]), Path(options.one[2]), options.model)
    found: dict[str, list[dict[str, float]]] = {}
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus, index = folder / "corpus.jsonl", folder / "index"
        write_corpus(corpus, options.corpus, options.documents)

        def build(name: str, kind: str, count: int) -> dict[str, float]:
            outcome = child(kind, corpus, index, options.model)
            shutil.rmtree(index)
            found.setdefault(name, []).append(outcome)
            counts[name] = count
            return outcome

        for _ in range(options.rounds):
            build("tart", "tart", options.documents)
            build("sentence-transformers, faiss, bm25s", "plain", options.documents)
        taken = statistics.median(one["seconds"] for one in found["tart"])
        child("tart", corpus, index, options.model, kill_after=taken / 2)
        build("tart, after a kill halfway", "tart", options.documents)
        if options.full:
            write_corpus(corpus, options.corpus, options.full)
            name = f"tart, {options.full:,} documents, vectors that cost nothing"
            bare = build(name, "free", options.full)
    print(f"{options.documents:,} documents, {options.rounds} rounds, {len(os.sched_getaffinity(0))} cores")
    report(found, counts)
    if options.full:
        model = statistics.median(one["model"] for one in found["tart"]) / options.documents
        other = (bare["cpu"] - bare["model"]) / options.full
        print(
            f"at {options.full:,} documents: {1e6 * other:.0f} µs of the processor a document outside the model, "
            f"{1e6 * model:.0f} in it: {other / (other + model):.1%} outside"
        )
    if options.json:
        packages = ("bm25s", "faiss-cpu", "openvino", "sentence-transformers")
        write_json(options.json, packages, **vars(options), outcomes=found)


if __name__ == "__main__":
    main()
