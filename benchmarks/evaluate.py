"""Search and scoring of one test collection, vectors given: this project, beir and sentence-transformers side by side.

    python benchmarks/evaluate.py [--documents 70000] [--queries 3000] [--rounds 7] [--json FILE]

Every contender gets the same vectors from the same files, in a process of its own, and answers with nDCG@10 to the
depth of 100; turns are interleaved. Reported: the median of the seconds and of the memory above what the process held
with libraries, ids and vectors loaded. The vectors are made here: clusters on the unit sphere, with queries near
documents, because speed doesn't depend on where they come from.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import write_json

DIM, DEPTH = 384, 100
Qrels = dict[str, dict[str, int]]


def make_data(folder: Path, documents: int, queries: int) -> None:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((512, DIM), dtype=np.float32)
    vectors = centres[generator.integers(512, size=documents)] + generator.standard_normal((documents, DIM)) * 0.7
    wanted = generator.integers(documents, size=queries)
    asked = vectors[wanted] + generator.standard_normal((queries, DIM)) * 1.5
    for name, rows in (("documents", vectors), ("queries", asked)):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.save(folder / f"{name}.npy", rows.astype(np.float32))
    qrels = {f"q{row}": {f"d{int(found)}": 1} for row, found in enumerate(wanted)}
    (folder / "qrels.json").write_text(json.dumps(qrels))


def ours(documents: np.ndarray, queries: np.ndarray, qrels: Qrels) -> Callable[[], float]:
    import ir_measures  # noqa: F401 (libraries are loaded, as for the others, before time is taken)
    import pytrec_eval  # noqa: F401
    import torch  # noqa: F401

    from eval.measures import mean, per_query
    from tart.index.dense import DenseIndex
    from tart.run import Run

    names = np.array([f"d{row}" for row in range(len(documents))], dtype=object)
    index = DenseIndex(documents, "cosine")

    def evaluate() -> float:
        found = index.search(queries, DEPTH)
        ranked = ((f"q{row}", names[scored.rows].tolist(), scored.scores) for row, scored in enumerate(found))
        return mean(per_query(Run.of_arrays(ranked, DEPTH), qrels, ["nDCG@10", "R@100"])["nDCG@10"])

    return evaluate


def beir(documents: np.ndarray, queries: np.ndarray, qrels: Qrels) -> Callable[[], float]:
    import torch
    from beir.retrieval.evaluation import EvaluateRetrieval
    from beir.retrieval.search.dense import DenseRetrievalExactSearch

    class Given:
        """Hands out rows of the matrix; the text of a document is its row."""

        def encode_queries(self, texts: list[str], **_: object) -> torch.Tensor:
            return torch.from_numpy(queries)

        def encode_corpus(self, corpus: list[dict[str, str]], **_: object) -> torch.Tensor:
            return torch.from_numpy(documents[[int(document["text"]) for document in corpus]])

    corpus = {f"d{row}": {"title": "", "text": str(row)} for row in range(len(documents))}
    texts = {f"q{row}": str(row) for row in range(len(queries))}
    search = DenseRetrievalExactSearch(Given(), show_progress_bar=False)

    def evaluate() -> float:
        retriever = EvaluateRetrieval(search, k_values=[10, DEPTH], score_function="dot")
        ndcg, *_ = retriever.evaluate(qrels, retriever.retrieve(corpus, texts), retriever.k_values)
        return float(ndcg["NDCG@10"])

    return evaluate


def sentence_transformers(documents: np.ndarray, queries: np.ndarray, qrels: Qrels) -> Callable[[], float]:
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import dot_score

    class Given(InformationRetrievalEvaluator):
        def embed_inputs(self, model: object, inputs: list[str], encode_fn_name: str, **_: object) -> torch.Tensor:
            return torch.from_numpy((queries if encode_fn_name == "query" else documents)[[int(row) for row in inputs]])

    evaluator = Given(
        {f"q{row}": str(row) for row in range(len(queries))},
        {f"d{row}": str(row) for row in range(len(documents))},
        {query_id: set(found) for query_id, found in qrels.items()},
        mrr_at_k=[10],
        ndcg_at_k=[10],
        accuracy_at_k=[10],
        precision_recall_at_k=[10, DEPTH],
        map_at_k=[DEPTH],
        write_csv=False,
        score_functions={"dot": dot_score},
    )
    return lambda: float(evaluator.compute_all_metrics(None)["dot"]["ndcg@k"][10])


CONTENDERS = {"tart-eval": ours, "beir": beir, "sentence-transformers": sentence_transformers}


def _memory(field: str) -> int:
    """A memory figure of this process in KiB, as Linux gives it; VmRSS also resets the high-water mark."""
    if field == "VmRSS":
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def run_one(name: str, folder: Path) -> None:
    """Measure one contender in this process and print the outcome as JSON."""
    documents, queries = np.load(folder / "documents.npy"), np.load(folder / "queries.npy")
    evaluate = CONTENDERS[name](documents, queries, json.loads((folder / "qrels.json").read_text()))
    before = _memory("VmRSS")
    started = time.perf_counter()
    value = evaluate()
    seconds = time.perf_counter() - started
    grown = _memory("VmHWM") - before
    print(json.dumps({"seconds": seconds, "mebibytes": grown / 1024, "nDCG@10": value}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=70_000)
    parser.add_argument("--queries", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # contender and folder, in the child process
    options = parser.parse_args()
    if options.one:
        return run_one(options.one[0], Path(options.one[1]))
    outcomes: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), options.documents, options.queries)
        for _ in range(options.rounds):
            for name, measured in outcomes.items():
                command = [sys.executable, __file__, "--one", name, folder]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                measured.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{options.documents:,} documents, {options.queries:,} queries, depth {DEPTH}, {options.rounds} rounds")
    print("| | seconds, median (range) | memory above the start, MiB | nDCG@10 |\n|---|---|---|---|")
    for name, measured in outcomes.items():
        seconds = sorted(one["seconds"] for one in measured)
        memory = statistics.median(one["mebibytes"] for one in measured)
        spread = f"{statistics.median(seconds):.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})"
        print(f"| {name} | {spread} | {memory:,.0f} | {measured[0]['nDCG@10']:.5f} |")
    if options.json:
        packages = ("beir", "faiss-cpu", "numpy", "sentence-transformers", "torch")
        write_json(options.json, packages, **vars(options), outcomes=outcomes)


if __name__ == "__main__":
    main()
