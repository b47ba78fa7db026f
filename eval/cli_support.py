"""What the commands of the command line share: their settings, the measuring, and how tables are printed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from eval.follow_suite import FollowTask
    from eval.report import Report
    from eval.task import Pool, Task


class Settings(NamedTuple):
    """The options that every command that measures has."""

    model: list[str] | None
    instructions: str
    measures: str
    max_queries: int | None
    rerank: str | None
    max_document_tokens: int | None
    backend: str
    out: Path | None
    overwrite: bool
    cache: Path | None
    seed: int
    as_json: bool


def measure(tasks: Pool | Sequence[Task | FollowTask], settings: Settings) -> None:
    """Evaluate, write, and print."""
    from eval.embedding_cache import EmbeddingCache
    from eval.runner import evaluate

    report = evaluate(
        tasks,
        settings.model or ["minilm"],
        instructions=names_in(settings.instructions),
        measures=names_in(settings.measures),
        max_queries=settings.max_queries,
        rerank=settings.rerank,
        max_document_tokens=settings.max_document_tokens,
        backend=settings.backend,  # type: ignore[arg-type]
        out=settings.out,
        overwrite=settings.overwrite,
        cache=EmbeddingCache(settings.cache, show_progress=True),
        seed=settings.seed,
        command=shlex.join(["tart-eval", *sys.argv[1:]]),
    )
    _print_report(report, settings)


def _print_report(report: Report, settings: Settings) -> None:
    if settings.as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        from eval.report_markdown import value_tables

        for title, head, body in value_tables(report):
            typer.echo(title)
            print_table(head, body, text_columns=3)
            typer.echo()
        for verdict in report.verdicts:
            typer.echo(f"{verdict.model} {verdict.retrieval}: {verdict.verdict} ({verdict.reason})")
    for note in report.notes:
        say(note)
    if settings.out is not None:
        say(f"{settings.out}: report.html, report.md, report.json and the run files")


def names_in(names: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in names.split(",") if name.strip()]


def print_table(head: Sequence[str], body: Iterable[Sequence[str]], text_columns: int) -> None:
    """Print a table on stdout; the first columns hold text, the others figures."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column, name in enumerate(head):
        table.add_column(name, justify="left" if column < text_columns else "right", overflow="fold")
    for row in body:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # in a file no line is broken
    console.print(table)


def say(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)
