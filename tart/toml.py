"""Reading TOML files that people write: each key is taken once, and what is left over is refused."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tart.errors import DataError
from tart.files import read_lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
_KINDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


def read_toml(path: str | Path) -> TomlTable:
    """The top table of a file.

    Raises:
        DataError: naming the file, if it is missing or no valid TOML.
    """
    try:
        content = tomllib.loads("\n".join(text for _, text in read_lines(path)))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError, as is a number of too many digits
        raise DataError(f"not valid TOML ({error})", path=path) from None
    return TomlTable(content, Path(path))


class TomlTable:
    """A table whose keys are taken one by one; `finish` refuses the rest.

    Args:
        content: the table.
        path: the file, for errors.
        where: name of the table in the file; "" for the top one.
    """

    def __init__(self, content: Mapping[str, Any], path: Path, where: str = "") -> None:
        self._content, self.path, self._where = dict(content), path, where
        self._taken: set[str] = set()

    def error(self, key: str, problem: str) -> DataError:
        """A DataError that names file and key."""
        return DataError(problem, path=self.path, field=f"{self._where}.{key}".strip("."))

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of a key; a key without a default must be there, and a string that must be there isn't blank.

        Raises:
            DataError: naming file and key.
        """
        self._taken.add(key)
        if key not in self._content:
            if default is None:
                raise self.error(key, f"is missing; wanted {_KINDS[kind]}")
            return default
        value = self._content[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"wanted {_KINDS[kind]}, found {value!r}")
        if default is None and isinstance(value, str) and not value.strip():
            raise self.error(key, "must not be blank")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings that aren't blank, each one once; none if the key is missing.

        Raises:
            DataError: naming file and key.
        """
        self._taken.add(key)
        value = self._content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
            raise self.error(key, f"wanted a list of strings that aren't blank, found {value!r}")
        for number, text in enumerate(value):
            if text in value[:number]:
                raise self.error(key, f"{text!r} comes twice")
        return tuple(value)

    def table(self, key: str) -> TomlTable:
        """A table below this one; an empty one if the key is missing."""
        return TomlTable(self.take(key, dict, {}), self.path, f"{self._where}.{key}".strip("."))

    def tables(self, key: str) -> list[TomlTable]:
        """The tables of `[[key]]`, none if the key is missing.

        Raises:
            DataError: naming file and key.
        """
        self._taken.add(key)
        value = self._content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, f"wanted [[{key}]] tables, found {value!r}")
        name = f"{self._where}.{key}".strip(".")
        return [TomlTable(item, self.path, f"{name}[{number}]") for number, item in enumerate(value, start=1)]

    def rest(self) -> dict[str, Any]:
        """All keys that were not taken yet, as they are."""
        left = {key: value for key, value in self._content.items() if key not in self._taken}
        self._taken.update(left)
        return left

    def finish(self) -> None:
        """Refuse keys that nobody took.

        Raises:
            DataError: naming file and key, with near names.
        """
        for key in self._content:
            if key not in self._taken:
                near = difflib.get_close_matches(key, self._taken, n=2)
                hint = (
                    f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(sorted(self._taken))}"
                )
                raise self.error(key, f"unknown key{hint}")

    def check(self, key: str, value: str, fits: Callable[[str], object], wanted: str) -> str:
        """The value, if it fits.

        Raises:
            DataError: naming file and key.
        """
        if not fits(value):
            raise self.error(key, f"wanted {wanted}, found {value!r}")
        return value
