"""The pages that benchmarks/results.py makes of its report folders: one of systems alone, one with a reranker."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.follow_runner import P_MRR
from eval.measures import mean
from eval.over_tasks import compare_values, task_weights
from eval.report import ALL, Report, read_report
from eval.report_markdown import clean, markdown_table, show, show_p
from eval.search_task import WRONG_TASK, WRONG_UNIT
from eval.statistics import PairedDifference, holm
from tart.files import atomic_write

Values = Mapping[str, Mapping[str, float]]  # task -> query_id -> value

HELD_OUT = "held-out"
SHOWN = ("none", "own", HELD_OUT, "other", "generic", "repeat")
AGAINST = ("none", "other", "generic")
SIGNIFICANT = 0.05
NOTHING = {"-", "not asked"}  # in a cell: its column goes if it holds nothing else
INTRODUCTION = """# {title}

Made by `benchmarks/results.py`; nothing here is written by hand. Values times 100. Intervals: 95 %, bootstrap over
queries. p: paired randomization test, corrected over all rows of its table (Holm). Each task counts the same.

**closed**: a task's queries search its own documents; **pooled**: those of all tasks at once, where only the
instruction tells which kind is wanted. **Instructions**: none; own (the task's); held-out (the mean over wordings
written for measuring alone); other (another task's); generic (one that says nothing); repeat (its own, twice).
**wrong kind**: share of the first ten that is of a kind that the task doesn't want; where tasks name no kind, another
task's. **gap**: closed minus pooled.
**deviation**: of the figure over the own and the held-out wordings, mean over tasks.

"""
RERANKED = """**system+cross-encoder**: the best 100 documents of the system ordered anew, on some queries of each task.

"""


@dataclass(frozen=True, slots=True)
class System:
    """One system on one collection.

    Args:
        report: its report.
        name: model and, where it isn't plain, retrieval.
        model, retrieval: as the report has them.
    """

    report: Report
    name: str
    model: str
    retrieval: str

    @property
    def reranked(self) -> bool:
        """Whether a cross-encoder stands behind it: then fewer queries were asked."""
        return self.retrieval.endswith("+rerank")

    @property
    def reads_instructions(self) -> bool:
        """BM25 alone doesn't."""
        return self.retrieval != "sparse"

    @property
    def pools(self) -> list[str]:
        """Closed, pooled, or both."""
        return list(dict.fromkeys(cell.pool for cell in self.report.cells))

    def values(self, measure: str, condition: str, pool: str) -> Values:
        """Task -> query -> value; for `HELD_OUT` the mean over every wording but the own one. Empty if not asked."""
        by_task: dict[str, list[Mapping[str, float]]] = defaultdict(list)
        for cell in self.report.cells:
            number = re.fullmatch(r"wording-(\d+)", cell.instruction)
            label = HELD_OUT if number and int(number[1]) > 1 else cell.instruction
            if label == condition and cell.pool == pool and measure in cell.values:
                by_task[cell.task].append(cell.values[measure])
        return {
            task: {query: math.fsum(one[query] for one in found) / len(found) for query in found[0]}
            for task, found in by_task.items()
        }

    def figure(self, measure: str, condition: str, pool: str) -> float | None:
        """The mean over tasks."""
        return mean_over_tasks(self.values(measure, condition, pool))

    def deviation(self, measure: str, pool: str) -> float | None:
        """The standard deviation over wordings, mean over tasks."""
        rows = self.report.where(instruction="wordings", pool=pool, measure=f"{measure} deviation")
        chosen = [row for row in rows if row.task == ALL] or rows
        return chosen[0].value if chosen else None


@dataclass(frozen=True, slots=True)
class Part:
    """One collection: its systems in order."""

    title: str
    measure: str
    systems: Sequence[System]

    def only(self, *, reranked: bool) -> Part:
        """The same with the systems that have a cross-encoder behind them, or with the others."""
        return replace(self, systems=[one for one in self.systems if one.reranked is reranked])


def write_pages(
    reports: Path,
    page: Path,
    titles: Mapping[str, tuple[str, str]],
    baseline: str,
    notes: Sequence[str],
    *,
    seed: int,
) -> list[Path]:
    """Write the page of the systems alone, and NAME-reranked beside it if some have a cross-encoder behind them.

    Args:
        reports: holds a folder for each collection, with a report folder for each system.
        page: the first Markdown file.
        titles: collection -> its title and measure.
        baseline: name of the system with which the others are compared.
        notes: what a reader has to know.
        seed: of intervals and tests.

    Returns:
        The files that were written.
    """
    parts = [
        Part(title, measure, found)
        for name, (title, measure) in titles.items()
        if (found := [*systems_in(reports / name, baseline)])
    ]
    pages = {page: _alone(parts, baseline, notes, seed)}
    if any(one.reranked for part in parts for one in part.systems):
        pages[page.with_stem(f"{page.stem}-reranked")] = _with_reranker(parts, notes, seed)
    for path, lines in pages.items():
        with atomic_write(path) as file:
            file.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))
    return list(pages)


