"""Record: one row of a source before it becomes examples of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Row = Mapping[str, str | list[str] | None]
"""What a reader yields: field name -> one text or several; None and blank ones are left out."""

CLASS_FIELD = "class"
"""Records of one class are about the same: a document of the query's own class is never its negative. A class is a
mark, no text: no example holds it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One item of a source with all its texts: a paper with title, abstract and summary, a question with its answers.

    Args:
        record_id: the source's name and the row's number, such as "scitldr:17".
        fields: field name -> its texts, at least one, none blank.
    """

    record_id: str
    fields: Mapping[str, tuple[str, ...]]

    def texts(self) -> dict[str, tuple[str, ...]]:
        """The fields that hold texts: all but the class."""
        return {name: texts for name, texts in self.fields.items() if name != CLASS_FIELD}

    @classmethod
    def of_row(cls, record_id: str, row: Row) -> Record:
        """A reader's row, without its blank fields."""
        fields = {}
        for name, value in row.items():
            texts = tuple(text for text in ([value] if isinstance(value, str) else value or ()) if text.strip())
            if texts:
                fields[name] = texts
        return cls(record_id, fields)


Rows = Iterator[Row]
