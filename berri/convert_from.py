"""Making a collection of what other tools train or evaluate on: triplets, FlagEmbedding, Tevatron, BEIR folders."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from berri.convert import FORMATS
from berri.data_card import data_card
from berri.draft import Text, group_of
from berri.files import SourceFiles
from berri.readers.beir import judged_queries
from tart.collection import Document, Query
from tart.errors import ConfigError, DataError
from tart.example import Negative, NegativeKind, TrainingExample
from tart.files import new_folder, parse_json_object, read_lines
from tart.instruction import Instruction
from tart.manifest import write_manifest
from tart.shards import KIND, SPLITS, Collection, Split, task_facts, write_examples
from tart.text_format import TextFormat

Found = tuple[str, str, list[Document], list[Document]]
"""Query, instruction, right and wrong documents."""


def collection_from(
    folder: str | Path, output: str | Path, layout: str, text_format: TextFormat, *, instruction: str = "",
    license: str = "not stated", overwrite: bool = False,
) -> Collection:  # fmt: skip
    """Make a collection: one task of `train.jsonl` and `dev.jsonl`, or one of each BEIR folder.

    Args:
        folder: holds `train.jsonl`, and `dev.jsonl` if there is one; for BEIR `corpus.jsonl`, `queries.jsonl` and
            `qrels/train.tsv` (`dev.tsv`), itself or in folders below it.
        output: the folder to make.
        layout: "triplets", "flagembedding", "tevatron" or "beir".
        text_format: how instruction and query were joined, where a layout has one text for both; they are taken apart
            where the format has a separator.
        instruction: for the queries that have none in the files.
        license: of the data, for the data card.
        overwrite: take the place of an existing folder.

    Raises:
        ConfigError: unknown layout.
        DataError: a file is missing, or a row of it doesn't fit, by line and field.
        StorageError: the output exists, or the disk is full.
    """
    if layout not in FORMATS:
        near = difflib.get_close_matches(layout, FORMATS, n=1) or FORMATS
        raise ConfigError(f"unknown layout {layout!r}; did you mean {', '.join(near)}?")
    tasks = _tasks(Path(folder), layout, text_format)
    with new_folder(output, overwrite=overwrite, kind=KIND) as staging:
        facts = {
            name: _write_task(staging, name, splits, Instruction(instruction) if instruction else None, license)
            for name, splits in tasks.items()
        }
        totals = {split: sum(one["examples"][split] for one in facts.values()) for split in SPLITS}
        manifest = {
            "config": {"converted": layout, "seed": None, "per_task": None, "license": license, "against": []},
            "examples": totals,
            "not_built": {},
            "removed": {"by_collection": {}, "by_source": {}},
            "tasks": facts,
        }
        (staging / "README.md").write_text(data_card(Path(output).name, manifest), encoding="utf-8")
        write_manifest(staging, KIND, manifest)
    return Collection(output)


def _tasks(folder: Path, layout: str, form: TextFormat) -> dict[str, dict[Split, Callable[[], Iterator[Found]]]]:
    """Task -> split -> what reads it; only splits that are there."""
    if not folder.is_dir():
        raise DataError("no such folder", path=folder)
    name = folder.resolve().name
    if layout == "beir":
        places = {path.parent for path in folder.rglob("corpus.jsonl")}
        tasks: dict[str, dict[Split, Callable[[], Iterator[Found]]]] = {
            (name if place == folder else place.relative_to(folder).as_posix().replace("/", "-")): {
                split: partial(_beir, place, split) for split in SPLITS if (place / "qrels" / f"{split}.tsv").is_file()
            }
            for place in sorted(places)
        }
        wanted = "corpus.jsonl with qrels/train.tsv or qrels/dev.tsv"
    else:
        files = {split: folder / f"{split}.jsonl" for split in SPLITS}
        reads = {"triplets": _triplets, "flagembedding": _flag_embedding, "tevatron": _tevatron}
        tasks = {name: {split: partial(reads[layout], path, form) for split, path in files.items() if path.is_file()}}
        wanted = "train.jsonl or dev.jsonl"
    tasks = {name: splits for name, splits in tasks.items() if splits}
    if not tasks:
        raise DataError(f"holds no {wanted}", path=folder)
    return tasks


def _write_task(
    folder: Path,
    name: str,
    splits: Mapping[Split, Callable[[], Iterator[Found]]],
    instruction: Instruction | None,
    license: str,
) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    wordings: dict[str, None] = {}
    examples: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for split, read in splits.items():
        rows = _examples(name, split, read(), instruction, counts, wordings)
        examples[split] = write_examples(folder / split / f"{name}.parquet", rows)
    return task_facts(name, examples, list(wordings), counts=dict(sorted(counts.items())), license=license)


def _examples(
    name: str,
    split: str,
    found: Iterator[Found],
    instruction: Instruction | None,
    counts: Counter[str],
    wordings: dict[str, None],
) -> Iterator[TrainingExample]:
    for number, (query, wish, right, wrong) in enumerate(found, start=1):
        asked = Instruction(wish) if wish else instruction
        if asked is not None:
            wordings[asked.text] = None
        example_id = f"{name}:{split}-{number}"
        texts = {(one.title, one.text) for one in right}
        negatives = tuple(
            Negative(one, NegativeKind.HARD, "given") for one in wrong if (one.title, one.text) not in texts
        )
        counts["positives"] += len(right)
        counts["hard: given"] += len(negatives)
        counts["with hard"] += bool(negatives)
        counts["with hard and unfollowing"] += 0
        yield TrainingExample(
            example_id, name, Query(example_id, query, asked), tuple(right), negatives, group_of(query)
        )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(path):
        if line.strip():
            yield number, parse_json_object(line, path, number)


def _text(row: Mapping[str, Any], key: str, path: Path, number: int) -> str:
    if not isinstance(value := row.get(key), str) or not value.strip():
        raise DataError(f"wanted text that isn't blank, found {value!r}", path=path, line=number, field=key)
    return value


def _texts(row: Mapping[str, Any], key: str, path: Path, number: int) -> list[str]:
    value = row.get(key)
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise DataError("wanted a list of texts that aren't blank", path=path, line=number, field=key)
    return value


def _plain(text: str) -> Document:
    return Text("", text, "").document()


def _split(text: str, form: TextFormat) -> tuple[str, str]:
    """(query, instruction) of a joined text; all of it is the query where the format has no separator."""
    before, _, rest = form.instructed_query.partition("{instruction}")
    separator, _, after = rest.partition("{query}")
    if before or after or not separator.strip() or separator not in text:
        return text, ""
    wish, _, query = text.partition(separator)
    return (query, wish) if query.strip() and wish.strip() else (text, "")


def _triplets(path: Path, form: TextFormat) -> Iterator[Found]:
    """Rows of one anchor that follow one another are one example."""
    last, right, wrong = "", dict[str, None](), dict[str, None]()
    for number, row in _rows(path):
        anchor = _text(row, "anchor", path, number)
        if last and anchor != last:
            yield (*_split(last, form), list(map(_plain, right)), list(map(_plain, wrong)))
            right, wrong = {}, {}
        last = anchor
        right[_text(row, "positive", path, number)] = None
        wrong.update((_text(row, key, path, number), None) for key in row if key.startswith("negative"))
    if last:
        yield (*_split(last, form), list(map(_plain, right)), list(map(_plain, wrong)))


def _flag_embedding(path: Path, form: TextFormat) -> Iterator[Found]:
    for number, row in _rows(path):
        right, wrong = (_texts(row, key, path, number) for key in ("pos", "neg"))
        if not right:
            raise DataError("wanted at least one text", path=path, line=number, field="pos")
        prompt = row.get("prompt") or ""
        yield _text(row, "query", path, number), str(prompt), list(map(_plain, right)), list(map(_plain, wrong))


def _tevatron(path: Path, form: TextFormat) -> Iterator[Found]:
    def documents(row: Mapping[str, Any], key: str, number: int) -> list[Document]:
        try:
            found = [(str(one["docid"]), one["text"], one.get("title") or "") for one in row[key]]
        except (LookupError, TypeError, AttributeError):
            found = [("", None, None)]
        if not all(isinstance(text, str) and isinstance(title, str) for _, text, title in found):
            problem = "wanted a list of passages with docid and text"
            raise DataError(problem, path=path, line=number, field=key)
        return [Document(*one) for one in found]

    for number, row in _rows(path):
        query, wish = _split(_text(row, "query", path, number), form)
        right, wrong = (documents(row, f"{kind}_passages", number) for kind in ("positive", "negative"))
        if not right:
            raise DataError("wanted at least one passage", path=path, line=number, field="positive_passages")
        yield query, wish, right, wrong


def _beir(folder: Path, split: str) -> Iterator[Found]:
    files = SourceFiles(folder, ["corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv"])
    for query, right, wrong in judged_queries(files, split):
        wish = query.get("metadata", {}).get("instruction", "") if isinstance(query.get("metadata"), dict) else ""
        yield query["text"], wish, list(map(_document, right)), list(map(_document, wrong))


def _document(row: Mapping[str, Any]) -> Document:
    return Document(row["_id"], row["text"], row["title"])
