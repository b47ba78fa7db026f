"""Steps: results on disk that are made once. A step that was finished with the same key is not done again.

The rows of a step are written under a temporary name; a small file beside them, written last, says that they are whole,
from what they were made, and what was counted on the way.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tart.errors import DataError
from tart.files import atomic_write, parse_json_object, read_lines

Rows = Iterable[Mapping[str, Any]]


class Step:
    """One result: a JSON-lines file.

    Args:
        path: the file.
        key: JSON-able; everything that the rows depend on. A step's own `.digest` stands for its rows in the next key.
    """

    def __init__(self, path: Path, key: Any) -> None:
        self.path, self._done = path, path.with_suffix(".done")
        self._key = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()

    def make(self, rows: Callable[[Counter[str]], Rows]) -> Step:
        """Make the rows unless they are there.

        Args:
            rows: gives them; what it counts in its argument is kept with them.
        """
        if self.is_done:
            return self
        counts: Counter[str] = Counter()
        digest = hashlib.sha256()
        self._done.unlink(missing_ok=True)
        written = 0
        with atomic_write(self.path) as file:
            for row in rows(counts):
                line = json.dumps(row).encode() + b"\n"
                digest.update(line)
                file.write(line)
                written += 1
        facts = {
            "key": self._key,
            "digest": digest.hexdigest(),
            "rows": written,
            "counts": dict(sorted(counts.items())),
        }
        facts["bytes"] = self.path.stat().st_size
        with atomic_write(self._done) as file:
            file.write(json.dumps(facts).encode())
        return self

    def _facts(self) -> dict[str, Any] | None:
        if not self._done.is_file() or not self.path.is_file():
            return None
        try:
            facts = parse_json_object(self._done.read_text(encoding="utf-8"), self._done)
        except DataError:
            return None  # damaged: made again
        whole = facts.get("key") == self._key and facts.get("bytes") == self.path.stat().st_size
        return facts if whole else None

    @property
    def is_done(self) -> bool:
        """Whether the rows are there, made with the same key."""
        return self._facts() is not None

    @property
    def facts(self) -> dict[str, Any]:
        """`rows`: how many; `counts`: what was counted; `digest`: sha256 of the rows.

        Raises:
            DataError: if the step isn't finished.
        """
        if (facts := self._facts()) is None:
            raise DataError("is not finished", path=self.path)
        return facts

    @property
    def digest(self) -> str:
        """sha256 of the rows."""
        return str(self.facts["digest"])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, streamed."""
        for number, line in read_lines(self.path):
            yield parse_json_object(line, self.path, number)
