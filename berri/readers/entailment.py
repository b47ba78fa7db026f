"""Reader for pairs of texts with a verdict."""

from __future__ import annotations

import json

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows


@reader("entailment")
def read_entailment(files: SourceFiles) -> Rows:
    """JSON lines: a `statement` with a text that is its `proof` or, where it doesn't follow, only `near` to it."""
    fields = {"entailment": "proof", "not_entailment": "near"}
    for name in files.names:
        for number, line in files.lines(name):
            try:
                item = json.loads(line)
                yield {"statement": item["hypothesis"], fields[item["label"]]: item["premise"]}
            except (ValueError, KeyError, TypeError, RecursionError):
                files.bad("wanted hypothesis, premise, and entailment or not_entailment as label", name, number)
