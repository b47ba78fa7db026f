"""The command line: tart-eval beir | lotte | x2 | x2-paper | follow | compare | check | cache.

Results go to stdout, everything else to stderr. Exit code 0: fine; 1: a TartError, told in one line, or a figure
that `check` finds off; 2: wrong usage.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from eval.cli_support import (
    JsonOption,
    MeasuresOption,
    OutOption,
    SeedOption,
    Settings,
    SplitOption,
    TasksOption,
    measure,
    names_in,
    print_table,
    say,
    takes_settings,
)
from tart.cli import OverwriteOption, run_app
from tart.errors import ConfigError

if TYPE_CHECKING:
    from eval.task import Pool, Task

app = typer.Typer(
    help="Measure retrieval, and whether instructions are followed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
@takes_settings(measures="nDCG@10,R@100,RR@10")
def beir(
    data: Annotated[Path | None, typer.Option(help="Folder with one folder for each data set, or one itself.")] = None,
    split: Annotated[str | None, typer.Option(help="Which judgements; the official ones if left out.")] = None,
    tasks: TasksOption = None,
    *,
    settings: Settings,
) -> None:
    """Measure on test collections in BEIR's layout; without --data they are downloaded."""
    measure(_beir_tasks(data, tasks, split), settings)


@app.command()
@takes_settings(instructions="none,own")
def x2(
    pool: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The pool: its tasks, their folders and wishes.")],
    tasks: TasksOption = None,
    *,
    settings: Settings,
) -> None:
    """Measure on several tasks, each closed (in its own corpus) and pooled (in all corpora together)."""
    from eval.task import Pool
    from eval.x2_suite import load_pool

    loaded = load_pool(pool)
    with_queries = [task.name for task in loaded.tasks if task.collection.queries]
    chosen = _choose(tasks, with_queries, str(pool))
    kept = [task if task.name in chosen else _without_queries(task) for task in loaded.tasks]
    measure(Pool(loaded.name, tuple(kept)), settings)


@app.command("x2-paper")
def x2_paper(
    sources: Annotated[Path, typer.Argument(help="Folder with the published files, one folder for each task.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make; x2 takes the pool file in it.")],
    tasks: TasksOption = None,
    drawn: Annotated[int, typer.Option(help="How many queries are drawn of a task that has many.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Build the pool of the paper, X²-Retrieval, from the published files of its tasks."""
    from eval.x2_paper import build_paper_pool

    pool = build_paper_pool(
        sources, out, names=_names(tasks), seed=seed, drawn=drawn, overwrite=overwrite, show_progress=True
    )
    typer.echo(pool)


@app.command()
@takes_settings(measures="Success@5")
def lotte(
    data: Annotated[Path, typer.Option(help="LoTTE's folder, with one folder for each topic.")],
    split: SplitOption = "test",
    tasks: TasksOption = None,
    *,
    settings: Settings,
) -> None:
    """Measure on LoTTE's official layout; tasks are called TOPIC-search and TOPIC-forum."""
    from eval.lotte_suite import load_lotte_suite

    measure(load_lotte_suite(data, _names(tasks), split=split), settings)


@app.command()
@takes_settings(instructions="none,own")
def follow(
    data: Annotated[Path, typer.Option(help="Folder with one folder for each data set, or one itself.")],
    split: SplitOption = "test",
    tasks: TasksOption = None,
    *,
    settings: Settings,
) -> None:
    """Measure whether a changed instruction changes what is found: p-MRR and Robustness@k."""
    from eval.follow_suite import load_follow_suite

    measure(load_follow_suite(data, _names(tasks), split=split), settings)


@app.command()
def compare(
    sources: Annotated[list[Path], typer.Argument(help="Report folders or TREC run files; the first is the baseline.")],
    data: Annotated[
        Path | None,
        typer.Option(help="For run files: the folder of their task, in BEIR's layout, or FILE.toml of their pool."),
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

    found = compare_sources(
        sources,
        task=None if data is None else _task_or_pool(data),
        instruction=instructions,
        measures=names_in(measures),
        changed=changed,
        seed=seed,
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
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of its entries.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List or clear the embedding cache."""
    from eval.embedding_cache import EmbeddingCache

    found = EmbeddingCache(folder)
    if clear:
        freed, left = found.clear()
        say(f"{found.root}: {freed / 1e6:,.1f} MB freed")
        for path in left:
            say(f"{path}: somebody is writing it, left")
        return
    entries = found.entries()
    if as_json:
        typer.echo(json.dumps([entry._asdict() for entry in entries], default=str))
        return
    rows = [
        [entry.created, entry.model, entry.part, entry.label, f"{entry.rows:,}", f"{entry.bytes / 1e6:,.1f}"]
        for entry in entries
    ]
    print_table(["created", "model", "what", "corpus", "vectors", "MB"], rows, text_columns=4)
    say(f"{found.root}: {len(entries):,} entries, {sum(entry.bytes for entry in entries) / 1e6:,.1f} MB")


def _beir_tasks(data: Path | None, names: str | None, split: str | None) -> list[Task]:
    from eval.beir_download import download_beir
    from eval.beir_suite import load_beir_suite
    from tart.models.packaged import cache_folder

    if data is not None:
        return load_beir_suite(data, _names(names), split=split)
    if names is None:
        raise ConfigError("give --data, a folder with data, or --tasks, the names of data sets to download")
    folder = cache_folder() / "beir"
    for name in names_in(names):
        download_beir(name, folder)
    return load_beir_suite(folder, names_in(names), split=split)


def _task_or_pool(data: Path) -> Task | Pool:
    from eval.beir_suite import load_beir
    from eval.x2_suite import load_pool

    return load_pool(data) if data.suffix == ".toml" else load_beir(data)


def _names(joined: str | None) -> list[str] | None:
    return None if joined is None else names_in(joined)


def _choose(names: str | None, there: Sequence[str], where: str) -> list[str]:
    """The names that are asked for, all of them known."""
    if names is None:
        return list(there)
    for name in names_in(names):
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3, cutoff=0.5) or list(there)[:10]
            raise ConfigError(f"{where}: no task {name!r}; did you mean {', '.join(near)}?")
    return names_in(names)


def _without_queries(task: Task) -> Task:
    return replace(task, collection=replace(task.collection, queries=(), qrels={}))


def main() -> NoReturn:
    """Entry point of the command `tart-eval`."""
    run_app(app, told="eval")


if __name__ == "__main__":
    main()
