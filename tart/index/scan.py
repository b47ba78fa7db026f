"""Scanning a matrix in half precision: which rows can be among the best, with a bound on what rounding may hide.

A product of bfloat16 vectors takes a fraction of the time of float32. Its results are off by a bounded amount, so the
best of them, scored again exactly, are the true best wherever the last one lies further below than that bound.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from tart.retrieval.protocols import FloatArray

if TYPE_CHECKING:
    import torch

ROWS = 1 << 16  # of the matrix at once: what is converted and scored lies in memory, whatever the matrix's size
QUERIES = 256  # at once
FOLD = 8  # columns of a group
WORTH = 1 << 24  # pairs of a row and a query, below which loading torch costs more than it saves
_UNIT = 2.0**-8  # bfloat16 keeps 8 bits: a rounded number is off by at most half of this, relatively


class Candidates(NamedTuple):
    """Rows that may be among the best.

    Args:
        rows: shape (n, count).
        bound: shape (n,): no other row scores more than this.
    """

    rows: npt.NDArray[np.int64]
    bound: FloatArray


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 numbers; told by Linux alone, elsewhere it isn't relied on."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def scan(vectors: FloatArray, queries: FloatArray, count: int) -> Candidates:
    """The rows whose rounded scores are the best.

    Args:
        vectors: float32, shape (rows, dim); may be memory-mapped.
        queries: float32, shape (n, dim).
        count: how many rows are wanted for each query, at most `rows`.
    """
    import torch

    asked = torch.from_numpy(queries).to(torch.bfloat16)
    best: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in range(0, len(queries), QUERIES)]
    longest = 0.0
    room = torch.empty((min(QUERIES, len(queries)), min(ROWS, len(vectors))), dtype=torch.bfloat16)
    for first in range(0, len(vectors), ROWS):
        part = torch.from_numpy(np.ascontiguousarray(vectors[first : first + ROWS]))
        longest = max(longest, float(torch.linalg.vector_norm(part, dim=1).max()))
        rounded = part.to(torch.bfloat16).T
        for number, kept in enumerate(best):
            block = asked[number * QUERIES : (number + 1) * QUERIES]
            scores = torch.mm(block, rounded, out=room[: len(block), : rounded.shape[1]])
            values, columns = _best(scores, min(count, scores.shape[1]))
            kept.append((values, columns + first))
    joined = [_best_of(kept, count) for kept in best]
    rows = np.concatenate([found.numpy() for _, found in joined])
    lowest = np.concatenate([values.float().amin(dim=1).numpy() for values, _ in joined])
    lengths = np.linalg.norm(queries, axis=1)
    # Both factors are rounded, each by half a unit at most, and their sum of products once more at the end.
    return Candidates(rows, lowest + _UNIT * (1.02 * lengths * longest + np.abs(lowest)))


def _best(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best of each row and their columns, in no order.

    A tournament: columns are folded into groups, and only the groups with the best winners are looked through. It takes
    two thirds of the time of one `topk` over all columns.
    """
    import torch

    n, width = scores.shape
    if width < FOLD * count or width % FOLD:
        best = torch.topk(scores, count, dim=1, sorted=False)
        return best.values, best.indices
    groups = scores.view(n, FOLD, width // FOLD)
    _, winners = _best(groups.amax(dim=1), count)
    members = torch.gather(groups, 2, winners.unsqueeze(1).expand(-1, FOLD, -1)).reshape(n, -1)
    values, places = torch.topk(members, count, dim=1, sorted=False)
    return values, places // count * (width // FOLD) + torch.gather(winners, 1, places % count)


def _best_of(kept: list[tuple[torch.Tensor, torch.Tensor]], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best of what each part of the matrix gave."""
    import torch

    values = torch.cat([one for one, _ in kept], dim=1)
    rows = torch.cat([one for _, one in kept], dim=1)
    found = torch.topk(values, count, dim=1, sorted=False)
    return found.values, torch.gather(rows, 1, found.indices)
