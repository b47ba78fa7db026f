"""The command line: tart index | search | tune | demo | info | export | train.

Results go to stdout, everything else to stderr. Exit code 0: fine; 1: a TartError, told in one line; 2: wrong usage.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tart.errors import ConfigError, TartError
from tart.models import DEFAULT_MODEL
from tart.text_format import PRESETS
from tart.training.cli import train_app

if TYPE_CHECKING:
    from tart.collection import Query
    from tart.retrieval.searcher import Searcher

app = typer.Typer(
    help="Retrieval with instructions: say what you search for, and in plain words what you want back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(train_app, name="train")

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Short name, folder, or hub id.")]
BackendOption = Annotated[str, typer.Option(help="torch; lean: faster on a CPU; lean-int8: less precise too; auto.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Take the place of an existing folder.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--text-format",
        help=f"How instruction and query are joined, if the model's folder doesn't say: {', '.join(PRESETS)}.",
    ),
]


@app.command()
def index(
    corpus: Annotated[str, typer.Argument(help="corpus.jsonl (BEIR), .tsv, a folder, or - for JSONL on stdin.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The index folder to make.")],
    model: ModelOption = DEFAULT_MODEL,
    overwrite: OverwriteOption = False,
    text_format: FormatOption = None,
    backend: BackendOption = "auto",
    ann: Annotated[
        str | None,
        typer.Option("--ann", help="Tune it with this faiss index, such as HNSW32."),
    ] = None,
) -> None:
    """Build an index of a corpus."""
    from tart.index.approximate import new_index
    from tart.models.describe import describe_backend
    from tart.models.load import load_encoder
    from tart.retrieval.searcher import Searcher
    from tart.retrieval.tuning import tune

    encoder = load_encoder(model, text_format=text_format, backend=backend)  # type: ignore[arg-type]
    if ann is not None:
        new_index(ann, encoder.dim)  # a wrong string is told before the long part
    searcher = Searcher.build(corpus, encoder, output, overwrite=overwrite, show_progress=True)
    _say(f"{model} ran on {encoder.backend}: {describe_backend(model, backend)['why']}")  # type: ignore[arg-type]
    facts = searcher.manifest
    if facts["cut_documents"]:
        _say(
            f"{facts['cut_documents']:,} of {facts['documents']:,} documents are longer than {model} reads: "
            f"{facts['cut_tokens']:,} tokens at their ends can't be found by vectors"
        )
    print(f"{output}: {facts['documents']:,} documents")
    if ann is not None:
        print(tune(output, factories=[ann], show_progress=True).chosen.summary())


@app.command()
def search(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An index folder.")],
    query: Annotated[str | None, typer.Argument(help="What you search for.")] = None,
    instruction: Annotated[str | None, typer.Option("--instruction", "-i", help="What you want back.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Many queries: JSONL with _id, text, instruction.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many documents per query.")] = 10,
    mode: Annotated[str, typer.Option(help="dense, sparse or hybrid.")] = "dense",
    rerank: Annotated[str | None, typer.Option(help="A cross-encoder that orders the best 100 anew.")] = None,
    run: Annotated[Path | None, typer.Option(help="Write a TREC run file here instead of showing texts.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per query.")] = False,
    backend: BackendOption = "auto",
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every vector, whatever was tuned.")] = False,
) -> None:
    """Search an index with a query and an instruction, or with a file of them."""
    from tart.collection import Query
    from tart.index.readers import read_queries
    from tart.instruction import Instruction
    from tart.retrieval.searcher import Searcher

    if (query is None) == (queries is None):
        raise ConfigError("give a query, or --queries with a file of them")
    if run is not None and as_json:
        raise ConfigError("--run writes ids and scores to a file, --json writes texts to stdout: give one of the two")
    wish = None if instruction is None else Instruction(instruction)
    asked = [Query("query", query)] if query is not None else list(read_queries(queries or ""))
    asked = [one if one.instruction or wish is None else one.instructed(wish) for one in asked]
    searcher = Searcher.open(folder, backend=backend)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"mode": mode, "rerank": rerank, "exact": exact}
    if run is not None:
        _write_run(searcher, asked, k, settings, run)
        return
    for result in searcher.search_many(asked, k, **settings):
        if as_json:
            print(json.dumps(result.to_dict()))
        else:
            from rich.console import Console

            Console().print(result.table())


def _write_run(searcher: Searcher, queries: list[Query], k: int, settings: dict[str, Any], path: Path) -> None:
    from tart.progress import progress
    from tart.run import Hit, Run

    hits: dict[str, tuple[Hit, ...]] = {}
    with progress("Searching", len(queries), "queries") as advance:
        for start in range(0, len(queries), 256):
            part = queries[start : start + 256]
            hits.update(searcher.retrieve(part, k, **settings))
            advance(len(part))
    Run(hits, k).write_trec(path)
    _say(f"{path}: {len(hits):,} queries")


@app.command("tune")
def tune_index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An index folder.")],
    queries: Annotated[Path | None, typer.Option(help="Your own queries: JSONL with _id, text, instruction.")] = None,
    recall: Annotated[float, typer.Option(help="Wanted share of the exact search's best documents.")] = 0.95,
    k: Annotated[int, typer.Option("-k", help="How many documents a search wants.")] = 10,
    ann: Annotated[list[str] | None, typer.Option("--ann", help="A faiss index to try; repeatable.")] = None,
    backend: BackendOption = "auto",
    plot: Annotated[Path | None, typer.Option(help="Where to draw the trials, if not in DIR.tune.png.")] = None,
) -> None:
    """Try settings of approximate search, and save the fastest one with the wanted recall in the index."""
    from rich.console import Console

    from tart.index.readers import read_queries
    from tart.retrieval.tuning import load_matplotlib, tune

    if plot is not None:
        load_matplotlib()  # if it is missing, that is told before the long part
    asked = None if queries is None else list(read_queries(queries))
    tuning = tune(
        folder,
        asked,
        recall=recall,
        k=k,
        factories=ann or (),
        backend=backend,  # type: ignore[arg-type]
        show_progress=True,
    )
    Console().print(tuning.table())
    print(f"{folder}: {tuning.chosen.summary()}")
    picture = plot or Path(f"{folder.resolve()}.tune.png")
    try:
        tuning.plot(picture)
    except ConfigError as error:
        if plot is not None:
            raise
        _say(f"no picture: {error}")
    else:
        _say(f"picture: {picture}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where its index is kept.")] = Path("demo_index"),
    model: ModelOption = DEFAULT_MODEL,
    backend: BackendOption = "auto",
) -> None:
    """Index Python's own standard library and see what an instruction changes."""
    from tart.demo.show import run_demo

    run_demo(output, model=model, backend=backend)  # type: ignore[arg-type]


