"""Scanning a matrix in half precision for many queries at once.

A product of bfloat16 matrices takes a fraction of the time of float32, where the processor multiplies them.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tart.index.rounded import ROWS, UNIT, Candidates, Rounded
from tart.processor import bfloat16_instruction
from tart.retrieval.protocols import FloatArray

if TYPE_CHECKING:
    import torch

QUERIES = 256  # at once
FOLD = 4  # rows of a group
WORTH = 1 << 21  # pairs of a row and a query, below which it isn't faster
WORTH_LOADING = 1 << 28  # below which loading torch, where nothing has yet, costs more than it saves


def worth_scanning(pairs: int) -> bool:
    """Whether `scan` is the fast way to score so many pairs of a row and a query."""
    return pairs >= (WORTH if "torch" in sys.modules else WORTH_LOADING) and bfloat16_instruction() is not None


def scan(vectors: FloatArray, rounded: Rounded | None, queries: FloatArray, count: int) -> Candidates:
    """The rows whose rounded scores are the best.

    Args:
        vectors: float32, shape (rows, dim); may be memory-mapped.
        rounded: the same in bfloat16, if it is there; then the exact vectors aren't read.
        queries: float32, shape (n, dim).
        count: how many rows are wanted for each query, at most `rows`.
    """
    import torch

    asked = torch.from_numpy(queries).to(torch.bfloat16)
    best: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in range(0, len(queries), QUERIES)]
    longest, error = (0.0, 0.0) if rounded is None else (rounded.longest, rounded.error)
    room = torch.empty(0, dtype=torch.bfloat16)
    for first, part, length in _parts(vectors, rounded):
        longest = max(longest, length)
        padded = -(-len(part) // FOLD**3) * FOLD**3
        for number, kept in enumerate(best):
            block = asked[number * QUERIES : (number + 1) * QUERIES]
            scores = room.resize_(padded, len(block))
            torch.mm(part, block.T, out=scores[: len(part)])
            scores[len(part) :] = -torch.inf
            values, places = _best(scores, min(count, len(part)))
            kept.append((values, places + first))
    joined = [_best_of(kept, count) for kept in best]
    rows = np.concatenate([found.numpy() for _, found in joined])
    lowest = np.concatenate([values.float().amin(dim=1).numpy() for values, _ in joined])
    # Three roundings: of the query, of the row, of their product; and what float32 loses in adding up.
    lengths = np.linalg.norm(queries, axis=1)
    off = np.linalg.norm(queries - asked.float().numpy(), axis=1)
    lost = off * longest + (lengths + off) * (error or UNIT * longest) + UNIT * np.abs(lowest)
    sums = queries.shape[1] * 2.0**-23 * lengths * longest
    return Candidates(rows, lowest + 1.001 * lost + sums)


def _parts(vectors: FloatArray, rounded: Rounded | None) -> Iterator[tuple[int, torch.Tensor, float]]:
    """The matrix in parts: the first row, the rows in bfloat16, and the length of the longest if it isn't known yet."""
    import torch

    count = max(round(len(vectors) / ROWS), 1)
    edges = [len(vectors) * number // count for number in range(count + 1)]
    for first, end in pairwise(edges):
        if rounded is None:
            exact = _tensor(vectors[first:end], torch.float32)
            yield first, exact.to(torch.bfloat16), float(torch.linalg.vector_norm(exact, dim=1).max())
        else:
            yield first, _tensor(rounded.bits[first:end], torch.bfloat16), 0.0


def _tensor(array: npt.NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """A view of an array that is only read; of one that can't be written to, `from_numpy` would warn."""
    import torch

    array = np.ascontiguousarray(array)
    memory: Any = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    memory.keep = array
    return torch.frombuffer(memory, dtype=dtype).view(array.shape)


def _best(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best of each column and their rows, in no order, each of shape (columns, count).

    A tournament: rows are folded into groups, and only the groups with the best winners are looked through, which
    is faster than one `topk` over all rows.
    """
    import torch

    height = len(scores)
    if height < FOLD * count or height % FOLD:
        best = torch.topk(scores.T, count, dim=1, sorted=False)
        return best.values, best.indices
    groups = scores.view(FOLD, height // FOLD, -1)
    winners = groups.amax(dim=0)
    _, rows = _best(winners, count)
    members = (rows.unsqueeze(1) + torch.arange(0, height, len(winners)).view(1, -1, 1)).flatten(1)
    values, places = torch.topk(torch.gather(scores.T, 1, members), count, dim=1, sorted=False)
    return values, torch.gather(members, 1, places)


def _best_of(kept: list[tuple[torch.Tensor, torch.Tensor]], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best of what each part of the matrix gave."""
    import torch

    values = torch.cat([one for one, _ in kept], dim=1)
    rows = torch.cat([one for _, one in kept], dim=1)
    found = torch.topk(values, count, dim=1, sorted=False)
    return found.values, torch.gather(rows, 1, found.indices)
