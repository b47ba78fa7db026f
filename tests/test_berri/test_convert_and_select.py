"""A collection in other layouts and back, and a part of it chosen for a target."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from berri.card import TaskCard, load_cards
from berri.cli import main
from berri.convert import convert
from berri.convert_from import collection_from
from berri.files import SourceFiles
from berri.pipeline import collect
from berri.plots import plot_stats
from berri.readers import find_reader
from berri.select import select
from berri.settings import Settings
from berri.stats import card_stats, collection_stats
from tart.collection import Document, Query
from tart.errors import ConfigError, DataError
from tart.shards import Collection, read_examples
from tart.testing import KeywordEncoder
from tart.text_format import PRESETS

FORMAT = PRESETS["tart-dual"]


@pytest.fixture
def collection(tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]) -> Collection:
    return collect(tmp_path / "out", Settings(mirror=mirror, download=False, model=None, dev_share=0.2), cards=cards)


def lines(path: Path) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_triplets_hold_every_pair_of_a_positive_and_a_negative(tmp_path: Path, collection: Collection) -> None:
    convert(collection, tmp_path / "t", "triplets", FORMAT)
    examples = [e for task in collection.tasks for e in collection.examples("train", task)]
    rows = lines(tmp_path / "t" / "train.jsonl")
    assert len(rows) == sum(len(one.positives) * len(one.negatives) for one in examples)
    assert rows[0]["anchor"] == f"{examples[0].query.instruction.text} [SEP] {examples[0].query.text}"
    assert rows[0]["positive"] == examples[0].positives[0].text


def test_flagembedding_and_tevatron_hold_one_row_an_example(tmp_path: Path, collection: Collection) -> None:
    first = next(collection.examples("train", next(iter(collection.tasks))))
    convert(collection, tmp_path / "f", "flagembedding", FORMAT)
    row = lines(tmp_path / "f" / "train.jsonl")[0]
    assert row["query"] == first.query.text and row["prompt"] == first.query.instruction.text
    assert row["pos"] == [one.text for one in first.positives]
    assert row["neg"] == [one.document.text for one in first.negatives]
    convert(collection, tmp_path / "v", "tevatron", FORMAT)
    rows = [*lines(tmp_path / "v" / "train.jsonl"), *lines(tmp_path / "v" / "dev.jsonl")]
    assert len(rows) == sum(collection.manifest["examples"].values())
    assert rows[0]["positive_passages"][0] == {
        "docid": first.positives[0].doc_id,
        "title": "",
        "text": first.positives[0].text,
    }


def test_a_beir_folder_comes_back_by_its_reader(tmp_path: Path, collection: Collection) -> None:
    convert(collection, tmp_path / "b", "beir", FORMAT)
    task = "papers-abstract-to-title"
    examples = list(collection.examples("train", task))
    names = ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"]
    rows = list(find_reader("beir")(SourceFiles(tmp_path / "b" / task, names), split="train"))
    for field, wanted in (
        ("document", [(one.query.text, document.text) for one in examples for document in one.positives]),
        ("wrong", [(one.query.text, negative.document.text) for one in examples for negative in one.negatives]),
    ):
        assert [(row["query"], row[field]) for row in rows if field in row] == wanted != []


def beir(folder: Path, qrels: str) -> SourceFiles:
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": "d1", "title": "One", "text": "right"}, {"_id": "d2", "title": None, "text": "right too"}]
    documents.append({"_id": "d3", "title": "Three", "text": "wrong"})
    (folder / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents) + "\n")
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "what"}\n')
    (folder / "qrels" / "train.tsv").write_text(qrels)
    return SourceFiles(folder, ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"])


HEADER, JUDGED = "query-id\tcorpus-id\tscore\n", "q1\td1\t1\nq1\td2\t2\nq1\td3\t0\n"


def test_each_document_of_a_beir_folder_has_its_own_title(tmp_path: Path) -> None:
    files = beir(tmp_path / "b", HEADER + JUDGED)
    assert list(find_reader("beir")(files)) == [
        {"query": "what", "title": "One", "right_title": "One", "document": "right"},
        {"query": "what", "title": "", "right_title": "", "document": "right too"},
        {"query": "what", "title": "Three", "wrong": "wrong"},
    ]
    made = collection_from(tmp_path / "b", tmp_path / "out", "beir", FORMAT)
    (example,) = made.examples("train", "b")
    assert [one.title for one in example.positives] == ["One", ""]


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        (JUDGED, r"train\.tsv:1: wanted the header query-id, corpus-id, score"),
        ("", r"train\.tsv:1: wanted the header"),
        (HEADER + JUDGED + "q1\td1\t0\n", r"train\.tsv:5: query 'q1' and document 'd1' are judged twice"),
        (HEADER + "q1\td4\t1\n", r"train\.tsv:2: wanted a known query id"),
    ],
)
def test_judgements_of_another_form_are_refused(tmp_path: Path, qrels: str, message: str) -> None:
    files = beir(tmp_path / "b", qrels)
    with pytest.raises(DataError, match=message):
        list(find_reader("beir")(files))
    with pytest.raises(DataError, match=message):
        collection_from(tmp_path / "b", tmp_path / "out", "beir", FORMAT)


def test_examples_that_make_no_triplet_are_counted_and_nothing_but_such_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    bare, whole = {"query": "a", "pos": ["b"], "neg": []}, {"query": "d", "pos": ["e"], "neg": ["f"]}
    for rows in ([bare, whole, bare], [bare]):
        (tmp_path / "in" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        made = collection_from(tmp_path / "in", tmp_path / "made", "flagembedding", FORMAT, overwrite=True)
        if len(rows) > 1:
            with caplog.at_level(logging.WARNING):
                convert(made, tmp_path / "t", "triplets", FORMAT)
            assert "2 of 3 examples have no negative, so they make no triplet" in caplog.text
            assert len(lines(tmp_path / "t" / "train.jsonl")) == 1
        else:
            with pytest.raises(DataError, match="its 1 examples have no negative, so they make no triplet"):
                convert(made, tmp_path / "u", "triplets", FORMAT)
            assert not (tmp_path / "u").exists()


def test_the_task_of_the_folder_here_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beir(tmp_path / "here", HEADER + JUDGED)
    (tmp_path / "here" / "train.jsonl").write_text(
        json.dumps(
            {"query": "a", "positive_passages": [{"docid": "1", "title": None, "text": "b"}], "negative_passages": []}
        )
    )
    monkeypatch.chdir(tmp_path / "here")
    for layout in ("beir", "tevatron"):
        made = collection_from(".", tmp_path / layout, layout, FORMAT)
        assert list(made.tasks) == ["here"]
        assert next(made.examples("train", "here")).positives[0].title == ("" if layout == "tevatron" else "One")


def test_the_list_says_where_the_files_of_a_source_come_from(
    tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "cards" / "recipes.toml"
    card.write_text(card.read_text().replace("sha256 =", 'url = "https://example.org/rows.jsonl"\nsha256 ='))
    monkeypatch.setattr(sys, "argv", ["berri", "list", "--json", "--cards", str(tmp_path / "cards")])
    with pytest.raises(SystemExit):
        main()
    found = {name: facts["files"] for name, facts in json.loads(capsys.readouterr().out).items()}
    assert found["recipes-dish"] == "address" and found["papers-abstract-to-gist"] == "mirror"


def test_what_was_written_for_flagembedding_is_read_by_the_json_lines_reader(
    tmp_path: Path, collection: Collection
) -> None:
    convert(collection, tmp_path / "f", "flagembedding", FORMAT)
    files = SourceFiles(tmp_path / "f", ["train.jsonl"])
    rows = list(find_reader("jsonl")(files, fields={"query": "query", "right": "pos", "wrong": "neg"}))
    first = next(collection.examples("train", next(iter(collection.tasks))))
    assert rows[0]["right"] == [one.text for one in first.positives]


def test_an_unknown_layout_is_refused_with_near_names(tmp_path: Path, collection: Collection) -> None:
    with pytest.raises(ConfigError, match="unknown layout 'triplet'; did you mean triplets"):
        convert(collection, tmp_path / "x", "triplet", FORMAT)


def test_the_nearest_examples_are_chosen_and_tasks_take_turns(tmp_path: Path, collection: Collection) -> None:
    encoder = KeywordEncoder(["violins", "rice", "comets", "bread"])
    queries = [Query("1", "violins"), Query("2", "rice")]
    made = select(collection, queries, encoder, tmp_path / "s", count=9, per_query=5)
    chosen = [example for task in made.tasks for example in made.examples("train", task)]
    assert len(chosen) == made.manifest["examples"]["train"] <= 9
    assert all("violins" in e.query.text or "rice" in e.query.text for e in chosen)
    counts = {task: facts["examples"]["train"] for task, facts in made.tasks.items()}
    assert len(counts) == 3 and max(counts.values()) - min(counts.values()) <= 1
    assert made.manifest["selected"]["from"] == collection.manifest["sha256"]
    for task in made.tasks:
        assert list(made.examples("dev", task)) == list(collection.examples("dev", task))


def test_target_documents_choose_the_examples_whose_right_documents_are_near(
    tmp_path: Path, collection: Collection
) -> None:
    encoder = KeywordEncoder(["violins", "rice", "comets", "bread"])
    made = select(collection, [], encoder, tmp_path / "d", count=4, documents=[Document("1", "rice")], per_query=5)
    chosen = [example for task in made.tasks for example in made.examples("train", task)]
    assert chosen and all("rice" in document.text for one in chosen for document in one.positives)


def test_select_without_queries_is_refused(tmp_path: Path, collection: Collection) -> None:
    with pytest.raises(ConfigError, match="wanted queries"):
        select(collection, [], KeywordEncoder(["x"]), tmp_path / "s", count=3)


def test_shards_are_read_as_they_were_written_and_load_in_datasets(collection: Collection) -> None:
    import datasets

    path = collection.folder / "train" / "recipes-dish.parquet"
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(collection.folder.parent / "cache"))
    examples = list(read_examples(path))
    assert [row["example_id"] for row in rows] == [one.example_id for one in examples]
    assert rows[0]["positives"][0]["text"] == examples[0].positives[0].text


@pytest.mark.parametrize("place", [4, 200, -6])
def test_a_flipped_byte_in_a_shard_is_noticed(collection: Collection, place: int) -> None:
    path = collection.folder / "train" / "recipes-dish.parquet"
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"recipes-dish\.parquet: damaged: its sha256"):
        Collection(collection.folder, verify=True)


def test_a_truncated_shard_is_refused(collection: Collection) -> None:
    path = collection.folder / "train" / "recipes-dish.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="damaged"):
        Collection(collection.folder)
    with pytest.raises(DataError, match=r"recipes-dish\.parquet: damaged"):
        list(read_examples(path))


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json", "--license", "open"],
        ["check"],
        ["stats", "--json"],
        ["stats", "{out}", "--plots", "{tmp}/plots"],
        ["stats", "--plots", "{tmp}/plots"],
        ["show", "{out}", "-n", "1"],
        ["convert", "{out}", "--output", "{tmp}/converted", "--to", "beir"],
        ["expand", "--cards", "{tmp}/cards", "--compare", "none", "--output", "{tmp}/proposals.toml"],
    ],
)
def test_every_command_runs(
    tmp_path: Path,
    collection: Collection,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"out": str(collection.folder), "tmp": str(tmp_path)}
    monkeypatch.setattr(sys, "argv", ["berri", *(one.format(**places) for one in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert capsys.readouterr().out.strip()


def test_statistics_count_domains_duplicates_and_draw_plots(tmp_path: Path, collection: Collection) -> None:
    facts = collection_stats(collection)
    assert facts["by domain"] == {"papers": 80, "recipes": 20}
    assert facts["by unit"] == {"sentence": 40, "title": 40, "recipe": 20}
    assert facts["duplicates"] == {
        "queries of several tasks": 40,  # of the family
        "documents of several tasks": 0,
        "positives that come again in their task": 0,
    }
    assert sum(one["random: random"] for one in facts["tasks"].values()) > 50
    for path in (
        *plot_stats(facts, tmp_path / "plots"),
        *plot_stats(card_stats(load_cards(tmp_path / "cards")), tmp_path / "c"),
    ):
        assert path.read_bytes().startswith(b"\x89PNG")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"by_domain.png", "by_intent.png", "by_unit.png", "negatives.png", "lengths.png"}


def test_check_counts_pairs_and_says_what_is_wrong(
    tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "cards" / "recipes.toml"
    card.write_text(card.read_text().replace("expected = 5", "expected = 500"))
    (mirror / "papers" / "rows.jsonl").unlink()
    monkeypatch.setattr(sys, "argv", ["berri", "check", "--mirror", str(mirror), "--cards", str(tmp_path / "cards")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "off: recipes-dish: wanted at least 500 pairs, found 20" in out
    assert "not here: papers-abstract-to-gist" in out


def seen(collection: Collection, split: str) -> list[tuple[str, str, list[str], set[str]]]:
    return [
        (
            one.query.text,
            one.query.instruction.text if one.query.instruction else "",
            [document.text for document in one.positives],
            {negative.document.text for negative in one.negatives},
        )
        for task in collection.tasks
        for one in collection.examples(split, task)  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("layout", ["triplets", "flagembedding", "tevatron", "beir"])
def test_what_was_written_in_a_layout_comes_back(tmp_path: Path, collection: Collection, layout: str) -> None:
    convert(collection, tmp_path / "there", layout, FORMAT)
    back = collection_from(tmp_path / "there", tmp_path / "back", layout, FORMAT)
    assert Collection(back.folder, verify=True).manifest["examples"] == collection.manifest["examples"]
    for split in ("train", "dev"):
        assert seen(back, split) == seen(collection, split) != []
    assert "Converted from a folder in the layout" in (back.folder / "README.md").read_text()


def test_queries_without_an_instruction_get_the_one_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rows = [{"query": "a", "pos": ["b"], "neg": ["c"]}, {"query": "d", "pos": ["e"], "neg": [], "prompt": "Say it."}]
    (tmp_path / "in" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = collection_from(tmp_path / "in", tmp_path / "out", "flagembedding", FORMAT, instruction="Find it.")
    assert seen(made, "train") == [("a", "Find it.", ["b"], {"c"}), ("d", "Say it.", ["e"], set())]
    assert made.tasks["in"]["wordings"] == ["Find it.", "Say it."]


@pytest.mark.parametrize(
    ("layout", "line", "message"),
    [
        ("triplets", '{"anchor": "a"}', r"train\.jsonl:2: field 'positive': wanted text that isn't blank, found None"),
        ("flagembedding", '{"query": "a", "pos": "b"}', r"train\.jsonl:2: field 'pos': wanted a list of texts"),
        (
            "tevatron",
            '{"query": "a", "positive_passages": [{}]}',
            r":2: field 'positive_passages': wanted a list",
        ),
        (
            "tevatron",
            '{"query": "a", "positive_passages": [{"docid": "1", "text": 7}], "negative_passages": []}',
            r":2: field 'positive_passages': wanted a list",
        ),
        (
            "tevatron",
            '{"query": "a", "positive_passages": [], "negative_passages": []}',
            r":2: field 'positive_passages': wanted at least one passage",
        ),
        ("flagembedding", '{"query": "a", "pos": [], "neg": []}', r":2: field 'pos': wanted at least one text"),
        ("tevatron", "{", r"train\.jsonl:2: not valid JSON"),
        ("triplet", "{}", "unknown layout 'triplet'; did you mean triplets"),
        ("beir", "{}", "holds no corpus.jsonl with qrels"),
    ],
)
def test_a_row_that_does_not_fit_its_layout_is_told_by_line_and_field(
    tmp_path: Path, layout: str, line: str, message: str
) -> None:
    (tmp_path / "train.jsonl").write_text("\n" + line + "\n")
    with pytest.raises((DataError, ConfigError), match=message):
        collection_from(tmp_path, tmp_path / "out", layout, FORMAT)
    assert not (tmp_path / "out").exists()