@app.command()
def info(
    name: Annotated[str, typer.Argument(metavar="DIR|MODEL", help="An index folder, or a model.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read every part and compare its checksum.")] = False,
) -> None:
    """Describe an index folder or a model, as JSON."""
    from tart.index.build import KIND
    from tart.manifest import NAME, read_manifest, verify_parts
    from tart.models.describe import describe_backend, describe_search
    from tart.models.registry import describe

    folder = Path(name)
    if (folder / NAME).is_file():
        manifest = read_manifest(folder, KIND)
        if verify:
            verify_parts(folder, manifest)
            _say(f"{folder}: all {len(manifest['parts'])} parts are whole")
        facts = {**manifest, "search": describe_search(manifest)}
    elif verify:
        raise ConfigError(f"{name}: --verify goes with an index folder, and this is none")
    else:
        facts = {**describe(name), **describe_backend(name)}
    print(json.dumps(facts, indent=2))


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="A model: short name, folder (also TART's own forms), or hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    overwrite: OverwriteOption = False,
    text_format: FormatOption = None,
) -> None:
    """Write a model as a plain sentence-transformers folder, safetensors only, with its lean form in lean/."""
    from tart.models.export import export_model

    export_model(source, output, overwrite=overwrite, text_format=text_format)
    print(output)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def run_app(commands: typer.Typer, *, told: str = "") -> NoReturn:
    """Run a command line: every TartError is one line on stderr, and the exit code says what kind it is.

    Args:
        commands: the command line.
        told: a package whose log lines from INFO on are shown; of all others, warnings are.
    """
    handler = logging.StreamHandler(sys.stderr)  # some libraries set their own loggers to DEBUG: the handler chooses
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.split(".")[0] == told)
    logging.basicConfig(handlers=[handler], format="%(message)s")
    if told:
        logging.getLogger(told).setLevel(logging.INFO)
    # Before torch loads: threads that wait must not spin, or a second busy process makes both several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        commands()
    except TartError as error:
        _say("error: " + " ".join(str(error).split()))
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    sys.exit(0)


def main() -> NoReturn:
    """Entry point of the command `tart`."""
    run_app(app, told="tart")


if __name__ == "__main__":
    main()
