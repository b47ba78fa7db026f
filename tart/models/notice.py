"""What is said once: on which runtime a model runs, and that it meets an instruction that it was not trained for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache

from tart.collection import Query
from tart.text_format import TextFormat

logger = logging.getLogger(__name__)


@cache
def warn_once(text: str) -> None:
    """Warn, of each text once in a process."""
    logger.warning(text)


class InstructionNotice:
    """Warns at the first query with an instruction, if the text format says that the model knows none."""

    def __init__(self, name: str, text_format: TextFormat) -> None:
        self.name, self._pending = name, not text_format.knows_instructions

    def look_at(self, queries: Iterable[Query]) -> None:
        """Warn if this is the first time that one of the queries has an instruction."""
        if self._pending and any(query.instruction for query in queries):
            self._pending = False
            logger.warning(
                "%s was not trained with instructions: it reads yours as more words of the query, for better or worse",
                self.name,
            )
