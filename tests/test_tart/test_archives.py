"""Archives from strangers stay in their folder."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from tart.archives import unpack_zip
from tart.errors import DataError


def make_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], packed: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression=packed) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.fixture
def goal(tmp_path: Path) -> Path:
    (tmp_path / "goal").mkdir()
    return tmp_path / "goal"


def test_the_one_folder_is_unpacked_without_its_name(tmp_path: Path, goal: Path) -> None:
    members = ("top/", b""), ("top/a.txt", b"one"), ("top/deep/b.txt", b"two")
    unpack_zip(make_zip(tmp_path / "x.zip", *members), goal)
    assert {p.relative_to(goal).as_posix(): p.read_bytes() for p in goal.rglob("*") if p.is_file()} == {
        "a.txt": b"one",
        "deep/b.txt": b"two",
    }


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("top/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


HOSTILE = {
    "parent": (("top/../../evil", b"x"), "points outside"),
    "absolute": (("/tmp/evil", b"x"), "points outside"),
    "windows drive": (("C:/evil", b"x"), "points outside"),
    "backslashes": (("top\\..\\..\\evil", b"x"), "points outside"),
    "link": ((link(), b"/etc/passwd"), "is a link"),
    "no top folder": (("evil", b"x"), "stands outside the archive's one top folder"),
    "two top folders": (("other/evil", b"x"), "wanted one top folder, found 2"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members_are_refused_and_nothing_is_written(tmp_path: Path, goal: Path, name: str) -> None:
    member, message = HOSTILE[name]
    with pytest.raises(DataError, match=f"x.zip: refused: .*{message}"):
        unpack_zip(make_zip(tmp_path / "x.zip", ("top/fine", b"x"), member), goal)
    assert not list(goal.iterdir()) and not (tmp_path / "evil").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(tmp_path: Path, goal: Path) -> None:
    with pytest.raises(DataError, match="member 'top/a' comes twice"):
        unpack_zip(make_zip(tmp_path / "x.zip", ("top/a", b"1"), ("top/a", b"2")), goal)


def test_a_bomb_is_refused(tmp_path: Path, goal: Path) -> None:
    bomb = make_zip(tmp_path / "x.zip", ("top/zeros", bytes(30_000_000)), packed=zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match="would unpack to 30,000,000 bytes, over 200 times its size"):
        unpack_zip(bomb, goal)
    assert not list(goal.iterdir())


def test_broken_archives_are_named(tmp_path: Path, goal: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"x.zip: no whole zip archive"):
        unpack_zip(tmp_path / "x.zip", goal)
    whole = make_zip(tmp_path / "y.zip", ("top/a", b"content" * 99)).read_bytes()
    (tmp_path / "y.zip").write_bytes(whole[:50] + b"\x00" + whole[51:])
    with pytest.raises(DataError, match=r"y.zip: no whole zip archive"):
        unpack_zip(tmp_path / "y.zip", goal)
