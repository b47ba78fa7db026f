"""What the command line prints: tables and short lines."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_tasks(tasks: dict[str, dict[str, float]]) -> None:
    """What `collection_stats` counted of each task: sizes, then negatives by kind and origin."""
    keys = ("train", "dev", "positives", "documents", "with hard and unfollowing")
    origins = sorted({key for counts in tasks.values() for key in counts if ": " in key})
    for columns in ((*keys, "mean query characters", "mean document characters"), tuple(origins)):
        rows = [(task, *(f"{counts.get(key, 0):,}" for key in columns)) for task, counts in tasks.items()]
        print_table(("task", *columns), rows)


def short(text: str) -> str:
    """One line of at most 160 characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 160 else f"{flat[:157]}..."
