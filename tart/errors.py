"""What can go wrong, as a tree.

    TartError
    ├── ConfigError     (ValueError)  a setting, option or name is wrong; the caller mends the call
    ├── DataError       (ValueError)  a file holds something it must not; the caller mends the file
    ├── CheckpointError (ValueError)  a model folder can't be used
    ├── IndexMismatch   (ValueError)  index, model and text format don't belong together
    ├── StorageError    (OSError)     the disk is full, or a folder is being written by somebody else
    └── DownloadError   (OSError)     something has to come over the network and can't

Every message says what came, what is wanted, where, and what to do. The command line prints it as one line.
"""

from __future__ import annotations

from pathlib import Path


class TartError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(TartError, ValueError):
    """A setting, option or name is wrong. Command line exit code 2."""


class DataError(TartError, ValueError):
    """A file holds something it must not; names the file, the line and the field.

    Args:
        problem: what came and what is wanted.
        path: the file; None when the data never was in one.
        line: 1-based line number.
        field: name of the JSON key or column.
    """

    def __init__(
        self, problem: str, *, path: str | Path | None = None, line: int | None = None, field: str | None = None
    ) -> None:
        self.problem, self.path, self.line, self.field = problem, path, line, field
        where = "" if path is None else str(path) if line is None else f"{path}:{line}"
        parts = [where, "" if field is None else f"field {field!r}", problem]
        super().__init__(": ".join(part for part in parts if part))

    def __reduce__(self) -> tuple[object, ...]:
        return _restore_data_error, (self.problem, self.path, self.line, self.field)


def _restore_data_error(
    problem: str, path: str | Path | None, line: int | None, field: str | None
) -> DataError:  # keyword arguments don't survive the default way of crossing a process boundary
    return DataError(problem, path=path, line=line, field=field)


class CheckpointError(TartError, ValueError):
    """A model folder is incomplete, damaged or of a kind that can't be loaded."""


class IndexMismatch(TartError, ValueError):
    """An index, a model and a text format that don't belong together."""


class StorageError(TartError, OSError):
    """The disk is full, or somebody else is writing the same folder."""


class DownloadError(TartError, OSError):
    """Something has to come over the network and can't."""
