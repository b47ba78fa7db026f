"""SearchResult: what a person gets back, with what each stage thought of it."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from tart.collection import Query
from tart.retrieval.protocols import EncodedText

if TYPE_CHECKING:
    from rich.table import Table

_SNIPPET = 160


class Stage(NamedTuple):
    """Where one stage put a document: rank from 1, and its score; a higher score is better."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One document of a result.

    Args:
        rank: from 1.
        score: of the last stage; higher is better; not comparable between modes.
        stages: for each stage that ranked it ("dense", "sparse", "fused", "reranked") where it put it.
    """

    rank: int
    doc_id: str
    title: str
    text: str
    score: float
    stages: Mapping[str, Stage]


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[SearchHit]):
    """The documents found for one query, best first; a sequence of hits.

    Args:
        query: what was asked, with its instruction.
        hits: best first.
        encoded: what the model really read of instruction and query, and how many tokens were cut off; None if no
            vectors were used.
        seconds: for each stage how long it took; of queries searched together, the time of all.
    """

    query: Query
    hits: tuple[SearchHit, ...]
    encoded: EncodedText | None
    seconds: Mapping[str, float]

    @overload
    def __getitem__(self, place: int) -> SearchHit: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[SearchHit, ...]: ...
    def __getitem__(self, place: int | slice) -> SearchHit | tuple[SearchHit, ...]:
        return self.hits[place]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self.hits)

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return {
            "query_id": self.query.query_id,
            "query": self.query.text,
            "instruction": None if self.query.instruction is None else self.query.instruction.text,
            "encoded": None if self.encoded is None else self.encoded._asdict(),
            "seconds": dict(self.seconds),
            "hits": [
                {
                    "rank": hit.rank,
                    "doc_id": hit.doc_id,
                    "title": hit.title,
                    "text": hit.text,
                    "score": hit.score,
                    "stages": {name: stage._asdict() for name, stage in hit.stages.items()},
                }
                for hit in self.hits
            ],
        }

    def caption(self) -> str:
        """One line: what was encoded, what was cut off, how long it took."""
        parts = []
        if self.encoded is not None:
            cut = f" ({self.encoded.cut_tokens:,} tokens cut off)" if self.encoded.cut_tokens else ""
            parts.append(f"encoded: {shorten(self.encoded.text, 200)}{cut}")
        parts.append(", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in self.seconds.items()))
        return "; ".join(parts)

    def table(self) -> Table:
        """The result as a rich table."""
        from rich.table import Table
        from rich.text import Text

        wish = "no instruction" if self.query.instruction is None else self.query.instruction.text
        table = Table(
            title=Text(f"{shorten(self.query.text, 100)} | {shorten(wish, 100)}"),
            caption=Text(self.caption()),
            title_justify="left",
            caption_justify="left",
        )
        for name in ("", "score", "document", "found by"):
            table.add_column(name, justify="right" if name in ("", "score") else "left", overflow="fold")
        for hit in self.hits:
            snippet = shorten(hit.text, _SNIPPET)
            text = Text.assemble((printable(hit.title or hit.doc_id), "bold"), "\n", (snippet, ""))
            found_by = "\n".join(f"{name} {stage.rank}" for name, stage in hit.stages.items())
            table.add_row(str(hit.rank), f"{hit.score:.3f}", text, found_by)
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=100, record=True)
        console.print(self.table())
        return console.export_text().rstrip("\n")

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{hit.rank}</td><td>{hit.score:.3f}</td>"
            f"<td style='text-align:left'><b>{_escape(hit.title or hit.doc_id)}</b><br>"
            f"{_escape(shorten(hit.text, 2 * _SNIPPET))}</td><td style='text-align:left'>"
            + "<br>".join(f"{name} {stage.rank}" for name, stage in hit.stages.items())
            + "</td></tr>"
            for hit in self.hits
        )
        wish = "no instruction" if self.query.instruction is None else self.query.instruction.text
        return (
            f"<p><b>{_escape(shorten(self.query.text, 200))}</b> | <i>{_escape(wish)}</i></p>"
            "<table><thead><tr><th></th><th>score</th><th>document</th><th>found by</th></tr></thead>"
            f"<tbody>{rows}</tbody></table><p><small>{_escape(self.caption())}</small></p>"
        )


def printable(text: str) -> str:
    """Text that any terminal takes: control characters and lone surrogates become the replacement character."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in text)


def shorten(text: str, limit: int) -> str:
    """One printable line of at most `limit` characters.

    >>> shorten("two\\nlines of text", 12)
    'two lines o…'
    """
    line = printable(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _escape(text: str) -> str:
    return html.escape(printable(text))
