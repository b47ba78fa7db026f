"""The charts of the page: rows of a name, an inline picture and figures, and heat maps. All static, all escaped.

Positions are percentages: on a narrow page the pictures shrink and their texts don't.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Sequence

from eval.conditions import CONDITIONS
from eval.report import ALL, Confusion, Report, Result, unique
from eval.report_markdown import show, show_p
from eval.summary import SIGNIFICANT, decisive_differences
from tart.retrieval.result import printable


class Scale:
    """A scale that holds some values, with round ends.

    >>> scale = Scale([0.62, 0.78])
    >>> scale.low, scale.high, scale.at(0.65)
    (0.6, 0.8, '25.00%')
    """

    def __init__(self, values: Iterable[float]) -> None:
        values = list(values)
        spread = max(values) - min(values)
        self.step = next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if spread <= 5 * step), 0.5)
        self.low = round(math.floor(min(values) / self.step + 1e-9) * self.step, 6)
        self.high = round(math.ceil(max(values) / self.step - 1e-9) * self.step, 6)
        if self.high == self.low:
            self.high = round(self.low + self.step, 6)

    def at(self, value: float) -> str:
        """Where a value stands."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"

    def ticks(self) -> list[float]:
        """The round values on it."""
        count = round((self.high - self.low) / self.step)
        return [round(self.low + number * self.step, 6) for number in range(count + 1)]

    def track(self, marks: str) -> str:
        """A picture of the scale with marks on it."""
        lines = "".join(f"<line class=scale x1='{self.at(t)}' x2='{self.at(t)}' y1=0 y2=22 />" for t in self.ticks())
        return f"<svg width='100%' height=22 aria-hidden=true>{lines}{marks}</svg>"

    def axis(self) -> str:
        """The figures below it."""
        ticks = self.ticks()
        shown = ticks if len(ticks) < 7 else [tick for tick in ticks if tick in (0, self.low, self.high)]
        texts = "".join(f"<text x='{self.at(t)}' y=12 text-anchor=middle>{100 * t:g}</text>" for t in shown)
        return (
            f"<div class=row><span></span><svg width='100%' height=16 aria-hidden=true>{texts}</svg><span></span></div>"
        )


def verdict_charts(report: Report) -> Iterator[str]:
    """For each verdict the own instruction against every other condition, around zero."""
    rows_of = [decisive_differences(report.differences, verdict) for verdict in report.verdicts]
    scale = Scale([0.0, *(-end for rows in rows_of for row in rows for end in (row.low, row.high))])
    zero = f"<line class=guide x1='{scale.at(0)}' x2='{scale.at(0)}' y1=0 y2=22 />"
    for rows in rows_of:
        bars = ""
        for row in rows:
            gain = 0.0 - row.mean
            marks = f"<line class=whisker x1='{scale.at(-row.high)}' x2='{scale.at(-row.low)}' y1=11 y2=11 />"
            marks += f"<circle class=mark cx='{scale.at(gain)}' cy=11 r=4.5 />"
            kind = "" if row.p >= SIGNIFICANT else "better" if gain > 0 else "worse"
            figures = f"{100 * gain:+.1f} <span class=soft>p {escape(show_p(row.p))}</span>"
            bars += _row(row.instruction, scale.track(zero + marks), figures, kind=kind)
        yield f"<div class=brief>{bars}{scale.axis()}</div>"


def condition_charts(rows: Sequence[Result]) -> Iterator[str]:
    """For each system and pool the conditions, one below the other; over all tasks where there are several."""
    charts = []
    for suite, model, retrieval, pool in dict.fromkeys((r.suite, r.model, r.retrieval, r.pool) for r in rows):
        of_it = [r for r in rows if (r.suite, r.model, r.retrieval, r.pool) == (suite, model, retrieval, pool)]
        task = ALL if any(row.task == ALL for row in of_it) else of_it[0].task
        shown = [row for row in of_it if row.task == task]
        if len(shown) > 1:
            charts.append(shown)
    ends = [end for shown in charts for row in shown for end in (row.value, row.low, row.high) if end is not None]
    scale = Scale(ends or [0.0])  # one for all of them, so that they can be compared
    for shown in charts:
        own = next((row.value for row in shown if row.instruction == "own"), None)
        worded = [row.value for row in shown if row.instruction.startswith("wording-")]
        bars = "".join(
            _condition_row(row, own, worded if row.instruction == "wordings" else [], scale)
            for row in shown
            if not row.instruction.startswith("wording-")
        )
        one = shown[0]
        yield f"<div>{heading(one.model, f'{one.retrieval}, {one.pool}, {one.task}')}{bars}{scale.axis()}</div>"


