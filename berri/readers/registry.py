"""The table of readers."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable

from berri.record import Rows
from tart.errors import ConfigError

Reader = Callable[..., Rows]
READERS: dict[str, Reader] = {}


def reader(name: str) -> Callable[[Reader], Reader]:
    """Register a reader under the name that cards use.

    A reader takes `SourceFiles` and, as keyword arguments, the settings of its card, and yields rows. What is wrong
    with a row it tells to `files.bad(...)`, and goes on with the next.
    """

    def register(function: Reader) -> Reader:
        if name in READERS:
            raise ConfigError(f"two readers are called {name!r}")
        READERS[name] = function
        return function

    return register


def find_reader(name: str) -> Reader:
    """A reader by name; every module of `berri.readers` is imported first.

    Raises:
        ConfigError: unknown name (near ones are suggested).
    """
    package = importlib.import_module("berri.readers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"berri.readers.{module.name}")
    if name not in READERS:
        near = difflib.get_close_matches(name, READERS, n=3) or sorted(READERS)
        raise ConfigError(f"unknown reader {name!r}; did you mean {', '.join(near)}?")
    return READERS[name]
