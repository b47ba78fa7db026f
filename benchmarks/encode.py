"""Documents a second, and pairs of a cross-encoder: tart's backends against sentence-transformers with its defaults.

    python benchmarks/encode.py --json encode.json
    python benchmarks/encode.py --device cuda --documents 4096     (encoding alone, and the share of the card's peak)

All contenders take turns in one process, on the same texts. Beside the time on the clock stands the time of the
processor, which a neighbour on the same cores changes less. Without --texts, documents of Python's own standard library
are encoded, cut to their longest ones; the cross-encoder is the model's body with a random head.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from machine import write_json
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tart import Document, Query, load_encoder, load_reranker
from tart.demo.stdlib_corpus import stdlib_documents
from tart.index.readers import read_documents
from tart.models.backend import lean_precision
from tart.models.bi_encoder import BiEncoder
from tart.models.load import load_torch_encoder
from tart.models.registry import locate
from tart.processor import processor_name

PACKAGES = ("numpy", "openvino", "sentence-transformers", "tokenizers", "torch", "transformers")


def texts_of(path: Path | None, count: int) -> list[str]:
    """The texts to encode, equally spread over the corpus."""
    if path is None:
        found = sorted((f"{one.title} {one.text}" for one in stdlib_documents()), key=len)[-count * 4 :]
    else:
        found = [f"{one.title} {one.text}".strip() for one in read_documents(path)]
    step = max(1, len(found) // count)
    return list(itertools.islice(found, 0, step * count, step))


def encoders(model: str, texts: list[str], device: str) -> dict[str, Callable[[], Any]]:
    """Contenders of encoding."""
    _, _, folder = locate(model)
    plain = SentenceTransformer(str(folder or model), device=device)
    contenders: dict[str, Callable[[], Any]] = {
        "sentence-transformers, defaults": lambda: plain.encode(texts, show_progress_bar=False)
    }
    for backend in ("torch", "lean", "lean-int8") if device == "cpu" else ("torch",):
        encoder = load_encoder(model, backend=backend, device=device if backend == "torch" else None)  # type: ignore[arg-type]
        contenders[f"tart, {encoder.backend}"] = lambda encoder=encoder: encoder.encode_documents(texts)
    return contenders


def rerankers(model: str, texts: list[str], folder: Path, pairs: int, tokens: int) -> dict[str, Callable[[], Any]]:
    """Contenders of reranking: one query and documents that fill up `tokens` tokens with it."""
    _, _, source = locate(model)
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(source or model, num_labels=1).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(source or model)
    tokenizer.model_max_length = tokens
    tokenizer.save_pretrained(folder)
    query = Query("q", "what is known about this")
    documents = [Document(str(row), texts[row % len(texts)] + f" {row}" * tokens) for row in range(pairs)]
    plain = CrossEncoder(str(folder), device="cpu", max_length=tokens)
    asked = [(query.text, document.text) for document in documents]
    contenders: dict[str, Callable[[], Any]] = {
        "sentence-transformers, defaults": lambda: plain.predict(asked, show_progress_bar=False)
    }
    given = [(query, document) for document in documents]
    for backend in ("torch", "lean", "lean-int8"):
        reranker = load_reranker(folder, backend=backend, device="cpu" if backend == "torch" else None)  # type: ignore[arg-type]
        contenders[f"tart, {reranker.backend}"] = lambda reranker=reranker: reranker.score(given)
    return contenders


def take_turns(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds of each turn, and the last result; the first turn of each isn't counted."""
    found: dict[str, dict[str, Any]] = {name: {"seconds": [], "cpu": []} for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            clock, cpu = time.perf_counter(), time.process_time()
            result = np.asarray(run())
            if turn:
                found[name]["seconds"].append(time.perf_counter() - clock)
                found[name]["cpu"].append(time.process_time() - cpu)
            found[name]["result"] = result
    return found


def agreement(first: np.ndarray, second: np.ndarray) -> str:
    """How near two results are: the least cosine of vectors; of scores, the same order and how far they are apart."""
    if first.ndim == 2:
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        return f"cosine {((first * second).sum(axis=1) / lengths).min():.6f} or more"
    one, two = np.argsort(-first, kind="stable"), np.argsort(-second, kind="stable")
    top = len(set(one[:10].tolist()) & set(two[:10].tolist()))
    swapped = int((np.sign(first[:, None] - first) * np.sign(second[:, None] - second) < 0).sum()) // 2
    off = np.abs(first - second).max() / first.std()
    return f"{top} of the top 10; {swapped} pairs swapped; scores off by at most {off:.4f} of their spread"


def report(title: str, found: dict[str, dict[str, Any]], per_turn: int, what: str) -> None:
    """Print a table."""
    print(f"\n{title}")
    print(f"| | {what} a second, median (range) | times the defaults | processor time | against the defaults |")
    print("|---|---|---|---|---|")
    base = next(iter(found.values()))
    for name, one in found.items():
        rates = sorted(per_turn / seconds for seconds in one["seconds"])
        times = statistics.median(base["seconds"]) / statistics.median(one["seconds"])
        cpu = statistics.median(base["cpu"]) / statistics.median(one["cpu"])
        spread = f"{statistics.median(rates):,.1f} ({rates[0]:,.1f} to {rates[-1]:,.1f})"
        print(f"| {name} | {spread} | {times:.2f} | 1/{cpu:.2f} | {agreement(base['result'], one['result'])} |")


def operations(model: str, texts: list[str]) -> float:
    """Floating-point operations of encoding texts: those of the layers' products and of attention."""
    encoder = load_torch_encoder(model, device="cpu")
    assert isinstance(encoder, BiEncoder)
    config = encoder.model[0].auto_model.config
    lengths = [
        len(one) for one in encoder.model.tokenizer(texts, truncation=True, max_length=encoder.max_tokens).input_ids
    ]
    weights = config.num_hidden_layers * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size)
    attention = 4 * config.num_hidden_layers * config.hidden_size
    return float(sum(2 * weights * length + attention * length**2 for length in lengths))


