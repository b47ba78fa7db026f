"""The data card: what a person must know of a collection before training on it, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def data_card(name: str, facts: Mapping[str, Any]) -> str:
    """The card of a collection.

    Args:
        name: what it is called.
        facts: those of its manifest.
    """
    tasks: Mapping[str, Mapping[str, Any]] = facts["tasks"]
    sources = {task["source"]: task for task in tasks.values()}
    examples, config = facts["examples"], facts["config"]
    parts = [
        f"# {name}",
        f"{examples['train']:,} training and {examples['dev']:,} development examples of {len(tasks)} retrieval tasks "
        f"from {len(sources)} sources. Each example is a query with an instruction, documents that fit both, and "
        "documents that don't: hard ones (of the right kind, near, and wrong) and instruction-unfollowing ones (near "
        "the query, and not what the instruction asks for).",
        _made(config),
        "## Kept apart from test collections",
        _removed(facts),
        "## Tasks",
        _table(
            ("task", "query", "document", "intent", "domain", "train", "dev", "level"),
            (
                (
                    key,
                    task["query_is"],
                    task["document_is"],
                    task["intent"],
                    task["domain"],
                    f"{task['examples']['train']:,}",
                    f"{task['examples']['dev']:,}",
                    task["level"],
                )
                for key, task in tasks.items()
            ),
        ),
        "## Sources and licenses",
        "The texts belong to their authors. `open`: the license allows commercial use; `research`: it doesn't, or says "
        "nothing.",
        _table(
            ("source", "license", "class", "published", "citation"),
            (
                (
                    task["title"],
                    task["license"],
                    task["license_class"],
                    f"{task['published']} ({task['revision'][:12]})",
                    task["citation"],
                )
                for task in sources.values()
            ),
        ),
        "## Known problems",
        _problems(facts, sources),
    ]
    return "\n\n".join(parts) + "\n"


def _made(config: Mapping[str, Any]) -> str:
    if layout := config.get("converted"):
        return f"Converted from a folder in the layout {layout!r}; its split was kept, and nothing else was checked."
    return (
        f"Made with seed {config['seed']}, at most {config['per_task']:,} examples a task, licenses: "
        f"{config['license']}. No query stands on both sides of the split, and nearly no near duplicate of one."
    )


def _removed(facts: Mapping[str, Any]) -> str:
    against, without = facts["config"]["against"], facts["config"].get("without", ())
    unread = f"Sources whose card names an overlap with {', '.join(without)} were left out unread." if without else ""
    if not against:
        return unread or "Nothing was compared: no test collection was named when this was collected."
    removed, compared = facts["removed"]["by_collection"], facts.get("compared", {})
    total = sum(removed.values())
    return (
        f"Compared with {', '.join(against)}: {total:,} records shared a text with a test query or document (equal "
        "after normalisation, thirteen words in a row, or nearly the same words) and were taken out; `removed.jsonl` "
        "names each.\n\n"
        + (f"{unread}\n\n" if unread else "")
        + _table(
            ("test collection", "texts compared", "records taken out"),
            (
                (key, f"{compared[key]:,}" if key in compared else "not counted", f"{removed.get(key, 0):,}")
                for key in sorted({*compared, *removed})
            ),
        )
    )


def _problems(facts: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"- {task['title']}: {task['note']}" for task in sources.values() if task["note"]]
    lines += [
        f"- {task['title']} is known to share texts with {', '.join(task['overlaps'])}."
        for task in sources.values()
        if task["overlaps"]
    ]
    lines += [
        f"- {task['title']}: {count:,} rows of it could not be read and were passed over; `skipped.jsonl` names them."
        for task in sources.values()
        if (count := task["source_counts"].get("bad rows"))
    ]
    lines += [f"- Not built: {name} ({why})." for name, why in facts["not_built"].items()]
    return "\n".join(lines) or "None that the cards know of."


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
