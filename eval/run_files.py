"""TREC run files whose ids may hold anything.

The format separates columns by white space. An id that holds some is written with percent signs, as in a URL; other ids
stand as they are, and what comes back is always what went in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from tart.run import Hit, Run

_UNWRITABLE = re.compile("%(?=[0-9A-Fa-f]{2})|\\s|[\ud800-\udfff]")  # a percent sign that would be read as an escape


def escape_id(name: str) -> str:
    """An id as a run file takes it.

    >>> escape_id("my notes.txt"), escape_id("50% off"), escape_id("a%20b")
    ('my%20notes.txt', '50%%20off', 'a%2520b')
    """
    return _UNWRITABLE.sub(lambda found: quote(found.group(), safe="", errors="surrogatepass"), name)


def unescape_id(name: str) -> str:
    """The inverse of `escape_id`."""
    return unquote(name, errors="surrogatepass")


def run_name(parts: Sequence[str]) -> str:
    """A file name for a run, different for different parts, whatever signs they hold and however long they are.

    >>> run_name(["x2", "my task", "org/model"])
    'x2,my task,org%2Fmodel.trec'
    """
    return ",".join(map(_name, parts)) + ".trec"


def is_run_of(file: str, task: str, pool: str) -> bool:
    """Whether `run_name` made a file's name of suite, this task, model, retrieval, condition and this pool.

    >>> is_run_of("x2,my task,org%2Fmodel,dense,none,closed.trec", "my task", "closed")
    True
    """
    names = file.removesuffix(".trec").split(",")
    return len(names) == 6 and (names[1], names[5]) == (_name(task), _name(pool))


def write_run(run: Run, path: Path, tag: str) -> None:
    """Write a TREC run file.

    Raises:
        StorageError: if the disk is full; the old file, if any, is kept.
    """
    _renamed(run, escape_id).write_trec(path, escape_id(tag) or "tart")


def read_run(path: Path, depth: int | None = None) -> Run:
    """Read what `write_run` wrote; see `Run.read_trec`."""
    return _renamed(Run.read_trec(path, depth), unescape_id)


def _name(part: str) -> str:
    name = quote(part, safe=" +")
    if len(name) <= 60:  # a file name may have 255 signs
        return name
    return f"{name[:40]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _renamed(run: Run, change: Callable[[str], str]) -> Run:
    hits = {change(query_id): [Hit(change(hit.doc_id), hit.score) for hit in run[query_id]] for query_id in run}
    return Run(hits, run.depth)
