"""Reader for data sets that were published as prompts with their completions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows
from tart.errors import ConfigError

_END = "<|endoftext|>"


@reader("prompts")
def read_prompts(files: SourceFiles, *, parts: Mapping[str, Mapping[str, str]]) -> Rows:
    """JSON lines of `prompt` and `completion`, taken apart again.

    Args:
        files: the source's files.
        parts: file name -> `prompt`: a pattern of the whole prompt with a named group for each field, and
            `completion`: the completion's field.

    Raises:
        ConfigError: if a pattern isn't a regular expression.
    """
    for name, part in parts.items():
        try:
            pattern = re.compile(part["prompt"], re.S)
        except re.error as error:
            raise ConfigError(f"{name}: {part['prompt']!r} is no regular expression ({error})") from None
        for number, line in files.lines(name):
            try:
                item = json.loads(line)
                prompt, completion = item["prompt"], item["completion"].removesuffix(_END)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                files.bad("wanted an object with prompt and completion", name, number)
                continue
            found = pattern.fullmatch(prompt)
            if found is None:
                files.bad("the prompt has another form than the card says", name, number, "prompt")
            else:
                yield {**found.groupdict(), part["completion"]: completion}
