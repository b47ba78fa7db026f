"""Progress of long work on stderr: a bar with rate and remaining time; without a terminal one line with the count."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Called with how many units were done since the last call."""

    def __call__(self, units: int = 1) -> None: ...


def silent(units: int = 1) -> None:
    """An `Advance` that shows nothing: what library calls use unless progress is asked for."""


@contextmanager
def progress(label: str, total: int | None, unit: str = "documents") -> Iterator[Advance]:
    """Show how far some work is.

    Args:
        label: what is done, such as "Encoding".
        total: how many units there are; None if that isn't known.
        unit: what is counted.
    """
    started, done = time.perf_counter(), 0

    def rate() -> float:
        return done / max(time.perf_counter() - started, 1e-9)

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit + ", {task.fields[rate]:,.0f}/s, left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as bar:
            task = bar.add_task(label, total=total, rate=0.0)

            def advance(units: int = 1) -> None:
                nonlocal done
                done += units
                bar.update(task, advance=units, rate=rate())

            yield advance
    else:

        def count(units: int = 1) -> None:
            nonlocal done
            done += units

        yield count
        seconds = time.perf_counter() - started
        print(f"{label}: {done:,} {unit} in {seconds:.1f} s ({rate():,.0f}/s)", file=sys.stderr)
