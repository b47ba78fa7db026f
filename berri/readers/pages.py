"""Readers for documentation and other pages packed in an archive."""

from __future__ import annotations

import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows


@reader("tech-faq")
def read_tech_faq(files: SourceFiles) -> Rows:
    """FAQs of Perl (`=head2 question`) and of TeX (pages with a `title:`): `question` and `answer`."""
    for path, content in files.members(files.names[0]):
        text = files.decode(content, path)
        if path.endswith(".pod"):
            parts = re.split(r"^=head2 (.+)$", text, flags=re.M)
            for question, answer in zip(parts[1::2], parts[2::2], strict=True):
                body = re.sub(r"^=\w+.*$", "", answer, flags=re.M)
                yield {"question": question, "answer": re.sub(r"[A-Z]<+ ?([^<>]*?) ?>+", r"\1", body).strip()}
        elif path.endswith(".md") and (title := re.search(r"^title: (.+)$", text, re.M)):
            yield {"question": title[1].strip("\"' "), "answer": text.split("---", 2)[-1].strip()}


@reader("powershell")
def read_powershell(files: SourceFiles) -> Rows:
    """Examples of cmdlets: `title` with the cmdlet's name, `code`, and the `remark` that explains it."""
    for path, content in files.members(files.names[0], "*.md"):
        text = files.decode(content, path)
        cmdlet = path.split("/")[-1].removesuffix(".md")
        for title, body in re.findall(r"^### Example \d+\s*[:-]\s*(.+?)$(.*?)(?=^##)", text, re.M | re.S):
            code = re.search(r"```powershell(?:-interactive)?\n(.*?)```", body, re.S | re.I)
            remark = re.sub(r"```.*?```", " ", body, flags=re.S).strip()
            yield {"title": title, "code": code[1].strip() if code else None, "remark": remark, "cmdlet": cmdlet}


@reader("citances")
def read_citances(files: SourceFiles) -> Rows:
    """ScisummNet: each cited paper's `abstract`, and the `citation`s of it, from a JSON file beside it."""
    abstracts, cited = {}, {}
    for path, content in files.members(files.names[0]):
        paper = path.split("/")[-2] if path.endswith(".json") else path.split("/")[-3]
        if path.endswith(".abstract.txt"):
            abstracts[paper] = " ".join(files.decode(content, path).split())
        elif path.endswith(".json"):
            cited[paper] = files.parse_json(files.decode(content, path), path)
    for paper, sentences in cited.items():
        for one in sentences:
            text = one.get("clean_text") or one.get("raw_text")
            yield {"citation": text, "abstract": abstracts.get(paper)}
