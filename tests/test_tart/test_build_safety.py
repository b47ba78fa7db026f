"""An index folder is whole or it isn't there: kills, flipped bytes, a full disk, two builders."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tart
from tart.errors import DataError, DownloadError, StorageError
from tart.files import folder_lock, new_folder
from tart.index import build as build_module
from tart.index.build import CHUNK, KIND
from tart.manifest import read_manifest, verify_parts
from tart.retrieval.searcher import Searcher
from tart.testing import KeywordEncoder

ENCODER = KeywordEncoder(["old", "new", "fish", "bird"])

BUILD = """
import sys, time
from tart import Searcher
from tart.testing import KeywordEncoder
class Slow(KeywordEncoder):
    def encode_documents(self, documents):
        time.sleep(0.005)
        return super().encode_documents(documents)
documents = [f"new fish {n}" for n in range(int(sys.argv[2]))]
print("ready", flush=True)
Searcher.build(documents, Slow(["old", "new", "fish", "bird"]), sys.argv[1], overwrite=True)
print("done", flush=True)
"""


def start_build(target: Path, documents: int = 20_000) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILD, str(target), str(documents)]
    build = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert build.stdout is not None and build.stdout.readline() == "ready\n"
    return build


def check_whole(target: Path) -> str:
    """The word that all documents of an index share; fails if the index isn't whole."""
    verify_parts(target, read_manifest(target, KIND))
    searcher = Searcher.open(target, ENCODER)
    words = {searcher.documents.at(row).text.split()[0] for row in range(len(searcher.documents))}
    assert len(words) == 1 and len(searcher.search("fish", k=3)) == 3
    return words.pop()


def test_killed_at_random_moments_an_index_is_whole_or_absent(tmp_path: Path) -> None:
    whole_build = start_build(tmp_path / "timing")
    started = time.perf_counter()
    assert whole_build.wait(120) == 0
    seconds = time.perf_counter() - started
    generator = random.Random(0)
    outcomes = []
    for attempt in range(10):
        target = tmp_path / f"index{attempt}"
        if attempt % 2:  # every other one takes the place of an old index
            Searcher.build([f"old fish {n}" for n in range(100)], ENCODER, target)
        build = start_build(target)
        time.sleep(generator.uniform(0, 1.1) * seconds)
        build.send_signal(signal.SIGKILL)
        build.wait()
        outcomes.append(check_whole(target) if target.exists() else "absent")
        assert outcomes[-1] in ({"old", "new"} if attempt % 2 else {"absent", "new"})
        # what the kill left behind is in nobody's way
        Searcher.build(["new fish a", "new fish b", "new fish c"], ENCODER, target, overwrite=True)
        assert check_whole(target) == "new"
        assert not list(tmp_path.glob(f".{target.name}.*.new"))
    assert {"old", "absent"} & set(outcomes), f"no kill hit a build: {outcomes}"


