"""Cards: the facts of a source and of the retrieval tasks that are made from it, one TOML file for each source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from berri.against import TEST_COLLECTIONS
from tart.errors import DataError
from tart.shards import Level
from tart.toml import TomlTable, read_toml

LicenseClass = Literal["open", "research"]
FORMS = ("order", "wish", "noun", "question")
LEAST_WORDINGS, LEAST_HELD_OUT = 8, 2
TEXT_STEPS = ("html", "ptb", "markdown")
CARDS = Path(__file__).parent / "cards"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Args:
        name: below the source's folder.
        sha256: of its bytes.
        url: where it comes from, at a fixed revision; "" if it has to be put together from what is published.
    """

    name: str
    sha256: str
    url: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows of one or more tasks come from.

    Args:
        name: the card file's name, and that of the folder in a mirror.
        title: what its authors call it.
        published: repository or page, and what of it is taken.
        revision: commit or version of what is published.
        license: as its publisher states it.
        license_class: "open" (free use, also commercial), or "research".
        license_reason: why this class.
        citation: who made it.
        domain: where its texts come from.
        overlaps: test collections that it shares texts with, as far as known.
        note: what to mind; "" if nothing.
        files: what a mirror holds of it; none for a source that comes from the hub.
        reader: name of its reader.
        settings: the reader's settings.
        text_steps: how its texts are cleaned: "html" (tags, entities), "ptb" (undo Penn Treebank tokens), "markdown".
    """

    name: str
    title: str
    published: str
    revision: str
    license: str
    license_class: LicenseClass
    license_reason: str
    citation: str
    domain: str
    overlaps: tuple[str, ...]
    note: str
    files: tuple[SourceFile, ...]
    reader: str
    settings: dict[str, Any]
    text_steps: tuple[str, ...]

    @property
    def comes_from(self) -> str:
        """Where its files are to be had: "address", "hub", or "mirror" where one of them has no address."""
        if not self.files:
            return "hub"
        return "address" if all(file.url for file in self.files) else "mirror"


@dataclass(frozen=True, slots=True)
class Wording:
    """One way to say what a task wants.

    Args:
        text: the instruction.
        form: "order", "wish", "noun" (a noun phrase) or "question".
        held_out: kept out of training, to measure how much a model depends on wording.
    """

    text: str
    form: str
    held_out: bool


@dataclass(frozen=True, slots=True)
class TaskCard:
    """One retrieval task.

    Args:
        name: unique among all cards.
        source: where its rows come from.
        query: name of the field whose texts are the queries.
        document: name of the field whose texts are right for them.
        title: name of the field that is the documents' title; "" if they have none.
        query_is: what the query is, in words.
        document_is: what the document is, in words.
        intent: how the document relates to the query.
        domain: where the document comes from.
        unit: what block of text it is.
        family: the kind of family it belongs to, such as "paper"; "" if none.
        compatible: tasks of the same source whose documents, for the same query, satisfy this task's instruction too.
        opposite: tasks of the same source whose documents, for the same query, say or are the contrary.
        negatives: name of the field whose texts are wrong for the query, as the source says; "" if none.
        level: "train"; "held-out-task": a family that training sees; "held-out-family": one that it doesn't.
        wordings: the instructions.
        expected: least number of pairs after cleaning; `check` compares.
    """

    name: str
    source: Source
    query: str
    document: str
    title: str
    query_is: str
    document_is: str
    intent: str
    domain: str
    unit: str
    family: str
    compatible: tuple[str, ...]
    opposite: tuple[str, ...]
    negatives: str
    level: Level
    wordings: tuple[Wording, ...]
    expected: int


def read_card(path: str | Path) -> list[TaskCard]:
    """The tasks of one card file.

    Raises:
        DataError: naming file and key: unknown or missing keys, a value of another kind, fewer than eight wordings or
            two held-out ones, a form without a wording, a wording that is blank, "nan" or there twice.
    """
    path = Path(path)
    top = read_toml(path)
    source = _source(top.table("source"), path.stem)
    tasks = [_task(table, source) for table in top.tables("task")]
    top.finish()
    if not tasks:
        raise DataError("wanted at least one [[task]]", path=path, field="task")
    names = [task.name for task in tasks]
    for task, table in zip(tasks, top.tables("task"), strict=True):
        for key, others in (("compatible", task.compatible), ("opposite", task.opposite)):
            for other in others:
                if other not in names or other == task.name:
                    raise table.error(key, f"{other!r} is no other task of this file; they are {', '.join(names)}")
    return tasks


def load_cards(folder: str | Path = CARDS) -> dict[str, TaskCard]:
    """All tasks by name, in the order of their names.

    Raises:
        DataError: as `read_card`; two tasks of one name; one wording for two tasks that want other documents for the
            same query; a task that is held out where nothing of its family is trained, or a family held out in part.
    """
    cards: dict[str, TaskCard] = {}
    for path in sorted(Path(folder).glob("*.toml")):
        for task in read_card(path):
            if task.name in cards:
                other = cards[task.name].source.name
                raise DataError(f"a task of this name is in {other}.toml too", path=path, field=task.name)
            cards[task.name] = task
    if not cards:
        raise DataError("holds no card", path=folder)
    _refuse_equal_wordings(cards, Path(folder))
    _check_levels(cards, Path(folder))
    return dict(sorted(cards.items()))


def siblings(task: TaskCard, cards: dict[str, TaskCard]) -> list[TaskCard]:
    """The other tasks of the same source with the same queries."""
    return [
        other
        for other in cards.values()
        if other.source.name == task.source.name and other.query == task.query and other.name != task.name
    ]


def _refuse_equal_wordings(cards: dict[str, TaskCard], folder: Path) -> None:
    for task in cards.values():
        mine = {wording.text.casefold() for wording in task.wordings}
        for other in siblings(task, cards):
            shared = mine & {wording.text.casefold() for wording in other.wordings}
            if shared and other.document != task.document:
                path = folder / f"{task.source.name}.toml"
                raise DataError(f"{sorted(shared)[0]!r} stands for {task.name} and for {other.name}", path=path)


def _check_levels(cards: dict[str, TaskCard], folder: Path) -> None:
    """A held-out task has brothers that are trained on; a held-out family has none."""
    trained = {task.family for task in cards.values() if task.family and task.level == "train"}
    for task in cards.values():
        path = folder / f"{task.source.name}.toml"
        if task.level == "held-out-task" and task.family not in trained:
            raise DataError(f"{task.name}: no task of family {task.family!r} is trained", path=path, field="level")
        if task.level == "held-out-family" and (not task.family or task.family in trained):
            raise DataError(f"{task.name}: tasks of family {task.family!r} are trained", path=path, field="level")


def _source(table: TomlTable, name: str) -> Source:
    reader = table.table("reader")
    source = Source(
        name=name,
        title=table.take("title", str),
        published=table.take("published", str),
        revision=table.take("revision", str),
        license=table.take("license", str),
        license_class=_one_of(table, "license_class", get_args(LicenseClass)),
        license_reason=table.take("license_reason", str),
        citation=table.take("citation", str),
        domain=table.take("domain", str),
        overlaps=table.texts("overlaps"),
        note=table.take("note", str, ""),
        files=tuple(_file(one) for one in table.tables("files")),
        reader=reader.take("name", str),
        settings=reader.rest(),
        text_steps=table.texts("text_steps"),
    )
    for name in source.overlaps:
        table.check("overlaps", name, TEST_COLLECTIONS.__contains__, f"one of {', '.join(TEST_COLLECTIONS)}")
    for step in source.text_steps:
        table.check("text_steps", step, TEXT_STEPS.__contains__, " or ".join(TEXT_STEPS))
    if not source.files and not source.reader.startswith("hub"):
        raise table.error("files", "wanted at least one [[source.files]]; only readers of the hub need none")
    table.finish()
    return source


def _file(table: TomlTable) -> SourceFile:
    name, sha256, url = table.take("name", str), table.take("sha256", str), table.take("url", str, "")
    table.check("name", name, lambda text: not text.startswith("/") and ".." not in text.split("/"), "a name below it")
    table.check("sha256", sha256, re.compile("[0-9a-f]{64}").fullmatch, "64 hex digits")
    table.check("url", url, lambda text: not text or text.startswith("https://"), "an https address")
    table.finish()
    return SourceFile(name, sha256, url)


def _one_of(table: TomlTable, key: str, known: tuple[Any, ...], default: str | None = None) -> Any:
    return table.check(key, table.take(key, str, default), known.__contains__, " or ".join(known))


def _task(table: TomlTable, source: Source) -> TaskCard:
    name = table.take("name", str)
    table.check("name", name, re.compile("[a-z0-9]+(-[a-z0-9]+)*").fullmatch, "lower-case words joined by -")
    task = TaskCard(
        name=name,
        source=source,
        query=table.take("query", str),
        document=table.take("document", str),
        title=table.take("title", str, ""),
        query_is=table.take("query_is", str),
        document_is=table.take("document_is", str),
        intent=table.take("intent", str),
        domain=table.take("domain", str, source.domain),
        unit=table.take("unit", str),
        family=table.check(
            "family", table.take("family", str, ""), re.compile("[a-z ]*").fullmatch, "lower-case words"
        ),
        compatible=table.texts("compatible"),
        opposite=table.texts("opposite"),
        negatives=table.take("negatives", str, ""),
        level=_one_of(table, "level", get_args(Level), "train"),
        wordings=_wordings(table),
        expected=table.take("expected", int),
    )
    table.finish()
    return task


def _wordings(table: TomlTable) -> tuple[Wording, ...]:
    forms = table.table("instructions")
    texts = {form: forms.texts(form) for form in FORMS}
    held_out = forms.texts("held_out")
    forms.finish()
    flat = [text for form in FORMS for text in texts[form]]
    for form in FORMS:
        if not texts[form]:
            raise forms.error(form, "wanted at least one wording of this form")
    for number, text in enumerate(flat):
        if text.strip().casefold() in ("nan", "none", "null", "n/a"):
            raise forms.error("order", f"{text!r} is no instruction")
        if text != " ".join(text.split()):
            raise forms.error("order", f"{text!r} has white space at its ends or twice in a row")
        if text.casefold() in (other.casefold() for other in flat[:number]):
            raise forms.error("order", f"{text!r} comes twice")
    if len(flat) < LEAST_WORDINGS:
        raise forms.error("order", f"wanted at least {LEAST_WORDINGS} wordings in all, found {len(flat)}")
    if len(held_out) < LEAST_HELD_OUT or not set(held_out) <= set(flat) or len(held_out) > len(flat) // 2:
        raise forms.error("held_out", f"wanted at least {LEAST_HELD_OUT} of the wordings above, at most half of them")
    return tuple(Wording(text, form, text in held_out) for form in FORMS for text in texts[form])
