"""Recipes: TOML files that say how a model is trained, those that come with the project and a user's own."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from tart.errors import ConfigError, DataError
from tart.toml import TomlTable, read_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

R = TypeVar("R")
_FOLDER = files("tart.training") / "recipes"


def recipe_names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))


def read_recipe(cls: type[R], name: str | Path, changes: Iterable[str] = ()) -> R:
    """A recipe by the name of one that comes with the project, or from a file.

    Args:
        cls: what kind of recipe: a dataclass whose fields are the keys of the file, those of its tables dataclasses.
        name: a name, or the path of a TOML file.
        changes: "key=value" as on the command line: `loop.steps=100`, values as in TOML, bare words as strings.

    Raises:
        ConfigError: unknown recipe or changed key (near names are suggested), or a value out of its range.
        DataError: naming file and key: an unknown key, or a value of another kind.
    """
    path = Path(name)
    if not str(name).endswith(".toml"):
        if str(name) not in recipe_names():
            near = difflib.get_close_matches(str(name), recipe_names(), n=2, cutoff=0.4) or recipe_names()
            raise ConfigError(f"unknown recipe {str(name)!r}; did you mean {', '.join(near)}? A .toml file works too")
        path = Path(str(_FOLDER / f"{name}.toml"))
    table = read_toml(path)
    kind, wanted = table.take("kind", str), _kind_of(cls)
    if kind != wanted:
        raise table.error("kind", f"is a recipe for {kind!r}; this command takes those for {wanted!r}")
    return _changed(_filled(cls, table), changes)


def recipe_text(recipe: Any) -> str:
    """A recipe with all its values, as TOML."""
    lines = [f'kind = "{_kind_of(type(recipe))}"', *_lines(recipe)]
    return "\n".join(lines) + "\n"


def differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """What differs between two nested tables: "loop.steps: 100 became 200"."""
    found = []
    for key in sorted({*old, *new}):
        before, after, name = old.get(key), new.get(key), f"{where}{key}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{name}.")
        elif before != after:
            found.append(f"{name}: {before!r} became {after!r}")
    return found


def _kind_of(cls: type) -> str:
    return cls.__name__.removesuffix("Recipe").lower()


def _filled(cls: type[R], table: TomlTable) -> R:
    """A dataclass from a table; keys that are missing keep their default."""
    hints, values = get_type_hints(cls), dict[str, Any]()
    for one in dataclasses.fields(cls):  # type: ignore[arg-type]
        hint = hints[one.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            values[one.name] = _filled(hint, table.table(one.name))
            continue
        needed = one.default is dataclasses.MISSING
        if get_origin(hint) is tuple:
            found = table.take(one.name, list, list(one.default))  # type: ignore[arg-type]
            if not all(type(item) is get_args(hint)[0] for item in found):
                raise table.error(one.name, f"wanted a list of {get_args(hint)[0].__name__}, found {found!r}")
            values[one.name] = tuple(found)
        elif get_args(hint):  # a Literal
            known = get_args(hint)
            value = table.take(one.name, str, one.default)
            values[one.name] = table.check(one.name, value, known.__contains__, " or ".join(known))
        else:
            values[one.name] = table.take(one.name, hint, None if needed else one.default)
    table.finish()
    try:
        return cls(**values)
    except ConfigError as error:
        raise DataError(str(error), path=table.path) from None


def _changed(recipe: R, changes: Iterable[str]) -> R:
    """The recipe with some values changed, each named by its key or by table and key."""
    facts = json.loads(json.dumps(dataclasses.asdict(recipe)))  # type: ignore[call-overload]
    keys = {(table, key): None for table, inner in facts.items() if isinstance(inner, dict) for key in inner}
    keys.update({("", key): None for key, inner in facts.items() if not isinstance(inner, dict)})
    for change in changes:
        name, equals, text = change.partition("=")
        table, _, key = name.strip().rpartition(".")
        fitting = [one for one in keys if one[1] == key and table in ("", one[0])]
        if not equals or len(fitting) != 1:
            known = [".".join(filter(None, one)) for one in keys]
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise ConfigError(f"unknown setting {change!r}; wanted key=value, for example one of {', '.join(near)}")
        (facts[fitting[0][0]] if fitting[0][0] else facts)[key] = _value(text.strip())
    return _filled(type(recipe), TomlTable(facts, Path("command line")))


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _lines(recipe: Any) -> list[str]:
    tables, lines = [], []
    for one in dataclasses.fields(recipe):
        value = getattr(recipe, one.name)
        if dataclasses.is_dataclass(value):
            tables += ["", f"[{one.name}]", *_lines(value)]
        else:
            lines.append(f"{one.name} = {json.dumps(value)}")  # JSON's strings, numbers and lists are TOML's
    return lines + tables
