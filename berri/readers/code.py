"""Readers for code, commands and their descriptions."""

from __future__ import annotations

import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows


@reader("codenn")
def read_codenn(files: SourceFiles) -> Rows:
    """Tab-separated lines: question id, answer id, title, code with escaped line ends, score."""
    for name in files.names:
        for number, line in files.lines(name):
            columns = line.split("\t")
            if len(columns) != 5:
                files.bad(f"wanted 5 columns, found {len(columns)}", name, number)
                continue
            yield {"title": columns[2], "code": columns[3].replace("\\n", "\n")}


@reader("tldr-pages")
def read_tldr_pages(files: SourceFiles, *, folders: list[str]) -> Rows:
    """Command examples: `request`, `command`, the `tool` it belongs to, and what the tool is, `purpose`."""
    for path, content in files.members(files.names[0], "*.md"):
        if path.split("/")[1] not in folders:
            continue
        text = files.decode(content, path)
        tool, purpose = re.search(r"^# (.+)$", text, re.M), re.search(r"^> (.+)$", text, re.M)
        if tool is None or purpose is None:
            files.bad("has no heading, or no line that says what the tool is for", path)
            continue
        for request, command in re.findall(r"^- (.+?):\s*\n\n`(.+)`\s*$", text, re.M):
            plain = re.sub(r"\{\{(?:\[[^|\]]*\|)?(.*?)\]?\}\}", r"\1", command)
            request = re.sub(r"\[(\w)\]", r"\1", request)
            yield {"request": request, "command": plain, "tool": tool[1], "purpose": f"{tool[1]}: {purpose[1]}"}


@reader("rustsec")
def read_rustsec(files: SourceFiles) -> Rows:
    """Security advisories: `title`, `description`, the `package` concerned."""
    for path, content in files.members(files.names[0], "*.md"):
        text = files.decode(content, path)
        package = re.search(r'^package = "(.+)"$', text, re.M)
        body = re.search(r"^# (.+?)\n(.*)", text.split("```", 2)[-1], re.S | re.M)
        if package is None or body is None:
            files.bad("has no package or no heading", path)
            continue
        yield {"title": body[1].strip(), "description": body[2].strip(), "package": package[1]}


@reader("text2sql")
def read_text2sql(files: SourceFiles) -> Rows:
    """Questions with the SQL query that answers them; the variables' values stand in both."""
    for name in files.names:
        for number, item in enumerate(files.json(name), start=1):
            if not item.get("sql"):
                files.bad("has no query", name, number, "sql")
                continue
            for sentence in item["sentences"]:
                question, query = sentence["text"], item["sql"][0]
                for variable, value in sentence.get("variables", {}).items():
                    question, query = question.replace(variable, value), query.replace(variable, value)
                yield {"question": question, "sql": query, "database": name.split(".")[0]}
