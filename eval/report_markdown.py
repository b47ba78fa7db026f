"""report.md: the figures as tables, for people and for pasting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from eval.report import ALL, VERDICTS, Report, Result, unique
from tart.retrieval.result import printable


def render_markdown(report: Report) -> str:
    """The report as Markdown; values times 100."""
    return "\n".join(_lines(report))


def value_tables(report: Report) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """For each suite and measure a table: systems and tasks down, conditions across.

    Returns:
        Title, head, and rows of each.
    """
    for suite, measure in dict.fromkeys((row.suite, row.measure) for row in report.results):
        rows = [row for row in report.results if (row.suite, row.measure) == (suite, measure)]
        rows = [row for row in rows if not row.instruction.startswith("wording-")]  # those are in report.json
        columns = sorted({(row.pool, row.instruction) for row in rows}, key=_column_order(rows).index)
        found = {(row.model, row.retrieval, row.task, row.pool, row.instruction): row for row in rows}
        head = ["model", "retrieval", "task", *(f"{instruction}, {pool}" for pool, instruction in columns), "queries"]
        body = []
        for model, retrieval, task in dict.fromkeys((row.model, row.retrieval, row.task) for row in rows):
            line = [found.get((model, retrieval, task, *column)) for column in columns]
            counts = {row.queries for row in line if row is not None}
            shown = [show(None if row is None else row.value) for row in line]
            body.append([model, retrieval, task, *shown, "/".join(f"{count:,}" for count in sorted(counts))])
        yield f"{suite}: {measure}", head, body


def show(value: float | None) -> str:
    """A value times 100, with two decimals; a dash where there is none.

    >>> show(0.64508), show(None)
    ('64.51', '-')
    """
    return "-" if value is None else f"{100 * value:.2f}"


def show_p(p: float | None) -> str:
    """A p-value."""
    return "-" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _column_order(rows: Sequence[Result]) -> list[tuple[str, str]]:
    """Closed before pooled, conditions in the order in which they were asked."""
    labels = unique(row.instruction for row in rows)
    return [(pool, label) for pool in ("closed", "pooled") for label in labels]


def _lines(report: Report) -> Iterator[str]:
    yield "# Evaluation"
    yield ""
    yield "Values times 100, with 95 % intervals from a bootstrap over queries in report.json."
    yield ""
    if report.verdicts:
        yield "## Does it listen?"
        yield ""
        names = unique(name for verdict in report.verdicts for name in verdict.values)
        head = ["suite", "model", "retrieval", "verdict", f"{report.verdicts[0].measure}:", *names, "why"]
        body = [
            [
                v.suite,
                v.model,
                v.retrieval,
                f"**{v.verdict}**",
                v.pool,
                *(show(v.values.get(n)) for n in names),
                v.reason,
            ]
            for v in report.verdicts
        ]
        yield from markdown_table(head, body)
        yield from (f"- {word}: {VERDICTS[word]}" for word in unique(v.verdict for v in report.verdicts))
        yield ""
    for title, head, body in value_tables(report):
        yield f"## {clean(title)}"
        yield ""
        yield from markdown_table(head, body)
    if report.differences:
        yield "## Differences to the own instruction"
        yield ""
        yield "Condition minus own, paired by query; p: randomization test, also corrected over tasks (Holm)."
        yield ""
        head, body = difference_table(report)
        yield from markdown_table(head, [row for row in body if row[4] == report.results[0].measure])
    for table in report.confusion:
        yield f"## Where the first ten come from: {clean(table.model)}, {table.retrieval}, {table.instruction}"
        yield ""
        body = [[task, *map(show, shares)] for task, shares in zip(table.tasks, table.shares, strict=True)]
        yield from markdown_table(["queries of", *table.sources], body)
    if report.notes:
        yield "## To know"
        yield ""
        yield from (f"- {clean(note)}" for note in report.notes)
        yield ""
    yield "## Provenance"
    yield ""
    yield "```json"
    yield json.dumps(report.provenance, indent=1).replace("```", "` ` `")
    yield "```"


def difference_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of differences."""
    head = (
        "suite, model, retrieval, pool, measure, condition, task, difference, interval, p, p (Holm), wins/ties/losses"
    )
    body = [
        [
            *(row.suite, row.model, row.retrieval, row.pool, row.measure, row.instruction, row.task),
            f"{100 * row.mean:+.2f}",
            f"{100 * row.low:+.2f} to {100 * row.high:+.2f}",
            show_p(row.p),
            show_p(row.p_holm) if row.task != ALL else "",
            f"{row.wins}/{row.ties}/{row.losses}",
        ]
        for row in report.differences
    ]
    return head.split(", "), body


def markdown_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, and an empty one."""
    for number, row in enumerate([head, *body]):
        yield "| " + " | ".join(clean(text) for text in row) + " |"
        if number == 0:
            yield "|" + "---|" * len(row)
    yield ""


def clean(text: str) -> str:
    """Text that stays text in Markdown, on one line."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;")
