"""Reader for conversations between a user and a service."""

from __future__ import annotations

import json

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows

_TURNS = 3  # of the conversation so far that the context holds


@reader("service-dialogue")
def read_service_dialogue(files: SourceFiles) -> Rows:
    """JSON lines of `turns` as [speaker, words]: what the SYSTEM says as `response` to the turns before, `context`."""
    for name in files.names:
        for number, line in files.lines(name):
            try:
                turns = [(speaker, words) for speaker, words in json.loads(line)["turns"]]
            except (ValueError, KeyError, TypeError, RecursionError):
                files.bad("wanted an object with turns, each a speaker and words", name, number)
                continue
            for place, (speaker, words) in enumerate(turns):
                if speaker == "SYSTEM" and place:
                    before = [said for _, said in turns[max(0, place - _TURNS) : place]]
                    yield {"context": " ".join(before), "response": words}