def mean_over_tasks(values: Values) -> float | None:
    """Each task counts the same; None if there is none."""
    weights = task_weights(values, {})
    return math.fsum(weights[task] * mean(found) for task, found in values.items()) if values else None


def difference(first: Values, second: Values, seed: int) -> tuple[dict[str, PairedDifference], PairedDifference] | None:
    """first - second for the tasks and queries that both have: by task, and over all of them."""
    shared = {task: first[task].keys() & second[task].keys() for task in first if task in second}
    sides = [
        {
            task: {query: value for query, value in side[task].items() if query in queries}
            for task, queries in shared.items()
            if queries
        }
        for side in (first, second)
    ]
    return compare_values(sides[0], sides[1], {}, seed=seed) if sides[0] else None


def systems_in(folder: Path, baseline: str) -> Iterator[System]:
    """The systems with a report folder below a folder: BM25, the baseline, the others; reranked ones last."""
    found = []
    for path in sorted(folder.glob("*/made_by.json")):
        report = read_report(path.parent)
        cell = report.cells[0]
        kind = {"dense": "", "sparse": ""}.get(cell.retrieval.removesuffix("+rerank"), f" {cell.retrieval}")
        found.append(System(report, cell.model + kind, cell.model, cell.retrieval))
    order = {"bm25": 0, baseline: 1}
    yield from sorted(found, key=lambda one: (one.reranked, order.get(one.model.split("+")[0], 2), one.name))


def _alone(parts: Sequence[Part], baseline: str, notes: Sequence[str], seed: int) -> Iterator[str]:
    parts = [found for part in parts if (found := part.only(reranked=False)).systems]
    yield from INTRODUCTION.format(title="Results").splitlines()
    for part in parts:
        yield from (f"## {clean(part.title)}", "", f"{part.measure}; {_sizes(part)}.", "")
        yield from _figures(part)
        yield from _own_against_others(part, seed)
        yield from _against_baseline(part, baseline, seed)
    yield from _worse(parts, baseline, seed)
    yield from _closed(parts, baseline, seed)
    yield from _made(parts, notes)


def _with_reranker(parts: Sequence[Part], notes: Sequence[str], seed: int) -> Iterator[str]:
    yield from (INTRODUCTION.format(title="Results with a reranker") + RERANKED).splitlines()
    behind = []
    for part in parts:
        behind.append(part.only(reranked=True))
        if behind[-1].systems:
            yield from (f"## {clean(part.title)}", "", f"{part.measure}; {_sizes(behind[-1])}.", "")
            yield from _figures(behind[-1])
            yield from _own_against_others(behind[-1], seed)
            yield from _reranked(part, seed)
    yield from _made(behind, notes)


def _made(parts: Sequence[Part], notes: Sequence[str]) -> Iterator[str]:
    yield from ("## How this was made", "")
    yield from (f"- {clean(line)}" for line in [*notes, *made_with([one for part in parts for one in part.systems])])


def _sizes(part: Part) -> str:
    first = part.systems[0]
    data = first.report.provenance["data"]
    asked: Counter[str] = Counter()
    for cell in first.report.cells:
        asked[cell.task] = max(asked[cell.task], *(len(found) for found in cell.values.values()))
    documents = sum({one["corpus_fingerprint"]: one["documents"] for one in data}.values())
    return f"{len(asked)} task{'s' * (len(asked) > 1)}, {documents:,} documents, {sum(asked.values()):,} queries"


