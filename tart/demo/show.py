"""What `tart demo` does and shows: the same queries under different instructions, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tart.collection import Document
from tart.demo.stdlib_corpus import KINDS, Kind, kind_of, stdlib_documents
from tart.errors import DataError, IndexMismatch, StorageError
from tart.index.documents import DocumentStore
from tart.manifest import NAME
from tart.models import DEFAULT_MODEL
from tart.models.backend import Backend
from tart.models.load import load_encoder
from tart.retrieval.protocols import Encoder
from tart.retrieval.result import SearchHit, SearchResult, shorten
from tart.retrieval.searcher import Searcher

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

QUERIES = (
    "read a file line by line",
    "parse command line arguments",
    "compare two sequences and show the differences",
    "remove a directory and everything in it",
    "create a temporary file",
)
INSTRUCTIONS: Mapping[str | None, Kind | None] = {
    None: None,
    "Find Python source code that does this": "code",
    "Find a paragraph of documentation that explains this": "documentation",
}
"""Instruction -> the kind of document that it asks for."""

DEPTH, SHOWN = 10, 5
_COLOURS: Mapping[Kind, str] = {"code": "green", "documentation": "blue", "topic": "magenta"}
_TAGS: Mapping[Kind, str] = {"code": "code ", "documentation": "docs ", "topic": "topic"}


def run_demo(
    folder: Path,
    *,
    model: str = DEFAULT_MODEL,
    stock: str | None = "minilm",
    backend: Backend = "auto",
    console: Console | None = None,
) -> None:
    """Index the standard library, or reuse the index, and show what instructions change.

    Args:
        folder: where the index is kept; that of `stock` beside it.
        model: a name that `load_encoder` takes.
        stock: another one, with which the first is compared at the end; None: with none.
        backend: what `load_encoder` takes.
        console: where to print; None: stdout.

    Raises:
        StorageError: if the folder holds something else.
    """
    from rich.console import Console

    folder = folder.resolve()
    console, log = console or Console(), Console(stderr=True)
    documents = list(stdlib_documents())
    counts = {kind: sum(kind_of(document.doc_id) == kind for document in documents) for kind in KINDS}
    listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    log.print(f"Python's standard library: {len(documents):,} documents ({listed})", highlight=False)

    def answers_of(place: Path, name: str) -> list[list[SearchResult]]:
        """For each query the results under each instruction."""
        searcher = _open_or_build(place, load_encoder(name, backend=backend), documents, log)
        return [[searcher.search(query, wish, k=DEPTH) for wish in INSTRUCTIONS] for query in QUERIES]

    answers = answers_of(folder, model)
    for results in answers:
        console.print(comparison_table(results, console.width))
    compared = {model: answers}
    if stock is not None and stock != model:
        compared[stock] = answers_of(folder.with_name(f"{folder.name}_{stock}"), stock)
    console.print(summary_table(compared))
    for name, found in compared.items():
        console.print(summary_sentence(name, found))


def _open_or_build(folder: Path, encoder: Encoder, documents: list[Document], log: Console) -> Searcher:
    """The index of these documents by this model: the one in the folder if it is that, else a new one."""
    if (folder / NAME).is_file():
        told = f"{folder}: holds another library"
        try:
            searcher = Searcher.open(folder, encoder)
            if list(searcher.documents.in_order()) == documents:
                log.print(f"{folder}: reused", highlight=False)
                return searcher
        except (DataError, IndexMismatch) as error:
            told = str(error)
        if not _is_demo(folder):
            raise StorageError(f"{told}; it isn't overwritten, as it is none of the demo: choose another --output")
        log.print(f"{told}; made anew", highlight=False, markup=False)
    return Searcher.build(documents, encoder, folder, overwrite=True, show_progress=True)


def _is_demo(folder: Path) -> bool:
    """Whether a folder is an index that the demo made, of whatever Python and by whatever model."""
    try:
        return {doc_id.partition(":")[0] for doc_id in DocumentStore(folder)} == {"code", "docs", "topic"}
    except DataError:
        return False


def kind_shares(hits: Sequence[SearchHit]) -> dict[Kind, float]:
    """The share of each kind among some hits, from 0 to 1; all 0 if there is no hit."""
    kinds = [kind_of(hit.doc_id) for hit in hits]
    return {kind: kinds.count(kind) / max(len(kinds), 1) for kind in KINDS}


def moves(before: SearchResult, after: SearchResult) -> dict[str, int | None]:
    """For each hit of `after` how many places it rose (below 0: fell) since `before`; None if it is new."""
    ranks = {hit.doc_id: hit.rank for hit in before}
    return {hit.doc_id: ranks[hit.doc_id] - hit.rank if hit.doc_id in ranks else None for hit in after}


def comparison_table(results: Sequence[SearchResult], width: int) -> Table:
    """One query under several instructions: a column each, and what changed against the first.

    Args:
        results: of one query; the first is what the others are compared with.
        width: of the screen, in characters.
    """
    from rich.table import Table
    from rich.text import Text

    column = max((width - 5) // len(results) - 3, 12)
    table = Table(title=Text(f"“{results[0].query.text}”", "bold"), title_justify="left", show_lines=False)
    table.add_column("", justify="right")
    for result in results:
        wish = result.query.instruction
        table.add_column(Text("no instruction" if wish is None else wish.text), width=column, overflow="fold")
    changes = [moves(results[0], result) for result in results]
    for rank in range(SHOWN):
        cells = [
            _cell(result[rank], changes[place][result[rank].doc_id], column) if rank < len(result) else Text("")
            for place, result in enumerate(results)
        ]
        table.add_row(str(rank + 1), *cells)
    table.add_section()
    table.add_row("", *(_shares_text(result) for result in results))
    table.add_section()
    encoded = [result.encoded.text if result.encoded else "" for result in results]
    table.add_row("", *(Text(f"encoded: {shorten(text, 6 * column)}", "dim") for text in encoded))
    return table


def _cell(hit: SearchHit, change: int | None, width: int) -> Text:
    from rich.text import Text

    kind = kind_of(hit.doc_id)
    mark = "new" if change is None else "" if change == 0 else f"↑{change}" if change > 0 else f"↓{-change}"
    title = shorten(hit.title, max(width - len(_TAGS[kind]) - len(mark) - 2, 6))
    parts: list[tuple[str, str]] = [(_TAGS[kind], _COLOURS[kind]), (" " + title, "bold")]
    if mark:
        parts.append((" " + mark, "yellow"))
    return Text.assemble(*parts, ("\n" + shorten(hit.text, width), "dim"))


def _shares_text(result: SearchResult) -> Text:
    from rich.text import Text

    parts: list[tuple[str, str]] = [(f"top {DEPTH}:", "")]
    for kind, share in kind_shares(result.hits).items():
        parts.append((f" {_TAGS[kind].strip()} {100 * share:.0f} %", _COLOURS[kind]))
    return Text.assemble(*parts)


def mean_shares(answers: Sequence[Sequence[SearchResult]], place: int) -> dict[Kind, float]:
    """The share of each kind in the top 10 under one instruction, averaged over the queries."""
    shares = [kind_shares(results[place].hits) for results in answers]
    return {kind: sum(share[kind] for share in shares) / max(len(shares), 1) for kind in KINDS}


def summary_table(compared: Mapping[str, Sequence[Sequence[SearchResult]]]) -> Table:
    """The share of each kind in the top 10 under each instruction, averaged; the wanted kind is marked with a star.

    Args:
        compared: model -> for each query its results under each instruction.
    """
    from rich.table import Table
    from rich.text import Text

    queries = len(next(iter(compared.values())))
    table = Table(title=f"Share of each kind in the top {DEPTH}, mean of {queries} queries", title_justify="left")
    table.add_column("model")
    table.add_column("instruction")
    for kind in KINDS:
        table.add_column(Text(kind, _COLOURS[kind]), justify="right")
    for model, answers in compared.items():
        for place, (wish, wanted) in enumerate(INSTRUCTIONS.items()):
            shares = mean_shares(answers, place).items()
            cells = [f"{'* ' if kind == wanted else ''}{100 * share:.0f} %" for kind, share in shares]
            table.add_row("" if place else model, wish or "none", *cells)
        table.add_section()
    return table


def summary_sentence(model: str, answers: Sequence[Sequence[SearchResult]]) -> str:
    """What the figures of one model say, in words."""
    told = []
    plain = mean_shares(answers, 0)
    for place, wanted in enumerate(INSTRUCTIONS.values()):
        if wanted is not None:
            told.append(
                f"{wanted} from {100 * plain[wanted]:.0f} % to {100 * mean_shares(answers, place)[wanted]:.0f} %"
            )
    return f"{model}: asked for by instruction, the share of the kind wanted (*) went for {', for '.join(told)}."
