"""Files appear whole or not at all, and lines are read as they stand."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tart.errors import DataError, StorageError
from tart.files import atomic_write, new_folder, parse_json_object, read_lines, sha256_file, storage_errors
from tart.manifest import write_manifest


def disk_is_full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_atomic_write_replaces_the_file_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    for content in (b"old", b"new"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content and names(path.parent) == ["file"]


def test_atomic_write_keeps_the_old_file_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half of the new")
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and names(tmp_path) == ["file"]


def test_a_full_disk_is_a_storage_error_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(StorageError) as caught, atomic_write(path) as file:
        file.write(b"new")
    assert str(caught.value).startswith(f"{path}: the disk is full (No space left on device)")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_in_the_middle_is_a_storage_error(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    wanted = f"the disk is full ({os.strerror(number)}); nothing was left behind, make room and run again"
    with pytest.raises(StorageError) as caught, atomic_write(path) as file:
        file.write(b"half of the new")
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"{path}: {wanted}"
    with pytest.raises(StorageError) as caught, new_folder(tmp_path / "folder") as folder:
        (folder / "half").write_bytes(b"x")
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"{tmp_path / 'folder'}: {wanted}"
    assert path.read_bytes() == b"old" and names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("said", "free", "is_full"),
    [
        ("I/O error: No space left on device (os error 28)", 1 << 40, True),  # safetensors
        ("[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing file data/0", 0, True),
        ("[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing file data/0", 1 << 40, False),
        ("the sizes of tensors don't match", 0, False),
    ],
)
def test_a_full_disk_that_a_library_tells_of_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, free: int, is_full: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    wanted = (StorageError, "the disk is full") if is_full else (RuntimeError, re.escape(said))
    with pytest.raises(wanted[0], match=wanted[1]), storage_errors(tmp_path / "not there yet" / "model"):
        raise RuntimeError(said)


def test_places_that_can_not_be_written_are_storage_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "inside", tmp_path / "folder", tmp_path / ("x" * 250)):
        with pytest.raises(StorageError) as caught, atomic_write(path):
            pass
        assert str(caught.value).startswith(f"{path}: can't be written (")
    with pytest.raises(StorageError, match=r"inside: can't be written"), new_folder(tmp_path / "file" / "inside"):
        pass
    assert names(tmp_path) == ["file", "folder"] and (tmp_path / "file").read_bytes() == b"kept"


def test_other_errors_of_the_operating_system_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_write(tmp_path / "file"):
        Path(tmp_path / "elsewhere").read_bytes()


def test_a_new_folder_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with new_folder(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("x")
        assert not target.exists() and folder.parent == target.parent
    assert (target / "inner" / "file").read_text() == "x" and names(target.parent) == ["target"]


def test_a_new_folder_goes_away_when_the_block_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "target") as folder:
        (folder / "file").write_text("x")
        raise KeyboardInterrupt
    assert names(tmp_path) == []
    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(StorageError, match=r"target: the disk is full"), new_folder(tmp_path / "target") as folder:
        (folder / "file").write_text("x")
    assert names(tmp_path) == []


def test_an_existing_folder_is_refused_before_the_block_runs(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with (
        pytest.raises(StorageError, match=r"target: exists already; choose another name, or overwrite it"),
        new_folder(target),
    ):
        pytest.fail("the block ran")
    assert names(tmp_path) == ["target"]


def test_a_file_is_never_overwritten_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    for overwrite in (False, True):
        with (
            pytest.raises(StorageError, match=r"notes: is a file, wanted a folder"),
            new_folder(tmp_path / "notes", overwrite=overwrite),
        ):
            pytest.fail("the block ran")
    assert (tmp_path / "notes").read_text() == "mine" and names(tmp_path) == ["notes"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_appears_during_a_build_is_not_replaced(tmp_path: Path, overwrite: bool, kind: str) -> None:
    diary = tmp_path / "target" if kind == "file" else tmp_path / "target" / "diary"
    problem = "is a file" if kind == "file" else "holds no marker" if overwrite else "exists already"
    with (
        pytest.raises(StorageError, match=f"target: {problem}"),
        new_folder(tmp_path / "target", overwrite=overwrite, marker="marker") as folder,
    ):
        (folder / "file").write_text("new")
        diary.parent.mkdir(exist_ok=True)
        diary.write_text("mine")
    assert diary.read_text() == "mine" and names(tmp_path) == ["target"]


HOLD = """
import sys, time
from tart.files import new_folder
with new_folder(sys.argv[1]) as folder:
    (folder / "half").write_text("x")
    print("holds", flush=True)
    time.sleep(60)
