"""The command line: tart-eval beir | lotte | x2 | follow | compare | check | cache.

Results go to stdout, everything else to stderr. Exit code 0: fine; 1: a TartError, told in one line, or a figure
that `check` finds off; 2: wrong usage.
"""

from __future__ import annotations

import difflib
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, NoReturn

import typer

from tart.cli import run_app
from tart.errors import ConfigError

if TYPE_CHECKING:
    from eval.report import Report
    from eval.task import Pool, Task

app = typer.Typer(
    help="Measure retrieval, and whether instructions are followed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

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
InstructionsOption = Annotated[
    str, typer.Option(help="Some of none, own, wordings, other, generic, repeat, separated by commas.")
]
MeasuresOption = Annotated[str, typer.Option(help="As ir_measures writes them, separated by commas.")]
MaxOption = Annotated[int | None, typer.Option(help="The first so many judged queries of each task.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for run files and the report.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Let a finished report be replaced.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of the embedding cache.")]
SeedOption = Annotated[int, typer.Option(help="Of the intervals and tests.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


class Settings(NamedTuple):
    """The options that every command that measures has."""

    model: list[str] | None
    instructions: str
    measures: str
    max_queries: int | None
    rerank: str | None
    out: Path | None
    overwrite: bool
    cache: Path | None
    seed: int
    as_json: bool


@app.command()
def beir(
    data: Annotated[Path | None, typer.Option(help="Folder with one folder for each data set, or one itself.")] = None,
    tasks: TasksOption = None,
    model: ModelOption = None,
    instructions: InstructionsOption = "none",
    measures: MeasuresOption = "nDCG@10,R@100,RR@10",
    max_queries: MaxOption = None,
    rerank: RerankOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure on test collections in BEIR's layout; without --data they are downloaded."""
    settings = Settings(model, instructions, measures, max_queries, rerank, out, overwrite, cache, seed, as_json)
    _measure(_beir_tasks(data, tasks), settings)


@app.command()
def x2(
    pool: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The pool: its tasks, their folders and wishes.")],
    tasks: TasksOption = None,
    model: ModelOption = None,
    instructions: InstructionsOption = "none,own",
    measures: MeasuresOption = "nDCG@10",
    max_queries: MaxOption = None,
    rerank: RerankOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure on several tasks, each closed (in its own corpus) and pooled (in all corpora together)."""
    from eval.task import Pool
    from eval.x2_suite import load_pool

    settings = Settings(model, instructions, measures, max_queries, rerank, out, overwrite, cache, seed, as_json)
    loaded = load_pool(pool)
    with_queries = [task.name for task in loaded.tasks if task.collection.queries]
    chosen = _choose(tasks, with_queries, str(pool))
    kept = [task if task.name in chosen else _without_queries(task) for task in loaded.tasks]
    _measure(Pool(loaded.name, tuple(kept)), settings)


@app.command()
def compare(
    sources: Annotated[list[Path], typer.Argument(help="Report folders or TREC run files; the first is the baseline.")],
    data: Annotated[
        Path | None, typer.Option(help="For run files: the folder of their task, in BEIR's layout.")
    ] = None,
    instructions: Annotated[str, typer.Option(help="How run files were made: none or own.")] = "none",
    measures: MeasuresOption = "nDCG@10",
    changed: Annotated[int, typer.Option(help="How many of the queries that changed most are shown.")] = 10,
    out: OutOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare runs or reports: paired differences, intervals, tests, and the queries that changed most."""
    from eval.compare import compare as compare_sources

    task = None
    if data is not None:
        from eval.beir_suite import load_beir

        task = load_beir(data)
    found = compare_sources(
        sources, task=task, instruction=instructions, measures=_split(measures), changed=changed, seed=seed
    )
    if out is not None:
        found.write(out)
    typer.echo(json.dumps(found.to_dict()) if as_json else found.markdown())


@app.command()
def check(
    reports: Annotated[list[Path] | None, typer.Argument(help="Report folders, or report.json files.")] = None,
    published: Annotated[Path | None, typer.Option(help="Another file of published figures.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare reports with published figures: OK, OFF, or not run."""
    from eval.check import as_text
    from eval.check import check as check_reports

    verdicts = check_reports(reports or [], published)
    if as_json:
        typer.echo(json.dumps([{**row._asdict(), "figure": row.figure._asdict()} for row in verdicts], default=str))
    else:
        typer.echo(as_text(verdicts), nl=False)
    if any(verdict.status == "OFF" for verdict in verdicts):
        sys.exit(1)


@app.command()
def cache(
    folder: Annotated[Path | None, typer.Option("--cache", help="Folder of the embedding cache.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List or clear the embedding cache."""
    from eval.embedding_cache import EmbeddingCache

    found = EmbeddingCache(folder)
    if clear:
        freed, left = found.clear()
        _say(f"{found.root}: {freed / 1e6:,.1f} MB freed")
        for path in left:
            _say(f"{path}: somebody is writing it, left")
        return
    entries = found.entries()
    if as_json:
        typer.echo(json.dumps([entry._asdict() for entry in entries], default=str))
        return
    rows = [
        [entry.created, entry.model, entry.part, entry.label, f"{entry.rows:,}", f"{entry.bytes / 1e6:,.1f}"]
        for entry in entries
    ]
    _print_table(["created", "model", "what", "corpus", "vectors", "MB"], rows, text_columns=4)
    _say(f"{found.root}: {len(entries):,} entries, {sum(entry.bytes for entry in entries) / 1e6:,.1f} MB")


def _measure(tasks: Pool | Sequence[Task], settings: Settings) -> None:
    """Evaluate, write, and print."""
    from eval.embedding_cache import EmbeddingCache
    from eval.runner import evaluate

    report = evaluate(
        tasks,
        settings.model or ["minilm"],
        instructions=_split(settings.instructions),
        measures=_split(settings.measures),
        max_queries=settings.max_queries,
        rerank=settings.rerank,
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
            _print_table(head, body, text_columns=3)
            typer.echo()
        for verdict in report.verdicts:
            typer.echo(f"{verdict.model} {verdict.retrieval}: {verdict.verdict} ({verdict.reason})")
    for note in report.notes:
        _say(note)
    if settings.out is not None:
        _say(f"{settings.out}: report.html, report.md, report.json and the run files")


def _beir_tasks(data: Path | None, names: str | None) -> list[Task]:
    from eval.beir_download import download_beir
    from eval.beir_suite import load_beir_suite
    from tart.models.packaged import cache_folder

    if data is not None:
        return load_beir_suite(data, None if names is None else _split(names))
    if names is None:
        raise ConfigError("give --data, a folder with data, or --tasks, the names of data sets to download")
    folder = cache_folder() / "beir"
    for name in _split(names):
        download_beir(name, folder)
    return load_beir_suite(folder, _split(names))


def _choose(names: str | None, there: Sequence[str], where: str) -> list[str]:
    """The names that are asked for, all of them known."""
    if names is None:
        return list(there)
    for name in _split(names):
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3, cutoff=0.5) or list(there)[:10]
            raise ConfigError(f"{where}: no task {name!r}; did you mean {', '.join(near)}?")
    return _split(names)


def _without_queries(task: Task) -> Task:
    return replace(task, collection=replace(task.collection, queries=(), qrels={}))


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _print_table(head: Sequence[str], body: Iterable[Sequence[str]], text_columns: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column, name in enumerate(head):
        table.add_column(name, justify="left" if column < text_columns else "right", overflow="fold")
    for row in body:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    console.print(table, width=None if console.is_terminal else 10_000)  # in a file no line is broken


def _say(text: str) -> None:
    typer.echo(text, err=True)


def main() -> NoReturn:
    """Entry point of the command `tart-eval`."""
    run_app(app, told="eval")


if __name__ == "__main__":
    main()
