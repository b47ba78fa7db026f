"""Memory of a large collection: made-up sources in the collector's own format, collected, the peak measured.

    python benchmarks/collect.py FOLDER [--examples 1000000] [--sources 50] [--workers 2] [--json FILE]

Each source has records of a title, an abstract and a sentence, from which two tasks of one family are made; their words
come from a vocabulary with Zipf's frequencies. Mining is by BM25. The peak is that of the main process (the workers'
stands beside it), measured by the kernel. A run that was stopped goes on where it was, but then its peak is only that
of the last part: give it a folder of its own and let it end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np

from berri.card import load_cards
from berri.pipeline import collect
from berri.settings import Settings

WORDS = 200_000
LENGTHS = {"title": 8, "abstract": 60, "gist": 16}
CARD = """[source]
title = "{name}"
published = "made up"
revision = "1"
license = "CC0"
license_class = "open"
license_reason = "made up"
citation = "nobody"
domain = "numbered words"

[[source.files]]
name = "rows.jsonl"
sha256 = "{sha256}"

[source.reader]
name = "jsonl"
fields = {{ title = "title", abstract = "abstract", gist = "gist" }}
"""
TASK = """
[[task]]
name = "{name}-abstract-to-{document}"
query = "abstract"
document = "{document}"
query_is = "abstract"
document_is = "{document}"
intent = "{intent}"
unit = "{document}"
family = "paper"
expected = 1

[task.instructions]
order = ["Find the {document}.", "Retrieve its {document}.", "Give me the {document} of this."]
wish = ["I want the {document}.", "I need a {document} for this."]
noun = ["The {document}", "A {document}"]
question = ["Which {document} belongs to this?"]
held_out = ["A {document}", "I want the {document}."]
"""


def write_sources(folder: Path, sources: int, records: int) -> None:
    """Sources and their cards, unless they are there."""
    (folder / "cards").mkdir(parents=True, exist_ok=True)
    for number in range(sources):
        name = f"made{number:03}"
        path = folder / "mirror" / name / "rows.jsonl"
        if (folder / "cards" / f"{name}.toml").is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(number)
        with path.open("w", encoding="utf-8") as file:
            for _ in range(records):
                # uniform in the logarithm of the rank: Zipf's law
                texts = {
                    key: " ".join(f"w{rank:.0f}" for rank in WORDS ** draw.random(length))
                    for key, length in LENGTHS.items()
                }
                file.write(json.dumps(texts) + "\n")
        card = CARD.format(name=name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for document, intent in (("title", "names"), ("gist", "summarizes")):
            card += TASK.format(name=name, document=document, intent=intent)
        (folder / "cards" / f"{name}.toml").write_text(card, encoding="utf-8")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--examples", type=int, default=1_000_000)
    options.add_argument("--sources", type=int, default=50)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    records = chosen.examples // chosen.sources // 2
    write_sources(chosen.folder, chosen.sources, records)
    start = time.perf_counter()
    settings = Settings(
        mirror=chosen.folder / "mirror", download=False, model=None, per_task=records, workers=chosen.workers
    )
    made = collect(chosen.folder / "collection", settings, cards=load_cards(chosen.folder / "cards"))
    scale = 2**20 if sys.platform != "darwin" else 2**30  # kilobytes, on macOS bytes, to gibibytes
    peaks = [resource.getrusage(who).ru_maxrss / scale for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    facts = {
        "examples": sum(made.manifest["examples"].values()),
        "tasks": len(made.tasks),
        "seconds": round(time.perf_counter() - start, 1),
        "peak of the main process, GiB": round(peaks[0], 2),
        "peak of the largest worker, GiB": round(peaks[1], 2),
        "workers": chosen.workers,
        "machine": f"{platform.machine()}, python {platform.python_version()}",
    }
    print(json.dumps(facts, indent=2))
    if chosen.json:
        chosen.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
