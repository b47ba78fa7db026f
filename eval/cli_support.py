"""What the commands of the command line share: their settings, the measuring, and how tables are printed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

from tart.cli import BackendOption

if TYPE_CHECKING:
    from eval.follow_suite import FollowTask
    from eval.report import Report
    from eval.task import Pool, Task


TasksOption = Annotated[str | None, typer.Option(help="Names, separated by commas; all if left out.")]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="What is measured: a model, bm25, hybrid, hybrid:MODEL, or a TREC run file; may be given several times. "
        "Default: minilm.",
    ),
]
RerankOption = Annotated[str | None, typer.Option(help="A cross-encoder that orders the best 100 anew.")]
TokensOption = Annotated[int | None, typer.Option(help="Cut documents here; they are cut where the model ends anyway.")]
InstructionsOption = Annotated[
    str, typer.Option(help="Some of none, own, wordings, other, generic, repeat, separated by commas.")
]
MeasuresOption = Annotated[str, typer.Option(help="As ir_measures writes them, separated by commas.")]
SplitOption = Annotated[str, typer.Option(help="Which judgements.")]
MaxOption = Annotated[int | None, typer.Option(help="The first so many judged queries of each task.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for run files and the report.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Let a finished report be replaced.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of the embedding cache.")]
SeedOption = Annotated[int, typer.Option(help="Of the intervals and tests.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


class Settings(NamedTuple):
    """The options that every command that measures has."""

    model: ModelOption = None
    instructions: InstructionsOption = "none"
    measures: MeasuresOption = "nDCG@10"
    max_queries: MaxOption = None
    rerank: RerankOption = None
    max_document_tokens: TokensOption = None
    backend: BackendOption = "auto"
    out: OutOption = None
    overwrite: OverwriteOption = False
    cache: CacheOption = None
    seed: SeedOption = 0
    as_json: JsonOption = False


def takes_settings(**defaults: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `Settings`, which it gets joined as its argument `settings`.

    Args:
        defaults: those that differ from the ones that stand in `Settings`.
    """
    hints = get_type_hints(Settings, include_extras=True)
    values = {**Settings._field_defaults, **defaults}
    options = [Parameter(name, Parameter.KEYWORD_ONLY, default=values[name], annotation=hints[name]) for name in values]

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            settings = Settings(**{name: given.pop(name) for name in values})
            command(**given, settings=settings)

        own = [one for one in signature(command, eval_str=True).parameters.values() if one.name != "settings"]
        run.__signature__ = Signature(  # type: ignore[attr-defined]
            [*(one.replace(kind=Parameter.KEYWORD_ONLY) for one in own), *options]
        )
        return run

    return wrap


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
