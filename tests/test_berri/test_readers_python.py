"""The reader of Python functions: rows worked out by hand, and what it leaves out."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError

SHAPES = '''
class Box:
    def find_HTTPServer_by_name(self, name):
        """Look a server up by its ``name``,
        whatever :class:`~shapes.Case` it is in.

        It is searched from the front, so that of two servers with one name
        the first is found.

        Parameters
        ----------
        name : str

        Not details any more, because parameters have begun above this line of text.
        """
        # the docstring is gone
        return self.servers[name.lower()]

async def area(box): "Multiply both sides of it."; return box.a * box.b

def undocumented(a):
    return a

def only_documented():
    """Do nothing at all, ever."""

def brief():
    """Too few words."""
    return 1

def _private():
    """Nobody should have to read this."""
    return 2
'''


def wheel(folder: Path, **members: str) -> SourceFiles:
    with zipfile.ZipFile(folder / "shapes-1.0-py3-none-any.whl", "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return SourceFiles(folder, ["shapes-1.0-py3-none-any.whl"])


def rows(files: SourceFiles) -> list[dict[str, str | None]]:
    return list(find_reader("python-wheels")(files))


def test_a_function_its_summary_details_and_name(tmp_path: Path) -> None:
    assert rows(wheel(tmp_path, shapes__box=SHAPES)) == [
        {
            "code": "def find_HTTPServer_by_name(self, name):\n    # the docstring is gone\n"
            "    return self.servers[name.lower()]",
            "summary": "Look a server up by its name, whatever shapes.Case it is in.",
            "details": "It is searched from the front, so that of two servers with one name the first is found.",
            "name": "find http server by name",
        }
    ]


MORE = '''
def stub(path):
    """Read whatever lies under a path."""
    raise NotImplementedError

def outer(values):
    """Sort I{values} as L{sorted<builtins.sorted>} does,
    with C{True} first.
    Args:
        values: any of them

    This is not read any more, because the arguments have begun above this paragraph.
    """
    def key(value):
        """Say where a value belongs."""
        return not value
    return sorted(values, key=key)

def convolve(image):
    """3x3 convolution with `padding <https://example.org>`_ by *width*."""
    return image
'''


def test_marks_go_and_what_does_nothing_is_left_out(tmp_path: Path) -> None:
    found = rows(wheel(tmp_path, shapes__more=MORE))
    assert [row["summary"] for row in found] == [
        "Sort values as sorted does, with True first.",
        "3x3 convolution with padding by width.",
    ]
    assert (
        found[0]["details"] is None and "Say where" not in str(found[0]["code"]) and "def key" in str(found[0]["code"])
    )


def test_tests_and_bundled_packages_are_left_out(tmp_path: Path) -> None:
    files = wheel(tmp_path, shapes__tests__box=SHAPES, shapes___vendor__box=SHAPES, shapes__test_box=SHAPES)
    assert rows(files) == []


def test_a_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shapes/bad\.py: no Python of this version"):
        rows(wheel(tmp_path, shapes__bad="def ("))


def test_form_feeds_and_other_line_ends_shift_nothing(tmp_path: Path) -> None:
    text = SHAPES.replace("class Box", "\f\nclass Box").replace("\n", "\r\n")
    assert rows(wheel(tmp_path, shapes__box=text)) == rows(wheel(tmp_path, shapes__box=SHAPES))


def test_what_is_no_plain_member_is_refused(tmp_path: Path) -> None:
    files = wheel(tmp_path, shapes__box=SHAPES)
    path = tmp_path / files.names[0]
    link = zipfile.ZipInfo("shapes/link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="is a link or a device"):
        rows(files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("shapes/box.py", SHAPES)
    with pytest.raises(DataError, match="packed unusually"):
        rows(files)


def test_a_member_never_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    files, size = SourceFiles(tmp_path, ["bomb.whl"]), 1 << 26
    path = tmp_path / "bomb.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shapes/box.py", "\n" * size)
    said = struct.pack("<L", size)
    assert path.read_bytes().count(said) >= 2  # in the directory, and before the member
    path.write_bytes(path.read_bytes().replace(said, struct.pack("<L", 12)))
    tracemalloc.start()
    with pytest.raises(DataError, match="no whole archive"):
        rows(files)
    assert tracemalloc.get_traced_memory()[1] < size / 8
    tracemalloc.stop()


def test_a_member_outside_the_wheel_and_a_damaged_wheel_are_refused(tmp_path: Path) -> None:
    files = wheel(tmp_path, **{"..__bad": "x = 1"})
    with pytest.raises(DataError, match="points outside the archive"):
        rows(files)
    (tmp_path / files.names[0]).write_bytes(b"PK no wheel")
    with pytest.raises(DataError, match="no whole archive"):
        rows(files)
