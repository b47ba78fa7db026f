"""Examples a second of training a bi-encoder, against sentence-transformers' trainer; and the memory of GradCache.

    python benchmarks/train.py [--data COLLECTION] [--batch 32] [--steps 4] [--rounds 5] [--json FILE]

Both train the same model on the same examples (query under an instruction, positive, one hard and one unfollowing
negative), the same number in a step. tart: bf16 where the processor multiplies it, length buckets by token budget.
sentence-transformers: its defaults (fp32, batches padded to their longest text) and MultipleNegativesRankingLoss. Turns
are interleaved, each on other examples; the first isn't counted. Examples are mixed: batches of families, in which a
document that several queries share is encoded once, would be faster still.

Memory is that of one loss and its gradient, each in a process of its own. Without --data, examples are those of the
toy world, whose texts are a few words long.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import datasets
import torch
from machine import write_json
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.utils.data import Subset
from transformers import PrinterCallback

from tart.models.bi_encoder import BiEncoder
from tart.models.load import load_torch_encoder
from tart.shards import Collection
from tart.text_format import named_format
from tart.training.dual_batches import DualBatches
from tart.training.dual_loss import DualLoss
from tart.training.dual_model import build_dual
from tart.training.examples import Drawn, Examples
from tart.training.settings import DataSettings, DevelopmentSettings, DualRecipe, LoopSettings, ModelSettings
from tart.training.toy import write_toy_world
from tart.training.trainer import TartTrainer, chosen_precision, training_arguments

TOKENS, NEGATIVES = 256, 2
GPU = torch.cuda.is_available()
BATCHES, BUDGET = ((256, 1024, 2048), 1 << 15) if GPU else ((32, 128, 256), 2048)
OUT_OF_MEMORY = 70  # how a child ends for which a card has too little
PACKAGES = ("sentence-transformers", "torch", "transformers")


class Given(DualBatches):
    """Batches of those examples alone that have all their negatives: sentence-transformers wants equal columns."""

    def drawn(self, step: int) -> list[Drawn]:
        """The examples of a step: those of two steps of the recipe, or more, from which enough are left."""
        size, found, turn = self._loop.batch_size, list[Drawn](), step * 8
        while len(found) < size and turn < step * 8 + 8:
            found += [one for one in super().drawn(turn) if len(one.documents) == 1 + NEGATIVES]
            turn += 1
        if len(found) < size:
            sys.exit("--data: too few examples have a hard and an unfollowing negative")
        return found[:size]


def recipe_of(base: str, batch: int, steps: int, *, grad_cache: bool = False) -> DualRecipe:
    """The plain bi-encoder with the loss that both have: contrast alone."""
    data = DataSettings(family_share=0.0, task_share=0.0, hard=1, unfollowing=1, without_instruction=0.0)
    model = ModelSettings(query_tokens=TOKENS, document_tokens=TOKENS)
    loop = LoopSettings(steps=steps, batch_size=batch, grad_cache=grad_cache, token_budget=BUDGET, save_every=10**6)
    watch = DevelopmentSettings(every=0)
    return DualRecipe("benchmark", base, "plain", data=data, model=model, loop=loop, development=watch)


def ours_of(recipe: DualRecipe, data: Path) -> tuple[BiEncoder, DualBatches, DualLoss]:
    """Model, batches and loss, as `tart train dual` makes them."""
    base = load_torch_encoder(recipe.base)
    model = build_dual(base, recipe.model, named_format(recipe.text_format), recipe.name)
    batches = Given(Examples(Collection(data), "train"), recipe, model.text_format, model.model.tokenizer)
    loop = recipe.loop
    loss = DualLoss(
        model.model,
        recipe.loss,
        similarity=model.similarity,
        content=base.dim,
        token_budget=loop.token_budget,
        grad_cache=loop.grad_cache,
    )
    return model, batches, loss


def tart_turn(recipe: DualRecipe, data: Path, work: Path) -> tuple[Callable[[range], Any], DualBatches]:
    """A trainer for some steps of the batches, ready to run."""
    model, batches, loss = ours_of(recipe, data)

    def ready(steps: range) -> Any:
        # Made anew in each turn: it resets the precision, which accelerate keeps for the whole process.
        args = training_arguments(work, recipe.name, recipe.seed, recipe.loop, recipe.development)
        args.save_strategy, args.report_to, args.disable_tqdm = "no", [], True
        return TartTrainer(model.model, args, Subset(batches, steps), loss, None, recipe.loop)

    return ready, batches


def peer_turn(recipe: DualRecipe, batches: DualBatches, work: Path) -> Callable[[range], Any]:
    """sentence-transformers' trainer on the same examples."""
    plain = load_torch_encoder(recipe.base).model
    assert isinstance(plain, SentenceTransformer)
    plain.max_seq_length = TOKENS
    form = named_format(recipe.text_format)

    def ready(steps: range) -> Any:
        args = SentenceTransformerTrainingArguments(
            output_dir=str(work),
            max_steps=recipe.loop.steps,
            per_device_train_batch_size=recipe.loop.batch_size,
            learning_rate=recipe.loop.learning_rate,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        rows = [
            {"anchor": form.query_text(one.query)}
            | {f"document_{row}": form.document_text(each) for row, each in enumerate(one.documents)}
            for step in steps
            for one in batches.drawn(step)
        ]
        loss = MultipleNegativesRankingLoss(plain)
        return SentenceTransformerTrainer(plain, args, train_dataset=datasets.Dataset.from_list(rows), loss=loss)

    return ready


def take_turns(data: Path, base: str, batch: int, steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each turn of `steps` steps."""
    recipe = recipe_of(base, batch, steps)
    with tempfile.TemporaryDirectory() as work:
        ours, batches = tart_turn(recipe, data, Path(work))
        name = f"tart, {chosen_precision(recipe.loop.precision)}"
        contenders = {name: ours, "sentence-transformers, defaults": peer_turn(recipe, batches, Path(work))}
        found: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):
            for name, ready in contenders.items():
                trainer = ready(range(turn * steps, (turn + 1) * steps))
                trainer.remove_callback(PrinterCallback)
                started = time.perf_counter()
                trainer.train()
                if turn:
                    found[name].append(time.perf_counter() - started)
    return found


def memory_of(data: Path, base: str, batch: int, grad_cache: bool) -> float:
    """MiB that one loss and its gradient take above what the process, or on a GPU the card, had before at most."""
    recipe = recipe_of(base, batch, 1, grad_cache=grad_cache)
    model, batches, loss = ours_of(recipe, data)
    item = batches[0]
    label = item.pop("label")
    features = [
        {key.removeprefix(side): value.to(model.model.device) for key, value in item.items() if key.startswith(side)}
        for side in ("query_", "document_")
    ]
    model.model.train()
    before = _most_memory()
    bf16 = chosen_precision(recipe.loop.precision) == "bf16"
    label = {name: value.to(model.model.device) if torch.is_tensor(value) else value for name, value in label.items()}
    with torch.autocast("cuda" if GPU else "cpu", dtype=torch.bfloat16, enabled=bf16):
        value = loss(features, label)
    total = value if torch.is_tensor(value) else torch.stack(list(value.values())).sum()
    total.backward()
    return (_most_memory() - before) / 1024


def _most_memory() -> int:
    """KiB."""
    if GPU:
        return torch.cuda.max_memory_allocated() // 1024
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a collection")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", nargs=2, type=int, help=argparse.SUPPRESS)  # batch, GradCache: in a child process
    options = parser.parse_args()
    if options.memory:
        try:
            print(memory_of(options.data, options.model, options.memory[0], bool(options.memory[1])))
        except torch.OutOfMemoryError:  # of a card
            sys.exit(OUT_OF_MEMORY)
        return
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or write_toy_world(Path(folder) / "toy", train=400).folder
        command = [sys.executable, __file__, "--data", str(data), "--model", options.model, "--memory"]
        memory: dict[str, list[float | None]] = {}
        for name, flag in (("GradCache", "1"), ("without", "0")):
            for batch in BATCHES:
                done = subprocess.run([*command, str(batch), flag], stdout=subprocess.PIPE, text=True)
                memory.setdefault(name, []).append(_measured(done))
        print(f"| memory of a step above the start, MiB | {' | '.join(f'batch {size}' for size in BATCHES)} |")
        print(f"|---{'|---' * len(BATCHES)}|")
        for name, values in memory.items():
            shown = (f"{value:,.0f}" if value is not None else "more than there is" for value in values)
            print(f"| {name} | {' | '.join(shown)} |", flush=True)
        found = take_turns(data, options.model, options.batch, options.steps, options.rounds)
    report(found, options.batch * options.steps)
    if options.json:
        write_json(options.json, PACKAGES, **vars(options), seconds=found, memory=memory)


def _measured(done: subprocess.CompletedProcess[str]) -> float | None:
    """What a child measured; None if memory was out, for which the system kills it."""
    if done.returncode not in (0, -signal.SIGKILL, OUT_OF_MEMORY):
        sys.exit(done.returncode)
    return float(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def report(found: dict[str, list[float]], examples: int) -> None:
    """Print the table of speed."""
    base = statistics.median(found["sentence-transformers, defaults"])
    print("\n| | examples a second, median (range) | times the defaults | seconds of each turn |\n|---|---|---|---|")
    for name, taken in found.items():
        rates = sorted(examples / one for one in taken)
        spread = f"{statistics.median(rates):.1f} ({rates[0]:.1f} to {rates[-1]:.1f})"
        seconds = ", ".join(f"{one:.1f}" for one in taken)
        print(f"| {name} | {spread} | {base / statistics.median(taken):.2f} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
