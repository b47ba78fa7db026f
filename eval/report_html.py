"""report.html: one page without outside resources. What strangers wrote is escaped, or handed over as data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from eval.report import ALL, VERDICTS, Report, Result, unique
from eval.report_charts import condition_charts, escape, heading, heat_maps, pool_charts, verdict_charts
from eval.report_markdown import difference_table, show, value_tables

TEMPLATE = Path(__file__).with_name("report.html.tmpl")
OURS = ("p-MRR", "Robustness@", "wrong ")  # measures with a table of their own, beside the first one


def render_html(report: Report) -> str:
    """The report as one self-contained page."""
    suites = unique(row.suite for row in report.results)
    models = unique(row.model for row in report.results)
    created = str(report.provenance.get("created", ""))
    parts = {
        "title": escape(f"Evaluation: {', '.join(suites)}"),
        "subtitle": escape(f"{', '.join(models)} · {created} · values times 100"),
        "sections": "\n".join(_sections(report)),
        "data": json.dumps(report.details or {"documents": [], "queries": [], "plots": []}).replace("<", "\\u003c"),
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    # In one pass: a text of a stranger that looks like a placeholder stays as it is.
    return re.sub(r"@@(\w+)@@", lambda found: parts[found.group(1)], template)


def _sections(report: Report) -> Iterator[str]:
    measure = report.results[0].measure if report.results else ""
    main = [row for row in report.results if row.measure == measure]
    if report.verdicts:
        about = "The own instruction against the other conditions: paired differences with 95 % intervals."
        yield _section("Does it listen?", _verdicts(report), about, cards="cards")
    charts = list(condition_charts(main))
    if charts:
        about = "With 95 % intervals. The dashed line is the own instruction; small rings are single wordings."
        yield _section(f"{measure} under each instruction", "".join(charts), about, cards="cards broad")
    for title, head, body in value_tables(report):
        name = title.partition(": ")[2]
        if name == measure or name.startswith(OURS):
            yield _section(title, _table(head, body, text_columns=3))
    pools = list(pool_charts(report.results, measure))
    if pools:
        about = "Filled: each task in its own corpus. Hollow: in all corpora together. The gap is what pooling costs."
        yield _section(f"{measure}, closed against pooled", "".join(pools), about, cards="cards broad")
    if report.confusion:
        yield _section("Whose documents are found", heat_maps(report.confusion), _ABOUT_HEAT)
    if any(plot["points"] for plot in report.details.get("plots", [])):
        two_axes = any(plot["x"] is not None for plot in report.details["plots"])
        yield _section("Query by query", _scatter(report), _ABOUT_SCATTER + _ABOUT_AXES * two_axes)
    if report.differences:
        about = "Condition minus own, paired by query; p: randomization test, also corrected over tasks (Holm)."
        head, body = difference_table(report)
        yield _section("Differences to the own instruction", _table(head, body, 7, name="differences"), about)
    yield _section("All figures", _table(*_flat(report.results), 7, name="results"))
    if report.notes:
        yield _section("To know", "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in report.notes) + "</ul>")
    yield _section(
        "Provenance", f"<pre>{_escape_lines(json.dumps(report.provenance, indent=1, ensure_ascii=False))}</pre>"
    )


_ABOUT_HEAT = (
    "Rows: whose queries. Columns: whose documents are among the first ten, in per cent. "
    "The framed cell is the task's own."
)
_ABOUT_SCATTER = "A circle is a query, a large one several in the same place; choose one to see what was found."
_ABOUT_AXES = " Above the line, the condition on the upright axis is better."


def _section(title: str, body: str, about: str = "", *, cards: str = "") -> str:
    said = f"<p class=soft>{escape(about)}</p>" if about else ""
    inner = f"<div class='{cards}'>{body}</div>" if cards else body
    return f"<section><h2>{escape(title)}</h2>{said}{inner}</section>"


def _verdicts(report: Report) -> str:
    drawn = ""
    for verdict, chart in zip(report.verdicts, verdict_charts(report), strict=True):
        values = " · ".join(f"{escape(name)} {show(value)}" for name, value in verdict.values.items())
        drawn += (
            f"<div>{heading(verdict.model, f'{verdict.retrieval}, {verdict.pool}, {verdict.measure}')}"
            f"<div class='verdict {verdict.verdict.split()[-1]}'>{escape(verdict.verdict)}</div>"
            f"<p>{escape(VERDICTS[verdict.verdict])}</p>{chart}<p class=soft>{values}</p></div>"
        )
    return drawn


def _scatter(report: Report) -> str:
    moved = [row for row, plot in enumerate(report.details["plots"]) if any(p[1] != p[2] for p in plot["points"])]
    first = moved[0] if moved else 0
    names = [f"{plot['model']} ({plot['retrieval']})" for plot in report.details["plots"]]
    plots = "".join(
        f"<option value={row}{' selected' * (row == first)}>{escape(name)}</option>" for row, name in enumerate(names)
    )
    tasks = unique(row.task for row in report.results if row.task != ALL)
    options = "<option value=''>all tasks</option>" + "".join(f"<option>{escape(task)}</option>" for task in tasks)
    return (
        f"<div class=tools><select id=plot-choice aria-label=System>{plots}</select>"
        f"<select id=task-choice aria-label=Task>{options}</select></div>"
        "<div class=split><svg id=plot role=group aria-label='Values per query'></svg><div id=queries></div></div>"
    )


def _flat(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    head = ["suite", "task", "model", "retrieval", "instruction", "pool", "measure", "value", "low", "high", "queries"]
    body = [[*row[:7], show(row.value), show(row.low), show(row.high), f"{row.queries:,}"] for row in results]
    return head, body


def _table(head: Sequence[str], body: Iterable[Sequence[str]], text_columns: int, name: str = "") -> str:
    """A table whose columns sort; the first ones hold text. With a name it gets a field that filters its rows."""
    kinds = [" class=text" if column < text_columns else "" for column in range(len(head))]
    heads = "".join(f"<th{kind}><button>{escape(text)}</button></th>" for kind, text in zip(kinds, head, strict=True))
    rows = ""
    for line in body:
        cells = "".join(
            f"<td{kind}{_sort_key(kind, text)}>{escape(text)}</td>" for kind, text in zip(kinds, line, strict=True)
        )
        rows += f"<tr{' class=all' if ALL in line[:text_columns] else ''}>{cells}</tr>"
    table = f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>"
    if not name:
        return f"<div class=wide><table class=sorts>{table}</table></div>"
    tools = f"<input type=search data-filters={name} placeholder='Filter rows' aria-label='Filter rows'>"
    return f"<div class=tools>{tools}</div><div class=wide><table class=sorts id={name}>{table}</table></div>"


def _sort_key(kind: str, text: str) -> str:
    number = re.match(r"[<+-]?\d[\d,]*(\.\d+)?", text)
    return f" data-v={float(number.group().lstrip('<+').replace(',', ''))}" if number and not kind else ""


def _escape_lines(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))
