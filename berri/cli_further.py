"""Commands for what is there: convert and select make another folder of a collection, expand proposes wordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from berri.terminal import CardsOption, names_in
from tart.cli import BackendOption


def convert(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A collection; with --from, a folder of that layout.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    to: Annotated[str, typer.Option("--to", help="triplets, flagembedding, tevatron or beir.")] = "",
    layout: Annotated[str, typer.Option("--from", help="One of these; a collection is made of it.")] = "",
    text_format: Annotated[str, typer.Option(help="How texts are joined; a preset.")] = "tart-dual",
    instruction: Annotated[str, typer.Option(help="With --from: of queries that come without one.")] = "",
    license: Annotated[str, typer.Option(help="With --from: of the data.")] = "not stated",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Take the place of an existing folder.")] = False,
) -> None:
    """Write a collection in the layout of another tool, or make a collection of such a folder."""
    from berri.convert import convert as convert_collection
    from berri.convert_from import collection_from
    from tart.errors import ConfigError
    from tart.shards import Collection
    from tart.text_format import named_format

    form = named_format(text_format)
    if bool(to) == bool(layout):
        raise ConfigError("wanted either --to LAYOUT or --from LAYOUT")
    if layout:
        collection_from(folder, output, layout, form, instruction=instruction, license=license, overwrite=overwrite)
    else:
        convert_collection(Collection(folder), output, to, form, overwrite=overwrite)
    typer.echo(output)


def select(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A collection.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    queries: Annotated[Path | None, typer.Option(help="Queries of the target: JSONL with _id and text.")] = None,
    documents: Annotated[Path | None, typer.Option(help="Documents of the target, as tart index takes them.")] = None,
    count: Annotated[int, typer.Option("-n", help="How many training examples.")] = 10_000,
    model: Annotated[str, typer.Option("--model", "-m", help="The bi-encoder that says what is near.")] = "minilm",
    backend: BackendOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Take the place of an existing folder.")] = False,
) -> None:
    """Choose the training examples that are nearest to your own queries or documents, tasks taking turns."""
    from berri.select import select as select_examples
    from tart.index.readers import read_documents, read_queries
    from tart.models.load import load_encoder
    from tart.shards import Collection

    made = select_examples(
        Collection(folder),
        list(read_queries(queries)) if queries else [],
        load_encoder(model, backend=backend),  # type: ignore[arg-type]
        output,
        count=count,
        documents=list(read_documents(documents)) if documents else [],
        overwrite=overwrite,
    )
    typer.echo(f"{output}: {made.manifest['examples']['train']:,} training examples of {len(made.tasks)} tasks")


def expand(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file of proposals to make.")],
    tasks: Annotated[str, typer.Option(help="Names of tasks, joined by commas; all if not given.")] = "",
    count: Annotated[int, typer.Option("-n", help="How many proposals for a task, at most.")] = 4,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A language model: a folder, or the server's name of it; none: rules.")
    ] = "none",
    server: Annotated[str, typer.Option(help="An OpenAI-compatible address, such as http://127.0.0.1:8000/v1.")] = "",
    key_variable: Annotated[str, typer.Option(help="Environment variable with the server's key.")] = "",
    compare: Annotated[str, typer.Option(help="A bi-encoder that compares meanings, or none: words alone.")] = "minilm",
    cards: CardsOption = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 1,
) -> None:
    """Propose wordings, by rule or by a language model, in a file to accept them from; no card is changed."""
    from collections import Counter

    from berri.card import CARDS, load_cards
    from berri.expand import expand as propose
    from berri.expand import write_proposals
    from berri.settings import Settings
    from berri.text_models import LocalModel, ServedModel
    from tart.errors import ConfigError
    from tart.models.load import load_encoder

    known = load_cards(cards or CARDS)
    chosen = Settings(tasks=names_in(tasks)).choose(known)
    if server and model == "none":
        raise ConfigError("--server wants --model too: the server's name of the model")
    writer = None if model == "none" else ServedModel(server, model, key_variable) if server else LocalModel(model)
    encoder = None if compare == "none" else load_encoder(compare)
    counts: Counter[str] = Counter()
    proposals = propose(known, chosen, count=count, seed=seed, model=writer, encoder=encoder, counts=counts)
    made = write_proposals(output, proposals)
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in sorted(counts.items()) if reason != "proposed")
    typer.echo(f"{output}: {made:,} proposals for {len(chosen)} tasks; left out: {left_out or 'none'}")