def _condition_row(row: Result, own: float | None, worded: Sequence[float], scale: Scale) -> str:
    marks = "" if own is None else f"<line class=guide x1='{scale.at(own)}' x2='{scale.at(own)}' y1=0 y2=22 />"
    text = show(row.value)
    if row.low is not None and row.high is not None:
        marks += f"<line class=whisker x1='{scale.at(row.low)}' x2='{scale.at(row.high)}' y1=11 y2=11 />"
        text += f" <span class=soft>{100 * row.low:.1f} to {100 * row.high:.1f}</span>"
    marks += "".join(f"<circle class=hollow cx='{scale.at(value)}' cy=11 r=3 />" for value in worded)
    marks += f"<circle class=mark cx='{scale.at(row.value)}' cy=11 r=4.5 />"
    name, tip = row.instruction, CONDITIONS.get(row.instruction, "")
    return _row(name, scale.track(marks), text, kind="strong" if name == "own" else "", tip=tip)


def pool_charts(results: Sequence[Result], measure: str) -> Iterator[str]:
    """For each system, with no instruction and with its own, every task closed and pooled."""
    rows = [row for row in results if row.measure == measure and row.instruction in ("none", "own")]
    found = {(r.suite, r.model, r.retrieval, r.instruction, r.task, r.pool): r.value for r in rows}
    scale = Scale([*found.values(), 0.0])
    for labels in dict.fromkeys(key[:4] for key in found):
        bars = ""
        for task in unique(key[4] for key in found if key[:4] == labels):
            closed, pooled = found.get((*labels, task, "closed")), found.get((*labels, task, "pooled"))
            if closed is not None and pooled is not None:
                bars += _pool_row(task, closed, pooled, scale)
        if bars:
            yield f"<div>{heading(labels[1], f'{labels[2]}, {labels[3]}')}{bars}{scale.axis()}</div>"


def _pool_row(task: str, closed: float, pooled: float, scale: Scale) -> str:
    marks = (
        f"<line class=whisker x1='{scale.at(pooled)}' x2='{scale.at(closed)}' y1=11 y2=11 />"
        f"<circle class=mark cx='{scale.at(closed)}' cy=11 r=4.5 />"
        f"<circle class=hollow cx='{scale.at(pooled)}' cy=11 r=4.5 />"
    )
    text = f"{100 * closed:.1f} → {100 * pooled:.1f} <span class=soft>gap {100 * (closed - pooled):.1f}</span>"
    return _row(task, scale.track(marks), text, kind="strong" if task == ALL else "")


def heading(name: str, rest: str) -> str:
    """A title with its small print."""
    return f"<h3>{escape(name)} <span class=soft>{escape(rest)}</span></h3>"


def _row(name: str, picture: str, figures: str, *, kind: str, tip: str = "") -> str:
    cells = f"<span>{escape(name)}</span>{picture}<span>{figures}</span>"
    return f"<div class='row {kind}' title='{escape(tip)}'>{cells}</div>"


def heat_maps(tables: Sequence[Confusion]) -> str:
    """All confusion tables, and a field that chooses the one that is seen."""
    names = [f"{table.model} ({table.retrieval}), {table.suite}, {table.instruction}" for table in tables]
    chosen = next((row for row, table in enumerate(tables) if table.instruction == "own"), 0)
    options = "".join(
        f"<option value={row}{' selected' * (row == chosen)}>{escape(name)}</option>" for row, name in enumerate(names)
    )
    drawn = "".join(_heat_map(table, name) for table, name in zip(tables, names, strict=True))
    choice = f"<select id=heat-choice aria-label='System and condition'>{options}</select>"
    return f"<div class=tools>{choice}</div><div class=wide>{drawn}</div>"


def _heat_map(table: Confusion, name: str) -> str:
    head = "".join(f"<th>{escape(source)}</th>" for source in table.sources)
    body = ""
    for task, shares in zip(table.tasks, table.shares, strict=True):
        cells = ""
        for source, share in zip(table.sources, shares, strict=True):
            kind = "share" + " hot" * (share > 0.75) + " own" * (source == task)
            cells += f"<td class='{kind}' style='--s:{share:.3f}'>{100 * share:.0f}</td>"
        body += f"<tr><th class=text>{escape(task)}</th>{cells}</tr>"
    return (
        f"<table class=heat aria-label='{escape(name)}'><thead><tr><th class=text>queries of</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def escape(text: str) -> str:
    """Text as HTML, on one line."""
    return html.escape(printable(text))
