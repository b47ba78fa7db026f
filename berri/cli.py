"""The command line: berri list | collect | check | stats | show | expand | select | convert.

Results go to stdout, everything else to stderr. Exit code 0: fine; 1: a TartError, told in one line, or a card that
doesn't hold; 2: wrong usage.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from berri.cli_further import convert, expand, select
from berri.terminal import CardsOption, names_in, print_stats, print_table, short
from tart.cli import BackendOption, run_app

app = typer.Typer(
    help="Collects retrieval datasets as tasks with instructions, for training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

OfflineOption = Annotated[bool, typer.Option("--offline", help="Download nothing; what isn't here is left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


@app.command("list")
def list_tasks(
    license: Annotated[str, typer.Option(help="open: free licenses only; any.")] = "any",
    cards: CardsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the tasks: what is asked, what is wanted, from where, under which license.

    Files come from their own "address", from the "hub", or from nowhere but a "mirror" of yours.
    """
    from berri.card import CARDS, load_cards
    from berri.settings import Settings

    chosen = Settings(license=license).choose(load_cards(cards or CARDS))  # type: ignore[arg-type]
    if as_json:
        facts = {
            name: {"query": card.query_is, "document": card.document_is, "intent": card.intent, "unit": card.unit}
            | {"domain": card.domain, "license": card.source.license, "class": card.source.license_class}
            | {"files": card.source.comes_from}
            | {"family": card.family, "level": card.level, "wordings": [one.text for one in card.wordings]}
            for name, card in chosen.items()
        }
        print(json.dumps(facts, indent=2))
        return
    rows = [
        (
            name,
            f"{card.query_is} → {card.document_is}",
            card.domain,
            card.source.license_class,
            card.source.comes_from,
        )
        for name, card in chosen.items()
    ]
    print_table(("task", "query → document", "domain", "license", "files"), rows)


@app.command()
def collect(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    mirror: Annotated[
        Path | None,
        typer.Option(help="A folder with one folder of files for each source; what it lacks is downloaded."),
    ] = None,
    offline: OfflineOption = False,
    license: Annotated[str, typer.Option(help="open: sources of free licenses only; any.")] = "any",
    cards: CardsOption = None,
    tasks: Annotated[str, typer.Option(help="Names of tasks, joined by commas; all if not given.")] = "",
    per_task: Annotated[int, typer.Option(help="Most examples of one task.")] = 5_000,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="1: the largest task gives --per-task, others in proportion to their size; more: evener; not given: "
            "every task gives up to --per-task."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="A folder of test collections to keep out; or a name, such as quora, for what cards know."),
    ] = None,
    model: Annotated[str, typer.Option(help="A bi-encoder that mines too, or none: BM25 alone.")] = "minilm",
    reranker: Annotated[
        str | None,
        typer.Option(help="A cross-encoder that judges hard negatives; none that adds to a bi-encoder's score."),
    ] = None,
    backend: BackendOption = "auto",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 1,
    on_error: Annotated[str, typer.Option(help="stop at the first bad row or file, or skip it and say so.")] = "stop",
    workers: Annotated[int | None, typer.Option(help="Processes; all cores if not given.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Take the place of an existing collection.")] = False,
) -> None:
    """Collect training examples: read, clean, keep test data out, split, instruct, mine negatives, write shards."""
    from berri.against import folders_and_names
    from berri.card import CARDS, load_cards
    from berri.pipeline import collect as collect_examples
    from berri.settings import Settings
    from tart.files import usable_cores

    folders, names = folders_and_names(against or ())
    settings = Settings(
        seed=seed,
        mirror=mirror,
        download=not offline,
        license=license,  # type: ignore[arg-type]
        tasks=names_in(tasks),
        per_task=per_task,
        temperature=temperature,
        against=folders,
        without=names,
        model=None if model == "none" else model,
        reranker=reranker,
        backend=backend,  # type: ignore[arg-type]
        on_error=on_error,  # type: ignore[arg-type]
        workers=workers or usable_cores(),
    )
    made = collect_examples(output, settings, cards=load_cards(cards or CARDS), overwrite=overwrite).manifest
    counts = made["examples"]
    examples = f"{counts['train']:,} training and {counts['dev']:,} development examples"
    print(f"{output}: {examples} of {len(made['tasks'])} tasks")


@app.command()
def check(
    mirror: Annotated[
        Path | None,
        typer.Option(
            help="A folder with one folder of files for each source; without it and --download no file is looked at."
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the files that aren't in the mirror.")] = False,
    cards: CardsOption = None,
) -> None:
    """Check the cards; with their files at hand, also that each source gives what its cards expect."""
    from berri.card import CARDS, load_cards
    from berri.check import check_cards

    found = list(check_cards(load_cards(cards or CARDS), mirror, download))
    wrong = [one for one in found if one.verdict == "off"]
    for one in found:
        if one.verdict != "ok":
            print(f"{one.verdict}: {one.task}: {one.remark}")
    counted = sum(one.pairs is not None for one in found)
    away = sum(one.verdict == "not here" for one in found)
    print(f"{len(found)} cards: {len(found) - len(wrong)} hold, {len(wrong)} don't; {counted} counted, {away} not here")
    if wrong:
        sys.exit(1)


@app.command()
def stats(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A collection; the cards if not given.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="A folder that gets the same as plots.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Count tasks by family, intent, unit, domain; of a collection, negatives by kind, lengths, duplicates, twins."""
    from berri.stats import card_stats, collection_stats
    from tart.shards import Collection

    if folder is None:
        from berri.card import load_cards

        facts = card_stats(load_cards())
    else:
        facts = collection_stats(Collection(folder))
    if plots is not None:
        from berri.plots import plot_stats

        print(*plot_stats(facts, plots), sep="\n", file=sys.stderr)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    print_stats(facts)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A collection.")],
    task: Annotated[str, typer.Option(help="A task; each in turn if not given.")] = "",
    count: Annotated[int, typer.Option("-n", help="How many examples of a task.")] = 3,
    split: Annotated[str, typer.Option(help="train or dev.")] = "train",
    text_format: Annotated[str, typer.Option(help="How a model reads them; a preset.")] = "tart-dual",
) -> None:
    """Print examples as a model reads them, with each negative's kind."""
    from tart.shards import Collection
    from tart.text_format import named_format

    collection, form = Collection(folder), named_format(text_format)
    for name in [task] if task else list(collection.tasks):
        for example in islice(collection.examples(split, name), count):  # type: ignore[arg-type]
            print(f"\n{example.example_id}\n  query     {short(form.query_text(example.query))}")
            for document in example.positives:
                print(f"  positive  {short(form.document_text(document))}")
            for one in example.negatives:
                print(f"  {one.kind.value}, {one.origin}  {short(form.document_text(one.document))}")


app.command()(convert)
app.command()(select)
app.command()(expand)


def main() -> NoReturn:
    """Entry point of the command `berri`."""
    run_app(app, told="berri")


if __name__ == "__main__":
    main()
