from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from berri.card import load_cards
from berri.files import SourceFiles
from berri.locate import HUB
from berri.readers import find_reader
from berri.readers.hub import hub_items
from tart.errors import ConfigError, DataError, DownloadError

COMMIT = "0" * 40


def dataset(folder: Path, rows: list[dict[str, Any]], name: str = "train.jsonl") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def read(reader: str, folder: str, told: list[DataError] | None = None, **settings: Any) -> list[dict[str, Any]]:
    files = SourceFiles(HUB, ()) if told is None else SourceFiles(HUB, (), told.append)
    rows = find_reader(reader)(files, dataset=folder, revision=COMMIT, **settings)
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


PAIRS = [{"q": "one", "meta": {"d": ["uno", "eins"]}, "kind": "a"}, {"q": "two", "meta": {"d": ["dos"]}, "kind": "b"}]


def test_rows_of_json_lines_have_the_fields_of_the_card(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", PAIRS)
    rows = read("hub", folder, fields={"query": "q", "document": "meta.d", "first": "meta.d.0"})
    assert rows == [
        {"query": "one", "document": ["uno", "eins"], "first": "uno"},
        {"query": "two", "document": ["dos"], "first": "dos"},
    ]


def test_rows_of_parquet_are_read_too_by_configuration_or_by_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for config in ("pair", "other"):
        (tmp_path / "set" / config).mkdir(parents=True)
        table = pa.table({"q": [f"{config} {number}" for number in range(3)]})
        pq.write_table(table, tmp_path / "set" / config / "train-00000-of-00001.parquet")
    listed = "".join(f"- config_name: {name}\n  data_files: {name}/train-*\n" for name in ("pair", "other"))
    (tmp_path / "set" / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")
    expected = [{"query": f"other {number}"} for number in range(3)]
    assert read("hub", str(tmp_path / "set"), fields={"query": "q"}, config="other") == expected
    assert read("hub", str(tmp_path / "set"), fields={"query": "q"}, pattern="other/*.parquet") == expected


def test_only_the_rows_asked_for_are_read(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", PAIRS)
    assert read("hub", folder, fields={"query": "q"}, where={"kind": ["b"]}) == [{"query": "two"}]
    assert read("hub", folder, fields={"query": "q"}, most=1) == [{"query": "one"}]


def test_a_row_with_something_else_than_text_is_told_by_its_number(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", [{"q": "one", "n": 1}, {"q": "two", "n": None}])
    told: list[DataError] = []
    assert read("hub", folder, told, fields={"query": "q", "number": "n"}) == [{"query": "two"}]
    assert [str(error) for error in told] == [f"{folder}:1: field 'number': wanted text under 'n', found int"]


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", PAIRS)
    with pytest.raises(DataError, match="no column 'question'; found kind, meta, q"):
        read("hub", folder, fields={"query": "question"})


def test_a_missing_configuration_or_split_is_the_cards_mistake(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", PAIRS)
    with pytest.raises(DataError, match=r"can't be read .*BuilderConfig 'pair' not found"):
        read("hub", folder, fields={"query": "q"}, config="pair")
    with pytest.raises(DataError, match=r"can't be read .*test"):
        read("hub", folder, fields={"query": "q"}, split="test")


def test_a_dataset_that_is_not_there_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"missing at 0+: can't be had from the hub"):
        read("hub", str(tmp_path / "missing"), fields={"query": "q"})


def test_a_blank_revision_is_refused() -> None:
    with pytest.raises(ConfigError, match="someone/set: wanted a revision"):
        next(hub_items(dataset="someone/set", revision=" "))


def test_without_network_the_hub_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with pytest.raises(DownloadError, match=r"someone/set: .* switched off \(HF_HUB_OFFLINE\)"):
        read("hub", "someone/set", fields={"query": "q"})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(DownloadError, match="someone/set: the hub can't be reached"):
        read("hub", "someone/set", fields={"query": "q"})


def test_qrecc_turns_keep_their_history_and_first_turns_have_no_rewrite(tmp_path: Path) -> None:
    rows = [
        {"Context": [], "Question": "What is Unix?", "Rewrite": "What is Unix?", "Answer": "A system."},
        {
            "Context": [f"turn {number}" for number in range(6)],
            "Question": "Who made it?",
            "Rewrite": "Who made Unix?",
            "Answer": "Two people.",
        },
        {"Context": [], "Question": None, "Rewrite": "", "Answer": ""},
    ]
    told: list[DataError] = []
    folder = dataset(tmp_path / "set", rows)
    assert read("hub-qrecc", folder, told) == [
        {"history": "What is Unix?", "answer": "A system."},
        {
            "history": "turn 2\nturn 3\nturn 4\nturn 5\nWho made it?",
            "answer": "Two people.",
            "rewrite": "Who made Unix?",
        },
    ]
    assert [str(error) for error in told] == [f"{folder}:3: field 'Question': wanted text"]


def test_wizard_turns_have_the_chosen_sentence_if_one_was_chosen(tmp_path: Path) -> None:
    row = {
        "post": ["Tell me of tea.", "And milk?"],
        "response": ["Tea is a drink.", "Some add it."],
        "knowledge": [
            ["no_passages_used __knowledge__ no_passages_used", "Tea __knowledge__ Tea is an aromatic drink."],
            ["no_passages_used __knowledge__ no_passages_used"],
        ],
        "labels": [1, 0],
    }
    told: list[DataError] = []
    folder = dataset(tmp_path / "set", [row, {**row, "labels": None}])
    assert read("hub-wizard", folder, told) == [
        {
            "history": "Tell me of tea.",
            "reply": "Tea is a drink.",
            "knowledge": "Tea is an aromatic drink.",
            "title": "Tea",
        },
        {"history": "Tell me of tea.\nTea is a drink.\nAnd milk?", "reply": "Some add it."},
    ]
    assert [str(error) for error in told] == [f"{folder}:2: wanted lists post, response, knowledge and labels"]


def test_record_statements_are_filled_and_highlights_are_apart(tmp_path: Path) -> None:
    row = {
        "passage": "Rain fell in Bern.\n@highlight\nBern is wet\n@highlight\nThe Aare rises",
        "query": "It rained in @placeholder.",
        "answers": ["Bern", "Berne"],
    }
    told: list[DataError] = []
    folder = dataset(tmp_path / "set", [row, {**row, "answers": []}])
    assert read("hub-record", folder, told) == [
        {"statement": "It rained in Bern.", "article": "Rain fell in Bern.", "points": "Bern is wet\nThe Aare rises"}
    ]
    assert [str(error) for error in told] == [f"{folder}:2: wanted a query and answers"]


def test_snippets_are_those_with_an_answer(tmp_path: Path) -> None:
    context = "[DOC] [TLE] Oslo facts [PAR] Norway's capital is OSLO. [DOC] [TLE] Cats [PAR] They purr."
    told: list[DataError] = []
    row = {"question": "Capital of Norway", "context": context, "answers": ["Oslo"]}
    folder = dataset(tmp_path / "set", [row, {**row, "context": None}])
    assert read("hub-snippets", folder, told) == [
        {"question": "Capital of Norway", "snippet": ["Oslo facts Norway's capital is OSLO."]}
    ]
    assert [str(error) for error in told] == [f"{folder}:2: wanted a context and answers"]


def test_fever_evidence_supports_or_refutes_by_its_label(tmp_path: Path) -> None:
    rows = [
        {"claim": "Tea is a drink.", "label": "SUPPORTS", "evidence": [["Tea", "0", "Tea is a beverage ."]]},
        {"claim": "Tea is a stone.", "label": "REFUTES", "evidence": [["Tea", "0", "Tea is a beverage ."]]},
        {"claim": "Tea is loud.", "label": "NOT ENOUGH INFO", "evidence": []},
        {"claim": "Tea is hot.", "label": "SUPPORTS", "evidence": [["Tea", "0"]]},
    ]
    told: list[DataError] = []
    folder = dataset(tmp_path / "set", rows)
    sentence = ["Tea is a beverage ."]
    assert read("hub-fever", folder, told) == [
        {"claim": "Tea is a drink.", "evidence": sentence, "support": sentence},
        {"claim": "Tea is a stone.", "evidence": sentence, "refutation": sentence},
    ]
    assert [str(error) for error in told] == [
        f"{folder}:4: field 'evidence': wanted evidence as [page, line, sentence]"
    ]


def test_each_card_of_the_hub_pins_its_dataset_and_has_settings_that_its_reader_takes() -> None:
    sources = {card.source.name: card.source for card in load_cards().values() if not card.source.files}
    assert sources
    for source in sources.values():
        settings = dict(source.settings)
        assert re.fullmatch("[0-9a-f]{40}", source.revision), source.name
        assert settings["revision"] == source.revision, source.name
        known = inspect.signature(find_reader(source.reader)).parameters
        place = {name: value for name, value in settings.items() if name not in known}
        inspect.signature(hub_items).bind(**place)
        assert f"datasets/{settings['dataset']}," in source.published, source.name
