"""The README.md of a trained model, written from the facts: nothing in it was typed by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tart.collection import Query
from tart.instruction import Instruction
from tart.models.checkpoint import Family
from tart.shards import Collection
from tart.text_format import TextFormat
from tart.training.full_settings import FullRecipe
from tart.training.recipe import recipe_text

WATTS_PER_CORE, WATTS_PER_GPU = 10, 400
HUB_IDS = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "mpnet": "sentence-transformers/all-mpnet-base-v2",
}
KNOWN_TASKS = {
    "ArguAna": "Find an argument that speaks against this one.",
    "ClimateFEVER": "Find an encyclopedia passage that helps to verify this claim about the climate.",
    "DBPedia": "Find the introduction of an encyclopedia article on this entity.",
    "FEVER": "Find an encyclopedia passage that helps to verify this claim.",
    "FiQA2018": "Find a post of a finance forum that answers this question.",
    "HotpotQA": "Find an encyclopedia passage that helps to answer this question.",
    "MSMARCO": "Find a passage from the web that answers this question.",
    "NFCorpus": "Find an abstract of medical research on this topic.",
    "NQ": "Find an encyclopedia passage that answers this question.",
    "QuoraRetrieval": "Find a question that asks the same as this one.",
    "SCIDOCS": "Find the abstract of a scientific paper that this one would cite.",
    "SciFact": "Find an abstract of a scientific paper that supports or refutes this claim.",
    "Touche2020": "Find an argument on this question.",
    "TRECCOVID": "Find an abstract of research on the coronavirus that answers this question.",
}


def stored_prompts(text_format: TextFormat) -> dict[str, str]:
    """Prompts for `config_sentence_transformers.json`: plain prefixes that give this project's joined texts exactly.

    Args:
        text_format: of the model.

    Returns:
        "query" and "document" as without instruction, and "NAME-query" for known tasks of mteb; none of the latter
        where the instruction stands behind the query, which a prefix can't express.

    >>> from tart.text_format import PRESETS
    >>> stored_prompts(PRESETS["tart-dual"])["SciFact-query"]
    'Find an abstract of a scientific paper that supports or refutes this claim. [SEP] '
    """
    plain, after = text_format.plain_query.split("{query}")
    document, behind = text_format.document.split("{text}")
    prompts = {} if after or behind else {"query": plain, "document": document}
    for task, wording in KNOWN_TASKS.items():
        before, _, last = text_format.query_parts(Query("q", "q", Instruction(wording)))
        if not last:
            prompts[f"{task}-query"] = before
    return prompts


def model_card(
    recipe: Any, family: Family, text_format: TextFormat, facts: Mapping[str, Any], collection: Collection
) -> str:
    """The card of a model.

    Args:
        recipe: a DualRecipe, SteadyRecipe or FullRecipe.
        family: what kind of model it is.
        text_format: of the model.
        facts: what training.json holds: config, history, development, machine, finished, seconds, processes.
        collection: what it was trained on.
    """
    parts = [
        *_head(recipe, family),
        f"# {recipe.name}",
        _use(recipe, family, text_format),
        "## Results on the development split",
        _results(facts["development"], chosen="best_step" in facts),
        f"![loss{' and development measures' if 'best_step' in facts else ''} over the steps](curves.png)",
        "## Data",
        *_data(collection, _used(recipe, collection)),
        "## Training",
        _training(recipe, facts),
        f"```toml\n{recipe_text(recipe)}```",
    ]
    return "\n\n".join(parts) + "\n"


def _head(recipe: Any, family: Family) -> Iterator[str]:
    """The YAML head; JSON strings and lists are YAML's."""
    task = "sentence-similarity" if family == "bi-encoder" else "text-ranking"
    library = "tart-retrieval" if family == "enc-t5" else "sentence-transformers"
    tags = [library, task, "information-retrieval", "instructions", "tart"]
    head = {
        "library_name": library,
        "pipeline_tag": task,
        **({"base_model": HUB_IDS[recipe.base]} if recipe.base in HUB_IDS else {}),
        **({"license": recipe.license.lower()} if recipe.license else {}),
        "language": ["en"],
        "tags": tags,
    }
    yield "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---"])


