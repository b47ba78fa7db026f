"""What the page shows of single queries: texts, values under two conditions, and the first documents of each.

Kept small: texts of the queries that changed most in each task, and a line of each document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eval.report import Cell, unique
from eval.system import PooledDocuments
from eval.task import Task
from tart.collection import Document, Query
from tart.retrieval.result import shorten

PER_TASK = 300  # queries with texts at most, for each system and task
IN_ALL = 3000  # and of all systems and tasks together
SIZE = 3_000_000  # characters of texts: with the tables it keeps the page below five megabytes
TOP = 5

Pair = tuple[Cell | None, Cell]


def collect_details(
    cells: Sequence[Cell], tasks: Sequence[Task], prefixes: Sequence[str], measure: str
) -> dict[str, Any]:
    """The data behind the scatter plots.

    Args:
        cells: of the evaluation.
        tasks: whose queries were asked and whose documents are shown.
        prefixes: for each task what stands before its documents' ids in a pool.
        measure: whose values are shown.

    Returns:
        JSON-able: "documents" (each [id, title, text]), "queries" (each [task, id, text, instruction]) and "plots", one
        for each system: its axes (the x axis is None where there is one condition only), and its points [query, x, y,
        hits under x, hits under y]; a hit is [document, grade]. Without texts a point is [[task, id], x, y].
    """
    keeper = _Keeper(tasks, prefixes)
    plots = [
        pairs for one in unique_systems(cells) if (pairs := _pairs([c for c in cells if c.system == one], measure))
    ]
    limit = max(10, min(PER_TASK, IN_ALL // max(1, sum(len(pairs) for pairs in plots))))
    drawn = []
    for pairs in plots:
        x, y = pairs[0]
        drawn.append(
            {
                "model": y.model,
                "retrieval": y.retrieval,
                "measure": measure,
                "x": _axis(x),
                "y": _axis(y),
                "points": [point for pair in pairs for point in _points(pair, measure, keeper, limit)],
            }
        )
    return {"documents": keeper.documents, "queries": keeper.queries, "plots": drawn}


def unique_systems(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Model and retrieval of each system, in order."""
    return list(dict.fromkeys(cell.system for cell in cells))


class _Keeper:
    """Numbers the queries and documents that are shown."""

    def __init__(self, tasks: Sequence[Task], prefixes: Sequence[str]) -> None:
        self.documents: list[list[str]] = []
        self.queries: list[list[str]] = []
        self.size = 0
        self.prefix_of = {task.name: prefix for task, prefix in zip(tasks, prefixes, strict=True)}
        self._documents = PooledDocuments(
            [(prefix, task.collection.corpus) for task, prefix in zip(tasks, prefixes, strict=True)]
        )
        self._asked: dict[tuple[str, str], Query] = {}
        for task in tasks:
            self._asked |= {(task.name, query.query_id): query for query in task.own_queries()}
        self.qrels = {task.name: task.collection.qrels for task in tasks}
        self._document_rows: dict[str, int] = {}
        self._query_rows: dict[tuple[str, str], int] = {}

    def query(self, task: str, query_id: str) -> int:
        """The number of a query."""
        if (task, query_id) not in self._query_rows:
            self._query_rows[task, query_id] = len(self.queries)
            query = self._asked[task, query_id]
            wish = "" if query.instruction is None else query.instruction.text
            self._add(self.queries, [task, shorten(query_id, 60), shorten(query.text, 300), shorten(wish, 200)])
        return self._query_rows[task, query_id]

    def document(self, pooled_id: str) -> int:
        """The number of a document; one that no corpus has is shown by its id."""
        if pooled_id not in self._document_rows:
            self._document_rows[pooled_id] = len(self.documents)
            found = self._documents.get(pooled_id) or Document(pooled_id, "")
            self._add(self.documents, [shorten(pooled_id, 80), shorten(found.title, 80), shorten(found.text, 160)])
        return self._document_rows[pooled_id]

    def _add(self, rows: list[list[str]], row: list[str]) -> None:
        rows.append(row)
        self.size += sum(map(len, row))


def _pairs(cells: Sequence[Cell], measure: str) -> list[Pair]:
    """For each task two cells to set against each other: none and own, else two conditions, else two pools."""
    cells = [cell for cell in cells if measure in cell.values]
    pools, labels = unique(cell.pool for cell in cells), unique(cell.instruction for cell in cells)
    pool = "pooled" if "pooled" in pools else "closed"
    by_place = {(cell.task, cell.pool, cell.instruction): cell for cell in cells}
    if len(labels) > 1:
        chosen = ("none", "own") if {"none", "own"} <= set(labels) else tuple(labels[:2])
        wanted = [(pool, chosen[0]), (pool, chosen[1])]
    else:
        wanted = [(name, labels[0]) for name in pools]
    pairs: list[Pair] = []
    for task in unique(cell.task for cell in cells):
        found = [by_place.get((task, *place)) for place in wanted]
        if len(found) == 1 and found[0] is not None:
            pairs.append((None, found[0]))
        elif len(found) == 2 and found[0] is not None and found[1] is not None:
            pairs.append((found[0], found[1]))
    return pairs


def _axis(cell: Cell | None) -> str | None:
    return None if cell is None else f"{cell.instruction}, {cell.pool}"


def _points(pair: Pair, measure: str, keeper: _Keeper, limit: int) -> Iterator[list[Any]]:
    x, y = pair
    values = y.values[measure]
    before = values if x is None else x.values[measure]
    changed = sorted(values, key=lambda query_id: -abs(values[query_id] - before.get(query_id, 0.0)))
    told = set(changed[:limit])
    for query_id, value in values.items():
        point: list[Any] = [None if x is None else round(before.get(query_id, 0.0), 4), round(value, 4)]
        if query_id in told and keeper.size < SIZE:
            hits = [[] if cell is None else _hits(cell, query_id, keeper) for cell in pair]
            yield [keeper.query(y.task, query_id), *point, *hits]
        else:
            yield [[y.task, shorten(query_id, 60)], *point]


def _hits(cell: Cell, query_id: str, keeper: _Keeper) -> list[list[int]]:
    prefix = keeper.prefix_of[cell.task]
    judged = keeper.qrels[cell.task].get(query_id, {})
    found = []
    for hit in cell.run.get(query_id, ())[:TOP]:
        pooled_id = hit.doc_id if cell.pool == "pooled" else prefix + hit.doc_id
        grade = judged.get(pooled_id.removeprefix(prefix), 0) if pooled_id.startswith(prefix) else 0
        found.append([keeper.document(pooled_id), grade])
    return found
