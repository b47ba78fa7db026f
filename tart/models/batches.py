"""Batches of texts of like length, made ahead of the model, and smaller ones where memory runs out."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

logger = logging.getLogger(__name__)

NO_LIMIT = 10**9  # tokens, of a model that reads texts of any length

Inputs = TypeVar("Inputs")
Output = TypeVar("Output")

_OUT_OF_MEMORY = re.compile(
    r"out[ _]of[ _](host[ _])?memory|can(not|'t) allocate|bad[ _]alloc|failed to allocate|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)


class Budget:
    """How many tokens a batch may have, padding included; it shrinks where memory runs out, and stays so."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens


def token_batches(lengths: Sequence[int], rows: Sequence[int], budget: int) -> list[list[int]]:
    """Split rows into batches whose padded size stays within a budget.

    Args:
        lengths: of each text, in tokens.
        rows: which texts.
        budget: tokens of a batch, padding included; a text that is longer goes alone.

    Returns:
        The rows, longest first, so that memory runs out at once or not at all.

    >>> token_batches([3, 9, 4, 4], range(4), 10)
    [[1], [2, 3], [0]]
    """
    batches: list[list[int]] = []
    for row in sorted(rows, key=lambda row: -lengths[row]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def run_in_batches(
    lengths: Sequence[int],
    budget: Budget,
    prepare: Callable[[list[int]], Inputs],
    run: Callable[[Inputs], Output],
    *,
    workers: int = 1,
) -> Iterator[tuple[list[int], Output]]:
    """Run a model over texts; the next batches are prepared in threads while it computes.

    When a batch runs out of memory, the rest goes on with half its size.

    Args:
        lengths: of each text, in tokens.
        budget: shrinks to half of a batch that ran out of memory.
        prepare: makes the model's inputs of some rows.
        run: the model.
        workers: threads that prepare.

    Yields:
        Rows, and what the model gave for them.

    Raises:
        RuntimeError, MemoryError: of the model; out of memory only if it was a single text.
    """
    queue = deque(token_batches(lengths, range(len(lengths)), budget.tokens))
    if len(queue) == 1 and len(queue[0]) == 1:
        yield queue[0], run(prepare(queue[0]))  # a query: a thread would cost more than it saves
        return
    with ThreadPoolExecutor(workers) as pool:
        coming: deque[tuple[list[int], Future[Inputs]]] = deque()

        def fill() -> None:
            while queue and len(coming) < 2 * workers:
                rows = queue.popleft()
                coming.append((rows, pool.submit(prepare, rows)))

        fill()
        while coming:
            rows, inputs = coming.popleft()
            try:
                prepared = inputs.result()
                fill()
                output = run(prepared)
            except (RuntimeError, MemoryError) as error:
                if len(rows) == 1 or not is_out_of_memory(error):
                    raise
                budget.tokens = max(1, len(rows) // 2) * lengths[rows[0]]
                logger.warning("out of memory with a batch of %d texts; going on with half of it", len(rows))
                left = [row for batch in (rows, *(one for one, _ in coming), *queue) for row in batch]
                wait([future for _, future in coming])
                coming.clear()
                queue = deque(token_batches(lengths, left, budget.tokens))
                fill()
                continue
            yield rows, output


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, OpenVINO or Python says that memory ran out."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(f"{type(error).__name__} {error}"))
