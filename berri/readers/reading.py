"""Readers for tests of reading and listening, paraphrases line by line, fact checks and privacy policies."""

from __future__ import annotations

import json
import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import read_jsonl
from berri.record import Rows
from tart.errors import DataError

_QUESTIONS, _CHOICES = 4, 4  # of a MCTest story
_LEAST_WORDS = 3  # of an answer that can be told from others without its question
_LEAST_CLAUSE = 5  # words of a policy: shorter ones are the same in all policies


@reader("mctest")
def read_mctest(files: SourceFiles) -> Rows:
    """Tab-separated: id, properties, `story`, then four times a `question` and four choices."""
    for name in files.names:
        for number, line in files.lines(name):
            columns = line.split("\t")
            if len(columns) != 3 + _QUESTIONS * (1 + _CHOICES):
                files.bad(f"wanted 23 columns, found {len(columns)}", name, number)
                continue
            story = re.sub(r"\s*\\(newline|tab)\s*", " ", columns[2])
            asked = [re.sub(r"^(one|multiple): ", "", text) for text in columns[3 :: 1 + _CHOICES]]
            yield {"story": " ".join(story.split()), "question": asked}


@reader("multirc")
def read_multirc(files: SourceFiles) -> Rows:
    """JSON lines of a `passage` and questions, each with its right answers as `answer` and the others as `wrong`."""
    for name in files.names:
        for number, line in files.lines(name):
            try:
                passage = json.loads(line)["passage"]
                text, asked = passage["text"], passage["questions"]
            except (ValueError, KeyError, TypeError) as error:
                files.bad(f"wanted an object with a passage and its questions ({error!r})", name, number)
                continue
            for item in asked:
                kinds: dict[str, list[str]] = {"answer": [], "wrong": []}
                for answer in item.get("answers", ()):
                    if len(answer["text"].split()) >= _LEAST_WORDS:
                        kinds["answer" if answer["label"] else "wrong"].append(answer["text"])
                yield {"question": item["question"], "passage": text, **kinds}


@reader("mutual")
def read_mutual(files: SourceFiles) -> Rows:
    """An archive of dialogues: the `context`, the reply that follows logically, and three that don't as `wrong`."""
    for path, content in files.members(files.names[0], "*.txt"):
        try:
            item = json.loads(content)
            place, options, context = "ABCD".index(item["answers"]), item["options"], item["article"]
            reply = options[place]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            files.bad(f"wanted a dialogue with its options ({error!r})", f"{files.names[0]}/{path}")
            continue
        wrong = [text for other, text in enumerate(options) if other != place]
        yield {"context": context, "reply": reply, "wrong": wrong}


@reader("labelled-lines")
def read_labelled_lines(files: SourceFiles, *, parts: list[str], first: str, second: str, label: str) -> Rows:
    """Files side by side: `first` and `same`, from the lines whose label is 1.

    Args:
        files: the source's files.
        parts: how the files' names begin, such as "train_".
        first: how the names of the first texts' files end.
        second: how those of the second texts end.
        label: how those of the labels end.

    Raises:
        DataError: if the files of a part differ in their number of lines.
    """
    for part in parts:
        columns = [[text.strip() for _, text in files.lines(part + end)] for end in (first, second, label)]
        if len({len(column) for column in columns}) > 1:
            counts = ", ".join(f"{len(column):,}" for column in columns)
            raise DataError(f"the files of {part!r} differ in their number of lines: {counts}", path=files.folder)
        for number, (text, partner, kind) in enumerate(zip(*columns, strict=True), start=1):
            if kind not in ("0", "1"):
                files.bad(f"wanted 0 or 1, found {kind!r}", part + label, number)
            elif kind == "1":
                yield {"first": text, "same": partner}


@reader("policies")
def read_policies(files: SourceFiles) -> Rows:
    """Privacy policies in SQuAD's form: `question` with the site's name, the `segment`, the words that `answer`."""
    for name in files.names:
        try:
            sites = files.json(name)["data"]
        except (KeyError, TypeError) as error:
            raise DataError(f"wanted JSON with a list under 'data' ({error!r})", path=files.path(name)) from None
        for number, site in enumerate(sites, start=1):
            if "title" not in site:
                files.bad("a policy without its site's name", name, number, "title")
                continue
            for paragraph in site.get("paragraphs", ()):
                for asked in paragraph["qas"]:
                    answers = [one["text"] for one in asked.get("answers", ())]
                    yield {
                        "question": f"{asked['question']} ({site['title']})",
                        "segment": paragraph["context"],
                        "answer": [text for text in answers if len(text.split()) >= _LEAST_CLAUSE],
                    }


@reader("fact-checks")
def read_fact_checks(files: SourceFiles) -> Rows:
    """JSON lines of a `claim` and its `justification`; a part of the texts is still quoted as in CSV."""
    for row in read_jsonl(files, fields={"claim": "claim", "justification": "justification"}):
        yield {field: _unquoted(text.strip()) if isinstance(text, str) else None for field, text in row.items()}


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"').strip()
    return text
