"""Is a collection disjoint from test collections? Asked again by a program that shares no code with the collector.

    python benchmarks/disjoint.py COLLECTION TEST_FOLDER...

Every text of every example (query, right and wrong documents, their titles) is compared with every query and document
of the test folders: equal up to case, punctuation and blanks; thirteen words in a row; for texts of four to 25 words,
four of five words shared, found exactly by an index of each text's rarest words (prefix filtering), not by MinHash.
Prints what meets, and ends with code 1 if anything does.

Source: the prefix filter of Chaudhuri, Ganti and Kaushik (2006), for sets with a Jaccard similarity of at least 0.8.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

RUN, SHORTEST, LONGEST, SHARED = 13, 4, 25, 0.8


def words(text: str) -> list[str]:
    return re.sub(r"[\W_]+", " ", text.lower()).split()


def test_texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if re.fullmatch(r"(corpus|queries).*\.jsonl", path.name):
            for line in path.read_text(encoding="utf-8").split("\n"):
                if line.strip():
                    row = json.loads(line)
                    yield from ((str(path), text) for text in (row["text"], row.get("title") or ""))
        elif path.name == "collection.tsv" or re.fullmatch(r"questions\..*tsv", path.name):
            for line in path.read_text(encoding="utf-8").split("\n"):
                yield str(path), line.partition("\t")[2]


def collection_texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("*/*.parquet")):
        seen: set[int] = set()
        for batch in pq.ParquetFile(path).iter_batches(256, columns=["query", "positives", "negatives"]):
            for row in batch.to_pylist():
                documents = [*row["positives"], *row["negatives"]]
                for text in (row["query"], *(one[key] for one in documents for key in ("text", "title"))):
                    if hash(text) not in seen:
                        seen.add(hash(text))
                        yield str(path), text


def runs(found: list[str]) -> list[int]:
    return [hash(tuple(found[start : start + RUN])) for start in range(len(found) - RUN + 1)]


class Near:
    """Short texts by their rarest words."""

    def __init__(self, texts: list[frozenset[str]]) -> None:
        self.texts = texts
        self.often = Counter(word for text in texts for word in text)
        self.index: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(texts):
            for word in self.rarest(text):
                self.index[word].append(number)

    def rarest(self, text: frozenset[str]) -> list[str]:
        kept = len(text) - int(np.ceil(SHARED * len(text) - 1e-9)) + 1
        return sorted(text, key=lambda word: (self.often[word], word))[:kept]

    def meets(self, text: frozenset[str]) -> frozenset[str] | None:
        for number in {number for word in self.rarest(text) for number in self.index.get(word, ())}:
            other = self.texts[number]
            if len(text & other) >= SHARED * len(text | other):
                return other
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description="Is a collection disjoint from test collections?")
    parser.add_argument("collection", type=Path, help="a folder that berri collect made")
    parser.add_argument("folders", type=Path, nargs="+", metavar="TEST_FOLDER", help="a folder of test collections")
    options = parser.parse_args()
    collection, folders = options.collection, options.folders
    whole: set[str] = set()
    every: list[np.ndarray] = []
    short: set[frozenset[str]] = set()
    for folder in folders:
        for _, text in test_texts(folder):
            found = words(text)
            whole.add(" ".join(found))
            every.append(np.asarray(runs(found), dtype=np.int64))
            if SHORTEST <= len(found) <= LONGEST:
                short.add(frozenset(found))
    whole.discard("")
    known = np.unique(np.concatenate([*every, np.empty(0, dtype=np.int64)]))
    near = Near(sorted(short, key=sorted))
    print(f"{len(whole):,} test texts, {len(known):,} runs of {RUN} words, {len(short):,} short texts")
    met: Counter[str] = Counter()
    count = 0
    for place, text in collection_texts(collection):
        count += 1
        found = words(text)
        mine = np.asarray(runs(found), dtype=np.int64)
        places = np.minimum(np.searchsorted(known, mine), max(len(known) - 1, 0))
        shared = len(known) > 0 and (known[places] == mine).any()
        how = "equal" if " ".join(found) in whole else "13 words" if shared else ""
        if not how and SHORTEST <= len(found) <= LONGEST and near.meets(frozenset(found)) is not None:
            how = "near"
        if how:
            met[how] += 1
            print(f"{how}: {place}: {text[:120]!r}")
    print(f"{count:,} texts of {collection} compared: " + (f"{dict(met)} meet" if met else "none meets"))
    sys.exit(1 if met else 0)


if __name__ == "__main__":
    main()