def test_killed_between_every_two_steps_of_the_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dying right before or after any rename leaves an old or a new index."""
    target = tmp_path / "index"
    os_rename, calls = os.rename, 0

    def dies(*arguments: Any) -> None:
        nonlocal calls
        calls -= 1
        if calls == 0:
            raise KeyboardInterrupt
        os_rename(*arguments)

    monkeypatch.setattr(os, "rename", dies)
    for fails_at in range(1, 4):
        Searcher.build([f"old fish {n}" for n in range(5)], ENCODER, target, overwrite=True)
        calls = fails_at
        with contextlib.suppress(KeyboardInterrupt):
            Searcher.build([f"new fish {n}" for n in range(5)], ENCODER, target, overwrite=True)
        calls = 0
        assert check_whole(target) in ("old", "new")


def test_each_flipped_byte_is_found(tmp_path: Path) -> None:
    target = tmp_path / "index"
    Searcher.build([f"old fish {n}" for n in range(30)], ENCODER, target)
    parts = [path for path in sorted(target.rglob("*")) if path.is_file()]
    assert {"manifest.json", "corpus.jsonl", "embeddings.npy", "ids.npy", "offsets.npy"} < {p.name for p in parts}
    generator = random.Random(0)
    for path in parts:
        content = path.read_bytes()
        for _ in range(5):
            damaged = bytearray(content)
            damaged[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises(DataError) as caught:
                verify_parts(target, read_manifest(target, KIND))
            assert path.name in str(caught.value)
        path.write_bytes(content[:-9])
        with pytest.raises(DataError, match=path.name):
            Searcher.open(target, ENCODER)
        path.unlink()
        with pytest.raises(DataError, match=path.name):
            Searcher.open(target, ENCODER)
        path.write_bytes(content)
    assert check_whole(target) == "old"


def test_a_full_disk_leaves_the_old_index(tmp_path: Path) -> None:
    target = tmp_path / "index"
    Searcher.build([f"old fish {n}" for n in range(5)], ENCODER, target)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit fails like one on a full disk
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(StorageError, match=r"index: the disk is full \(.*\); nothing was left behind"):
            Searcher.build([f"new fish {n}" for n in range(5000)], ENCODER, target, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert check_whole(target) == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".index.lock", "index"]


def test_two_processes_can_not_build_the_same_folder(tmp_path: Path) -> None:
    target = tmp_path / "index"
    build = start_build(target, 60_000)
    try:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".index.*.new")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(StorageError, match="another process is writing this folder"):
            Searcher.build(["a"], ENCODER, target)
    finally:
        build.send_signal(signal.SIGKILL)
        build.wait()
    Searcher.build(["old fish", "old fish 2", "old fish 3"], ENCODER, target)
    assert check_whole(target) == "old"


def test_many_processes_can_read_one_index(tmp_path: Path) -> None:
    Searcher.build([f"old fish {n}" for n in range(100)], ENCODER, tmp_path / "index")
    code = (
        "import sys; from tart import Searcher; from tart.testing import KeywordEncoder; "
        "s = Searcher.open(sys.argv[1], KeywordEncoder(['old', 'new', 'fish', 'bird'])); "
        "print([h.doc_id for h in s.search('old fish', k=5, mode='hybrid')])"
    )
    readers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "index")], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = {reader.communicate(timeout=60)[0] for reader in readers}
    assert len(answers) == 1 and "['" in answers.pop()


def test_an_open_index_outlives_a_rebuild(tmp_path: Path) -> None:
    """Its files stay mapped: a rebuild puts other files in their place instead of writing into them."""
    target = tmp_path / "index"
    first = Searcher.build([f"old fish {n}" for n in range(50)], ENCODER, target)
    assert first.search("fish", k=3, mode="sparse")
    Searcher.build([f"new fish {n}" for n in range(70)], ENCODER, target, overwrite=True)
    assert [hit.text[:8] for hit in first.search("fish", k=3)] == ["old fish"] * 3
    assert first.search("fish", k=3, mode="sparse")[0].text.startswith("old")
    assert len(Searcher.open(target, ENCODER).documents) == 70


def test_opening_reads_a_small_part_of_the_documents(tmp_path: Path) -> None:
    text = "old fish " + "x" * 2000
    Searcher.build((tart.Document(str(n), f"{n} {text}") for n in range(20_000)), ENCODER, tmp_path / "index")
    code = (
        "import sys, resource; from tart import Searcher; from tart.testing import KeywordEncoder; "
        "e = KeywordEncoder(['old', 'new', 'fish', 'bird']); import faiss, bm25s; "
        "from pathlib import Path; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "s = Searcher.open(sys.argv[1], e); s.documents.at(7); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "index")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown * 1024 < (tmp_path / "index" / "corpus.jsonl").stat().st_size / 4


class Counting(KeywordEncoder):
    """Counts what it encodes, and fails when it has encoded a number of documents."""

    encoded, fails_at, error = 0, 10**9, KeyboardInterrupt

    def encode_documents(self, documents: Any) -> Any:
        self.encoded += len(documents)
        if self.encoded > self.fails_at:
            raise self.error
        return super().encode_documents(documents)


def test_a_build_goes_on_where_another_one_was_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = [f"new fish {n}" for n in range(3 * CHUNK + 5)]
    encoder = Counting(["old", "new", "fish", "bird"])
    encoder.fails_at = 2 * CHUNK
    with pytest.raises(KeyboardInterrupt):
        Searcher.build(texts, encoder, tmp_path / "index")
    assert [path.name for path in sorted(tmp_path.iterdir())] == [".index.chunks", ".index.lock"]
    encoder.encoded, encoder.fails_at = 0, 10**9
    texts[2 * CHUNK - 1] = "new bird"  # one document of the second chunk is another one now
    with caplog.at_level(logging.INFO, "tart"):
        Searcher.build(texts, encoder, tmp_path / "index")
    assert encoder.encoded == 2 * CHUNK + 5
    said = [record.getMessage() for record in caplog.records if record.name == "tart.index.build"]
    assert said[0] == f"{CHUNK:,} documents had been encoded by a build that wasn't finished"
    assert re.search(rf"index: {len(texts):,} documents in [\d.]+ s \(\d+/s\), \d+% of them outside the model", said[1])
    assert [path.name for path in sorted(tmp_path.iterdir())] == [".index.lock", "index"]
    Searcher.build(texts, ENCODER, tmp_path / "whole")
    for name in ("embeddings.npy", "corpus.jsonl"):
        assert (tmp_path / "index" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_model_does_not_go_on_and_a_full_disk_gives_back_what_was_encoded(tmp_path: Path) -> None:
    texts = [f"new fish {n}" for n in range(2 * CHUNK)]
    encoder = Counting(["old", "new"])
    encoder.fails_at = CHUNK
    with pytest.raises(KeyboardInterrupt):
        Searcher.build(texts, encoder, tmp_path / "index")
    other = Counting(["fish", "bird"])
    Searcher.build(texts, other, tmp_path / "other")
    (tmp_path / ".index.chunks").replace(tmp_path / ".other.chunks")
    Searcher.build(texts, other, tmp_path / "other", overwrite=True)
    assert other.encoded == 2 * len(texts)
    full = Counting(["old", "new"])
    full.fails_at, full.error = CHUNK, OSError(errno.ENOSPC, "no space")  # type: ignore[assignment]
    with pytest.raises(StorageError, match="the disk is full"):
        Searcher.build(texts, full, tmp_path / "full")
    assert [path.name for path in sorted(tmp_path.iterdir())] == [".full.lock", ".index.lock", ".other.lock", "other"]


def test_an_error_of_the_network_keeps_what_was_encoded(tmp_path: Path) -> None:
    texts = [f"new fish {n}" for n in range(2 * CHUNK)]
    for name, error in {"index": OSError(errno.ECONNRESET, "reset"), "other": DownloadError("no network")}.items():
        encoder = Counting(["old", "new"])
        encoder.fails_at, encoder.error = CHUNK, error  # type: ignore[assignment]
        with pytest.raises(type(error)):
            Searcher.build(texts, encoder, tmp_path / name)
        assert len(list((tmp_path / f".{name}.chunks").iterdir())) == 1
    encoder.encoded, encoder.fails_at = 0, 10**9
    Searcher.build(texts, encoder, tmp_path / "index")
    assert encoder.encoded == CHUNK and not (tmp_path / ".index.chunks").exists()


def test_the_chunks_of_a_build_that_begins_meanwhile_are_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as other:

        @contextlib.contextmanager
        def overtaken(target: Path, **settings: Any) -> Iterator[Path]:
            with new_folder(target, **settings) as folder:
                yield folder
            other.enter_context(folder_lock(target))

        monkeypatch.setattr(build_module, "new_folder", overtaken)
        Searcher.build(["new fish"], ENCODER, tmp_path / "index")
        assert (tmp_path / ".index.chunks").is_dir()
    assert len(Searcher.open(tmp_path / "index", ENCODER).documents) == 1
