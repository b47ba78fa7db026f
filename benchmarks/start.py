"""What one waits for: the import, and the whole command `tart search DIR "..."`, each time in a new process.

    python benchmarks/start.py --index demo_index --json start.json

The index is that of `tart demo`; without one, it is built first.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import write_json

from tart.demo.stdlib_corpus import stdlib_documents
from tart.retrieval.searcher import Searcher

SEARCH = "import sys; sys.argv = ['tart', 'search', {index!r}, 'how to read a file']; from tart.cli import main; main()"
TOLD = (
    "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); "
    "sys.argv = ['tart', 'search', {index!r}, 'how to read a file']; from tart.cli import main; main()"
)


def seconds_of(code: str) -> tuple[float, float]:
    """Seconds on the clock and of the processor until a new Python has run the code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    clock = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", default="demo_index")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not Path(options.index).is_dir():
        Searcher.build(stdlib_documents(), output=options.index, show_progress=True)
    documents = json.loads((Path(options.index) / "manifest.json").read_text())["documents"]
    contenders = {
        "an empty interpreter": "pass",
        "import tart": "import tart",
        f"tart search, {documents:,} documents": SEARCH.format(index=options.index),
        "import sentence_transformers": "import sentence_transformers",
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(options.rounds + 1):
        for name, code in contenders.items():
            measured = seconds_of(code)
            if turn:  # the first time, files come from the disk, and a model's lean form may be made
                found[name].append(measured)
    told = subprocess.run(
        [sys.executable, "-c", TOLD.format(index=options.index)], capture_output=True, text=True, check=True
    )
    print(f"{len(os.sched_getaffinity(0))} cores, {options.rounds} rounds; seconds, median (range)")
    print("| | on the clock | of the processor |\n|---|---|---|")
    for name, measured in found.items():
        columns = [sorted(column) for column in zip(*measured, strict=True)]
        shown = [f"{statistics.median(column):.2f} ({column[0]:.2f} to {column[-1]:.2f})" for column in columns]
        print(f"| {name} | {' | '.join(shown)} |")
    print(f"torch was imported by tart search: {told.stderr.split()[-1]}")
    if options.json:
        packages = ("openvino", "numpy", "sentence-transformers", "torch")
        write_json(options.json, packages, **vars(options), seconds=found)


if __name__ == "__main__":
    main()
