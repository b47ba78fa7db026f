"""What the commands of the command line share: options, tables and short lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

CardsOption = Annotated[Path | None, typer.Option(help="A folder of cards of your own, in place of the project's.")]


def names_in(joined: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name.strip() for name in joined.split(",") if name.strip())


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = 10_000  # in a file no line is broken
    console.print(table)


def print_stats(facts: Mapping[str, Any]) -> None:
    """What `card_stats` or `collection_stats` counted."""
    for name, value in facts.items():
        if name == "tasks" and isinstance(value, dict):
            _print_tasks(value)
        elif isinstance(value, dict):
            print_table((name, "count"), [(key, f"{count:,}") for key, count in value.items()])
        else:
            typer.echo(f"{name}: {value:,}")


def _print_tasks(tasks: dict[str, dict[str, float]]) -> None:
    """Sizes, then negatives by kind and origin."""
    keys = ("train", "dev", "positives", "documents", "with hard and unfollowing")
    origins = sorted({key for counts in tasks.values() for key in counts if ": " in key})
    for columns in ((*keys, "mean query characters", "mean document characters"), tuple(origins)):
        rows = [(task, *(f"{counts.get(key, 0):,}" for key in columns)) for task, counts in tasks.items()]
        print_table(("task", *columns), rows)


def short(text: str) -> str:
    """One line of at most 160 characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 160 else f"{flat[:157]}..."