"""


def test_a_folder_that_another_process_writes_is_refused_until_that_one_is_dead(tmp_path: Path) -> None:
    target = tmp_path / "target"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "holds\n"
        with pytest.raises(StorageError) as caught, new_folder(target):
            pytest.fail("the block ran")
        assert str(caught.value) == f"{target}: another process is writing this folder; wait for it to end"
        assert len(names(tmp_path)) == 1  # the other one's, unharmed
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    with new_folder(target) as folder:
        (folder / "file").write_text("x")
    assert names(tmp_path) == ["target"] and names(target) == ["file"]


def test_overwriting_through_a_link_changes_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for content in ("one", "two"):
        with new_folder(tmp_path / "link", overwrite=True, marker="file") as folder:
            (folder / "file").write_text(content)
        assert (tmp_path / "link").is_symlink() and names(tmp_path) == ["link", "real"]
        assert (tmp_path / "real" / "file").read_text() == content


@pytest.mark.skipif(sys.platform != "linux", reason="needs the exchange of two names in one step")
def test_an_overwritten_folder_is_never_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    with new_folder(target) as folder:
        (folder / "file").write_text("0")
    stop, seen, missing = threading.Event(), set(), []
    rename = os.rename

    def slow_rename(source: Path, to: Path) -> None:  # an exchange in steps would show
        rename(source, to)
        time.sleep(0.01)

    monkeypatch.setattr(os, "rename", slow_rename)

    def reads() -> None:
        while not stop.is_set():
            try:
                seen.add((target / "file").read_text())
            except OSError as error:
                missing.append(error)

    reader = threading.Thread(target=reads)
    reader.start()
    try:
        for number in range(1, 60):
            with new_folder(target, overwrite=True, marker="file") as folder:
                (folder / "file").write_text(str(number))
    finally:
        stop.set()
        reader.join()
    assert not missing and len(seen) > 5 and seen <= {str(number) for number in range(60)}
    assert names(tmp_path) == ["target"]


def no_help_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tart.files.ctypes.CDLL", lambda name: object())


def test_without_help_from_the_kernel_folders_change_places_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_help_from_the_kernel(monkeypatch)
    for content in ("old", "new"):
        with new_folder(tmp_path / "target", overwrite=True, marker="file") as folder:
            (folder / "file").write_text(content)
    assert (tmp_path / "target" / "file").read_text() == "new" and names(tmp_path) == ["target"]


def test_a_rename_that_fails_half_way_gives_the_old_folder_its_name_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_help_from_the_kernel(monkeypatch)
    target = tmp_path / "target"
    with new_folder(target) as folder:
        (folder / "file").write_text("old")
    rename, calls = os.rename, []

    def second_fails(source: Path, to: Path) -> None:
        calls.append(to)
        if len(calls) == 2:
            raise OSError(errno.EIO, "input/output error")
        rename(source, to)

    monkeypatch.setattr(os, "rename", second_fails)
    with (
        pytest.raises(OSError, match="input/output error"),
        new_folder(target, overwrite=True, marker="file") as folder,
    ):
        (folder / "file").write_text("new")
    assert (target / "file").read_text() == "old" and names(tmp_path) == ["target"]


def test_what_killed_builds_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    hexadecimal = "0123456789abcdef" * 2
    mine, others = (
        f".fish.{hexadecimal}.new",
        # "fish.v2" is another folder, which somebody may be building right now
        [f".fish.v2.{hexadecimal}.new", f".other.{hexadecimal}.new", ".fish.notes.new"],
    )
    for name in (mine, *others):
        (tmp_path / name).mkdir()
    with new_folder(tmp_path / "fish"):
        assert not (tmp_path / mine).exists()
    assert names(tmp_path) == sorted(["fish", *others])


def test_two_folders_of_which_one_name_begins_with_the_other_are_built_at_once(tmp_path: Path) -> None:
    with new_folder(tmp_path / "fish.v2") as long_name, new_folder(tmp_path / "fish") as short_name:
        (long_name / "file").write_text("long")
        (short_name / "file").write_text("short")
    assert (tmp_path / "fish.v2" / "file").read_text() == "long"
    assert (tmp_path / "fish" / "file").read_text() == "short"


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b]c", "[!x]"])
def test_names_with_glob_signs_are_names(tmp_path: Path, name: str) -> None:
    hexadecimal = "f" * 32
    stale, other = tmp_path / f".{name}.{hexadecimal}.new", tmp_path / f".a-b.{hexadecimal}.new"
    stale.mkdir()
    other.mkdir()
    with new_folder(tmp_path / name) as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / name / "file").read_text() == "x" and not stale.exists() and other.exists()


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "lines"
    path.write_bytes(content)
    return path


def test_lines_without_byte_order_mark_and_windows_ends(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfone\r\ntwo\n\r\n\xef\xbb\xbffour")
    assert list(read_lines(path)) == [(1, "one"), (2, "two"), (3, ""), (4, "\ufefffour")]  # no mark but at the start
    assert list(read_lines(write(tmp_path, b""))) == []


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    for sign in ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"):
        path = write(tmp_path, f"a{sign}b\nc".encode())
        assert list(read_lines(path)) == [(1, f"a{sign}b"), (2, "c")]


def test_bytes_that_are_no_utf8_are_named_by_line_and_byte(tmp_path: Path) -> None:
    path = write(tmp_path, b"fine\nfour\xff\n")
    lines = read_lines(path)
    assert next(lines) == (1, "fine")
    with pytest.raises(DataError) as caught:
        next(lines)
    assert str(caught.value) == f"{path}:2: not UTF-8 (byte 5 of the line)"
    with pytest.raises(DataError, match=r":1: not UTF-8 \(byte 1 of the line\)"):
        list(read_lines(write(tmp_path, b"\xed\xa0\x80")))  # a surrogate, which UTF-8 doesn't allow


def test_files_that_can_not_be_opened_are_data_errors(tmp_path: Path) -> None:
    file = write(tmp_path, b"x")
    for path, problem in (
        (tmp_path / "gone", "no such file"),
        (tmp_path, "can't be read: Is a directory"),
        (file / "inside", "can't be read: Not a directory"),
        (tmp_path / ("x" * 300), "can't be read: File name too long"),
    ):
        with pytest.raises(DataError) as caught:
            next(read_lines(path))
        assert str(caught.value) == f"{path}: {problem}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": ', "not valid JSON (Expecting value"),
        ("", "not valid JSON (Expecting value"),
        ('{"a": 1} x', "not valid JSON (Extra data"),
        ('{"a": "\x00"}', "not valid JSON (Invalid control character"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "not valid JSON ("),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON (Exceeds the limit"),
        ("[1]", "wanted a JSON object, found list"),
        ("null", "wanted a JSON object, found NoneType"),
        ('"text"', "wanted a JSON object, found str"),
    ],
)
def test_what_is_no_json_object_is_refused_by_file_and_line(text: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_json_object(text, "some.jsonl", 7)
    assert str(caught.value).startswith(f"some.jsonl:7: {problem}")
    assert (caught.value.path, caught.value.line, caught.value.field) == ("some.jsonl", 7, None)


def test_a_json_object_is_parsed() -> None:
    assert parse_json_object('{"a": ["\\ud800", 1.5, null]}', "x") == {"a": ["\ud800", 1.5, None]}


def test_the_checksum_of_a_file_of_several_blocks(tmp_path: Path) -> None:
    import hashlib

    content = bytes(range(256)) * 10_000  # 2.4 blocks
    assert sha256_file(write(tmp_path, content)) == hashlib.sha256(content).hexdigest()


def test_a_folder_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    with (
        pytest.raises(StorageError, match=r"notes: holds no tart.json, so it isn't overwritten; choose another name"),
        new_folder(tmp_path / "notes", overwrite=True, marker="tart.json"),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "notes" / "diary.txt").read_text() == "mine"


def test_a_manifest_of_another_kind_is_not_overwritten(tmp_path: Path) -> None:
    def overwrite() -> None:
        with new_folder(tmp_path / "target", overwrite=True, kind="tart-index/2") as folder:
            (folder / "new").touch()

    (tmp_path / "target").mkdir()
    overwrite()  # an empty one
    for other in (
        '{"kind": "berri-collection/1"}',
        '{"name": "an application of the web"}',
        '{"kind": "tart-index-x/1"}',
    ):
        (tmp_path / "target" / "manifest.json").write_text(other)
        with pytest.raises(StorageError, match="target: is no tart-index folder, so it isn't overwritten"):
            overwrite()
        assert (tmp_path / "target" / "manifest.json").read_text() == other
    write_manifest(tmp_path / "target", "tart-index/1", {})  # of an older version
    overwrite()
    assert names(tmp_path / "target") == ["new"]