def _use(recipe: Any, family: Family, text_format: TextFormat) -> str:
    what = "bi-encoder" if family == "bi-encoder" else "reranker (cross-encoder)"
    query = Query("q", "sort a list", Instruction("Find Python source code that does this"))
    joined = json.dumps(text_format.query_text(query), ensure_ascii=False)
    if family == "bi-encoder":
        code = "from sentence_transformers import SentenceTransformer\n\n"
        code += f'model = SentenceTransformer("FOLDER")\nmodel.encode({joined})'
    elif family == "cross-encoder":
        code = "from sentence_transformers import CrossEncoder\n\n"
        code += f'model = CrossEncoder("FOLDER")\nmodel.rank({joined}, documents)'
    else:
        code = 'import tart\n\nreranker = tart.load_reranker("FOLDER")\n'
        code += f'query = tart.Query("q", "{query.text}", tart.Instruction("Find Python source code that does this"))\n'
        code += 'reranker.score([(query, tart.Document("d", "def ordered(items): return sorted(items)"))])'
    added = ""
    if text_format.plain_dims:
        added = "\n\nThe last numbers of a vector say which kind of document is wanted. For a query without "
        added += "instruction keep the others alone, of documents too: `truncate_dim` with the `plain_dims` of "
        added += "`tart.json`."
    if isinstance(recipe, FullRecipe) and recipe.model.final_weight:
        added = f"\n\nIts score is one part of two: it is meant to be added to {recipe.model.final_weight:g} times the "
        added += f"cosine of `{recipe.first_stage}`, as `tart.load_reranker` does."
    return (
        f"An instruction-aware {what}: it reads what is asked together with a sentence that says what is wanted. "
        f"Instruction and query are joined as its text format `{text_format.name}` says (`tart.json`); documents "
        f"carry no instruction.\n\n```python\n{code}\n```{added}"
    )


def _results(found: Mapping[str, float], *, chosen: bool) -> str:
    rows = {
        "its own instruction": "own",
        "a wording never trained with": "held_out",
        "another task's instruction": "other",
        "no instruction": "plain",
    }
    if not found:
        return "The collection has no development examples."
    lines = ["| query with | closed | pooled | wrong kind in the top 10 |", "|---|---|---|---|"]
    for said, condition in rows.items():
        closed, pooled, wrong = (found.get(f"{name}_{condition}") for name in ("closed", "pooled", "wrong"))
        if closed is not None and pooled is not None and wrong is not None:
            lines.append(f"| {said} | {100 * closed:.1f} | {100 * pooled:.1f} | {100 * wrong:.0f} % |")
    note = "nDCG@10 x 100. Closed: each task searches its own documents; pooled: those of all tasks, where only the "
    note += "instruction tells what is wanted."
    return "\n".join(lines) + f"\n\n{note}" + " These queries helped to choose the checkpoint." * chosen


def _used(recipe: Any, collection: Collection) -> list[str]:
    """The tasks that were trained on."""
    names, levels = recipe.data.tasks, recipe.data.levels
    return [
        name
        for name, facts in collection.tasks.items()
        if facts["examples"]["train"]
        and (name in names if names else not levels or facts.get("level", "train") in levels)
    ]


def _data(collection: Collection, tasks: Sequence[str]) -> Iterator[str]:
    facts = collection.tasks
    count = sum(facts[name]["examples"]["train"] for name in tasks)
    yield f"{count:,} examples of {len(tasks)} tasks; collection `{collection.manifest['sha256'][:16]}`."
    removed = collection.manifest.get("removed", {}).get("by_collection", {})
    config = collection.manifest.get("config", {})
    against, without = config.get("against", []), config.get("without", [])
    if against:
        listed = ", ".join(f"{name} {number:,}" for name, number in removed.items()) or "none"
        yield f"Compared with the test collections of {', '.join(against)}; overlapping records taken out: {listed}."
    if without:
        yield f"Sources whose card names an overlap with {', '.join(without)} were left out."
    if not against and not without:
        yield "The collection was not compared with test collections."
    sources: dict[str, list[str]] = defaultdict(list)
    for name in tasks:
        sources[facts[name]["source"]].append(name)
    lines = ["| source | tasks | license | citation |", "|---|---|---|---|"]
    for _, names in sorted(sources.items()):
        one = facts[names[0]]
        cells = (one["title"], str(len(names)), one["license"], one["citation"])
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    yield "\n".join(lines)


def _training(recipe: Any, facts: Mapping[str, Any]) -> str:
    machine, last = facts["machine"], facts["history"][-1] if facts["history"] else {}
    seconds, steps = float(facts["seconds"]), int(last.get("step", 0))
    where = f"{machine['gpu']}, " if machine["gpu"] else ""
    where += f"{machine['processor']}, {machine['cores']} cores"
    cards = facts["processes"] if machine["gpu"] else 0
    watts = WATTS_PER_GPU * cards + WATTS_PER_CORE * machine["cores"]
    energy = seconds * watts / 3_600_000
    versions = ", ".join(f"{name} {number}" for name, number in facts["config"]["versions"].items())
    best = ""
    if "best_step" in facts:
        best = f" The weights are those of step {facts['best_step']}, the best by {recipe.development.measure}."
    return (
        f"{steps:,} steps on {where}; {_span(seconds)}, evaluation included; finished {facts['finished']}."
        f"{best} Energy, estimated with {WATTS_PER_CORE} W a core"
        f"{f' and {WATTS_PER_GPU} W for a GPU' if cards else ''}: {energy:.2g} kWh. Versions: {versions}."
    )


def _span(seconds: float) -> str:
    """A length of time to read.

    >>> _span(75.0), _span(7_300.0)
    ('1 min 15 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