def _figures(part: Part) -> Iterator[str]:
    systems = part.systems
    pooled = "pooled" in systems[0].pools
    pool = "pooled" if pooled else "closed"
    columns = [("closed", name) for name in ("none", "own")] * pooled + [(pool, name) for name in SHOWN]
    head = ["system", *(f"{where}, {name}" if pooled else name for where, name in columns)]
    follow = (P_MRR, "Robustness@10")
    head += ["gap, none", "gap, own", "wrong kind, none", "wrong kind, own"] * pooled
    head += [f"{name}, own" for name in follow]
    head += ["deviation", "verdict"]
    body = []
    for one in systems:
        line = [one.figure(part.measure, name, where) for where, name in columns]
        if pooled:
            line += [_gap(one, part.measure, name) for name in ("none", "own")]
            line += [one.figure(_wrong(one), name, "pooled") for name in ("none", "own")]
        line += [one.figure(name, "own", pool) for name in follow]
        verdict = one.report.verdicts[0].verdict if one.report.verdicts else "-"
        body.append([one.name, *map(show, [*line, one.deviation(part.measure, pool)]), verdict])
    told = [place for place in range(len(head)) if {row[place] for row in body} - NOTHING]
    yield from markdown_table([head[place] for place in told], [[row[place] for place in told] for row in body])


def _gap(system: System, measure: str, condition: str) -> float | None:
    closed, pooled = (system.figure(measure, condition, pool) for pool in ("closed", "pooled"))
    return None if closed is None or pooled is None else closed - pooled


def _wrong(system: System) -> str:
    """The share of another unit, where tasks name theirs; else that of another task."""
    return WRONG_UNIT if any(WRONG_UNIT in cell.values for cell in system.report.cells) else WRONG_TASK


def _told(measure: str) -> str:
    """What a page calls a measure."""
    return "wrong kind" if measure in (WRONG_TASK, WRONG_UNIT) else measure


def difference_table(
    title: str, head: Sequence[str], rows: Sequence[tuple[list[str], PairedDifference]]
) -> Iterator[str]:
    """A table of differences, corrected together."""
    if not rows:
        return
    yield from (f"### {title}", "")
    corrected = holm([found.p for _, found in rows])
    yield from markdown_table(
        [*head, "difference", "interval", "p (Holm)", "wins/ties/losses"],
        [
            [*labels, *_shown(found), show_p(p), _counts(found)]
            for (labels, found), p in zip(rows, corrected, strict=True)
        ],
    )