def card_peak(device: str) -> float:
    """Operations a second of a large product in bf16, the median of ten."""
    one, two = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    taken = []
    for _ in range(13):
        torch.cuda.synchronize()
        started = time.perf_counter()
        one @ two
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return float(2 * 8192**3 / statistics.median(taken[3:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--texts", type=Path, help="a corpus.jsonl")
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=128, help="of a pair")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda: a GPU, for encoding alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    precision, reason = lean_precision()
    print(f"{processor_name()}, {len(os.sched_getaffinity(0))} cores, lean form in {precision}: {reason}")
    texts = texts_of(options.texts, options.documents)
    encoded = take_turns(encoders(options.model, texts, options.device), options.rounds)
    report(f"{len(texts)} documents, {options.rounds} rounds, {options.model}", encoded, len(texts), "documents")
    if options.device != "cpu":
        done, peak = operations(options.model, texts), card_peak(options.device)
        print(f"{torch.cuda.get_device_name()}: a product of 8192 x 8192 bf16 numbers at {peak / 1e12:,.0f} TFLOP/s")
        for name, one in encoded.items():
            rate = done / statistics.median(one["seconds"])
            print(f"{name}: {rate / 1e12:,.1f} TFLOP/s, {100 * rate / peak:.1f} % of that")
        write_times(options, {"encode": encoded})
        return
    with tempfile.TemporaryDirectory() as folder:
        contenders = rerankers(options.model, texts, Path(folder), options.pairs, options.tokens)
        ranked = take_turns(contenders, options.rounds)
    title = f"{options.pairs} pairs of {options.tokens} tokens, {options.rounds} rounds"
    report(title, ranked, options.pairs, "pairs")
    for name, one in ranked.items():
        print(f"{name}: {1000 * statistics.median(one['seconds']):,.0f} ms for {options.pairs} pairs")
    write_times(options, {"encode": encoded, "rerank": ranked})


def write_times(options: argparse.Namespace, measured: dict[str, dict[str, Any]]) -> None:
    """The seconds of every turn, if --json says where."""
    times = {
        kind: {name: {"seconds": one["seconds"], "cpu": one["cpu"]} for name, one in found.items()}
        for kind, found in measured.items()
    }
    if options.json:
        write_json(options.json, PACKAGES, **vars(options), **times)


if __name__ == "__main__":
    main()
