"""Reader for texts with others that are labelled as right or wrong for them."""

from __future__ import annotations

from collections.abc import Mapping

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import read_csv
from berri.record import Rows


@reader("by-label")
def read_by_label(
    files: SourceFiles,
    *,
    first: str | int,
    second: str | int,
    label: str | int,
    names: Mapping[str, list[str]],
    keep: Mapping[str, str | int] | None = None,
    right: list[str],
    delimiter: str = ",",
    quoted: bool = True,
    header: bool = True,
) -> Rows:
    """Tables of pairs: one row for each `first` text, with its partners in the fields that their labels name.

    Args:
        files: the source's files.
        first: column of the text that rows are gathered by.
        second: column of its partner.
        label: column of the pair's label.
        names: label -> the partner's fields.
        keep: field -> column, taken from the first row of a text.
        right: the fields of right partners; what stands in one of them is left out of the others.
        delimiter: between columns.
        quoted: whether quotes group text.
        header: whether the first line holds the titles.
    """
    fields = {"first": first, "second": second, "label": label, **(keep or {})}
    gathered: dict[str, dict[str, list[str]]] = {}
    for row in read_csv(files, fields=fields, delimiter=delimiter, quoted=quoted, header=header):
        text, partner, kind = (str(row[name]).strip() for name in ("first", "second", "label"))
        entry = gathered.setdefault(text, {field: [str(row[field])] for field in keep or {}})
        for field in names.get(kind, ()):
            entry.setdefault(field, []).append(partner)
        if kind not in names:
            files.bad(f"unknown label {kind!r}; known are {', '.join(names)}", files.names[0], field="label")
    for text, entry in gathered.items():
        good = {one for field in right for one in entry.get(field, ())}
        others = [field for field in entry if field not in right and field not in (keep or {})]
        yield {
            "first": text,
            **entry,
            **{field: [one for one in entry[field] if one not in good] for field in others},
        }