def _shown(found: PairedDifference) -> list[str]:
    return [f"{100 * found.mean:+.2f}", f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"]


def _counts(found: PairedDifference) -> str:
    return f"{found.wins}/{found.ties}/{found.losses}"


def _own_against_others(part: Part, seed: int) -> Iterator[str]:
    rows = []
    for one in (one for one in part.systems if one.reads_instructions):
        pool = one.pools[-1]
        for right in ("own", HELD_OUT):
            for wrong in AGAINST:
                sides = [one.values(part.measure, name, pool) for name in (right, wrong)]
                if found := difference(*sides, seed):
                    rows.append(([one.name, right, wrong, pool], found[1]))
    yield from difference_table(
        "Is the right instruction better?", ["system", "instruction", "against", "search"], rows
    )


def _against_baseline(part: Part, baseline: str, seed: int) -> Iterator[str]:
    base = _baseline(part, baseline)
    rows = []
    for one in part.systems:
        if base is None or one is base:
            continue
        measures = [part.measure, P_MRR, *([_wrong(one)] if "pooled" in one.pools else [])]
        for measure in measures:
            for pool in one.pools:
                for condition in ("own",) if measure == P_MRR else ("none", "own", HELD_OUT):
                    sides = [side.values(measure, condition, pool) for side in (one, base)]
                    if found := difference(*sides, seed):
                        rows.append(([one.name, _told(measure), condition, pool], found[1]))
    yield from difference_table(f"Against {clean(baseline)}", ["system", "measure", "instruction", "search"], rows)


def _reranked(part: Part, seed: int) -> Iterator[str]:
    firsts = {(one.model, one.retrieval): one for one in part.systems}
    rows = []
    for one in part.systems:
        model, retrieval = one.model.rpartition("+")[0], one.retrieval.removesuffix("+rerank")
        if not one.reranked or (model, retrieval) not in firsts:
            continue
        first = firsts[model, retrieval]
        measures = [part.measure, P_MRR, *([_wrong(one)] if "pooled" in one.pools else [])]
        for measure in measures:
            for pool in one.pools:
                for condition in ("own",) if measure == P_MRR else ("none", "own"):
                    after, before = (side.values(measure, condition, pool) for side in (one, first))
                    if found := difference(after, before, seed):
                        value = mean_over_tasks(after)
                        labels = [one.name, _told(measure), condition, pool, str(found[1].queries), show(value)]
                        rows.append((labels, found[1]))
    head = ["system", "measure", "instruction", "search", "queries", "value"]
    yield from difference_table("With the reranker, against the first stage on the same queries", head, rows)


def _baseline(part: Part, name: str) -> System | None:
    return next((one for one in part.systems if one.name == name), None)


def _worse(parts: Sequence[Part], baseline: str, seed: int) -> Iterator[str]:
    """Every task on which a system lies below the baseline under the same instruction; corrected over all of them."""
    labels, found = [], list[PairedDifference]()
    for part in parts:
        base = _baseline(part, baseline)
        for one in part.systems:
            if base is None or one is base or not one.reads_instructions:
                continue
            for pool in one.pools:
                for condition in ("none", "own"):
                    sides = [side.values(part.measure, condition, pool) for side in (one, base)]
                    for task, row in (difference(*sides, seed) or ({}, None))[0].items():
                        labels.append([one.name, part.title, task, condition, pool])
                        found.append(row)
    yield from ("## What got worse, and on what", "")
    if not found:
        yield from (f"There is no system to compare with {clean(baseline)}.", "")
        return
    corrected = holm([row.p for row in found])
    lower = [(row, label, p) for row, label, p in zip(found, labels, corrected, strict=True) if row.mean < 0]
    sure = sorted((one for one in lower if one[2] < SIGNIFICANT), key=lambda one: one[0].mean)
    yield (
        f"Task by task against {clean(baseline)} under the same instruction: {len(found)} comparisons, "
        f"{len(lower)} below it, {len(sure)} of them with p < {SIGNIFICANT} after correction:"
    )
    yield ""
    body = [[*label, *_shown(row), show_p(p), _counts(row)] for row, label, p in sure]
    head = ["system", "collection", "task", "instruction", "search", "difference", "interval", "p (Holm)"]
    yield from markdown_table([*head, "wins/ties/losses"], body) if body else iter(["None.", ""])


def _closed(parts: Sequence[Part], baseline: str, seed: int) -> Iterator[str]:
    """Whether content was lost: each closed set with the system's better setting, against the baseline's without."""
    rows = []
    for part in parts:
        base = _baseline(part, baseline)
        for one in part.systems:
            if base is None or one is base or "closed" not in one.pools or not one.reads_instructions:
                continue
            stock = base.values(part.measure, "none", "closed")
            settings = {name: one.values(part.measure, name, "closed") for name in ("none", "own")}
            for task, before in stock.items():
                there = {name: found[task] for name, found in settings.items() if task in found}
                best = max(there, key=lambda name: mean(there[name]))
                pair = difference({task: there[best]}, {task: before}, seed)
                if pair:
                    label = [one.name, part.title, task, best, show(mean(before)), show(mean(there[best]))]
                    rows.append((label, pair[1]))
    head = ["system", "collection", "task", "better with", f"{clean(baseline)}, none", "value"]
    title = f"Closed sets: the better of no and own instruction, against {clean(baseline)} without"
    yield from difference_table(title, head, rows)


def made_with(systems: Sequence[System]) -> Iterator[str]:
    """Machine, versions and code, hashes of models, and what the reports note; each once."""
    machines, hashes = dict[str, None](), dict[str, str]()
    for one in systems:
        facts = one.report.provenance
        versions, machine = facts["versions"], facts["machine"]
        names = ("python", "torch", "sentence-transformers", "ir-measures")
        known = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
        commit = facts["code"].get("commit", "")[:10] + " with changes" * bool(facts["code"].get("changed"))
        machines[f"{machine['cpu']}, {machine['cores']} cores; {known}; code {commit or 'not in a checkout'}"] = None
        first, _, second = one.model.rpartition("+") if one.reranked else (one.model, "", "")
        for system in facts["systems"]:
            for model, key in ((first, "model_hash"), (second, "reranker_hash")):
                if system.get(key):
                    hashes[model] = system[key]
    yield from machines
    yield from (f"{model}: model hash {value[:16]}" for model, value in hashes.items())
    yield from dict.fromkeys(note for one in systems for note in one.report.notes)
