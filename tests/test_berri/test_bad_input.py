"""Bad input, each case by its message: named by file, line and field; passed over and told with on_error="skip"."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import berri.files
from berri.card import TaskCard, load_cards
from berri.cli import main
from berri.files import SourceFiles
from berri.pipeline import collect
from berri.readers import find_reader
from berri.settings import Settings
from berri.stages import read_source
from tart.errors import DataError, StorageError
from tart.files import sha256_file
from tart.shards import Collection


def settings(mirror: Path, **more: object) -> Settings:
    return Settings(mirror=mirror, download=False, model=None, dev_share=0.2, **more)  # type: ignore[arg-type]


def changed(mirror: Path, change: Callable[[list[str]], list[str]]) -> dict[str, TaskCard]:
    """The cards after the recipes' file was changed, and its hash in the card with it."""
    path, card = mirror / "recipes" / "rows.jsonl", mirror.parent / "cards" / "recipes.toml"
    before = sha256_file(path)
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    card.write_text(card.read_text().replace(before, sha256_file(path)))
    return load_cards(card.parent)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"dish": "soup', r"rows\.jsonl:3: not valid JSON \(Unterminated string"),
        ("[1, 2]", r"rows\.jsonl:3: wanted an object, found list"),
        ('{"dish": "soup", "steps": 7}', r"rows\.jsonl:3: field 'steps': wanted text under 'steps', found int"),
        ('{"name": "soup"}', r"rows\.jsonl:3: holds none of dish, steps"),
        ("[" * 100_000, r"rows\.jsonl:3: not valid JSON"),
    ],
)
def test_a_bad_row_stops_a_collection_or_is_passed_over_and_named(
    tmp_path: Path, mirror: Path, line: str, message: str
) -> None:
    cards = changed(mirror, lambda lines: [*lines[:2], line, *lines[3:]])
    with pytest.raises(DataError, match=message):
        collect(tmp_path / "out", settings(mirror), cards=cards)
    assert not (tmp_path / "out").exists()
    made = collect(tmp_path / "out", settings(mirror, on_error="skip"), cards=cards)
    facts = made.tasks["recipes-dish"]
    assert facts["source_counts"]["bad rows"] == 1
    assert sum(facts["examples"].values()) == 19
    (told,) = [json.loads(one) for one in (made.folder / "skipped.jsonl").read_text().splitlines()]
    assert told["source"] == "recipes" and told["problem"].startswith("rows.jsonl:3: ")
    assert "1 rows of it could not be read and were passed over" in (made.folder / "README.md").read_text()


def test_nothing_is_said_to_be_skipped_where_nothing_was(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]
) -> None:
    made = collect(tmp_path / "out", settings(mirror, on_error="skip"), cards=cards)
    assert not (made.folder / "skipped.jsonl").exists()
    assert "passed over" not in (made.folder / "README.md").read_text()


def test_a_file_of_the_wrong_hash_is_refused_or_its_source_left_out(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]
) -> None:
    with (mirror / "recipes" / "rows.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(
        DataError, match=r"recipes.rows\.jsonl: has the sha256 [0-9a-f]{64}, the card wants [0-9a-f]{64}"
    ):
        collect(tmp_path / "out", settings(mirror), cards=cards)
    made = collect(tmp_path / "out", settings(mirror, on_error="skip"), cards=cards)
    assert sorted(made.tasks) == ["papers-abstract-to-gist", "papers-abstract-to-title"]
    assert "has the sha256" in made.manifest["not_built"]["recipes"]


def read(
    folder: Path, name: str, content: bytes, reader: str, **how: object
) -> list[Mapping[str, str | list[str] | None]]:
    (folder / name).write_bytes(content)
    return list(find_reader(reader)(SourceFiles(folder, [name]), **how))


COLUMNS = {"query": "title", "text": "body"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title,txt\na,b\n", r"a\.csv:1: no column 'body'; found title, txt"),
        (b"title,body\na,b\nc\n", r"a\.csv:3: field 'text': has 1 columns, wanted 2"),
        (b"title,body\na\xff,b\n", r"a\.csv: not UTF-8 \(byte 13\)"),
        (b"title,body\na," + b"b" * (1 << 25) + b"\n", r"a\.csv:2: no valid CSV \(field larger than field limit"),
        (b"", r"a\.csv:1: no column 'title'; found "),
    ],
)
def test_broken_csv_is_told_by_line_and_column(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a.csv", content, "csv", fields=COLUMNS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<Set>\n<pair>\n</Set>", r"a\.xml:3: not valid XML \(mismatched tag"),
        (b'<!DOCTYPE a [<!ENTITY b "bb">]><Set>&b;</Set>', r"a\.xml: refused: declares a document type"),
    ],
)
def test_broken_xml_and_xml_with_entities_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a.xml", content, "mediqa-answers")


def test_a_json_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json: not valid JSON"):
        read(tmp_path, "a.json", b'[{"a": "b"}, {"a": ', "json", fields={"a": "a"})


@pytest.mark.parametrize("content", ['{"dat": {"a": 7}}', '[{"a": "b"}]', "7", "[", "\\ud800"])
@pytest.mark.parametrize(
    ("reader", "names", "settings"),
    [
        ("squad", ["a.json"], {}),
        ("venue-faq", ["a.json"], {}),
        ("selqa", ["a.json"], {}),
        ("strategyqa", ["a.json"], {}),
        ("disfl", ["a.json"], {}),
        ("tatqa", ["a.json"], {}),
        ("perspectrum", ["perspective_pool_v1.0.json", "perspectrum_with_answers_v1.0.json"], {}),
        ("text2sql", ["a.json"], {}),
        ("clinc", ["a.json"], {"parts": ["dat"]}),
        ("topical-chat", ["a.json"], {}),
        ("friends", ["a.json"], {}),
    ],
)
def test_a_file_of_another_form_is_told_with_its_source(
    tmp_path: Path, cards: dict[str, TaskCard], reader: str, names: list[str], settings: dict[str, object], content: str
) -> None:
    for name in names:
        (tmp_path / name).write_text(content)
    source = replace(cards["recipes-dish"].source, reader=reader, settings=settings)
    with pytest.raises(
        DataError, match=rf"{names[0]}.*: (not as the reader '{reader}' of recipes|not valid JSON|has no)"
    ):
        list(read_source(source, SourceFiles(tmp_path, names)))


def test_a_source_of_another_form_stops_a_collection_or_is_left_out(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard]
) -> None:
    cards = {
        name: replace(card, source=replace(card.source, reader="squad", settings={}))
        if card.source.name == "recipes"
        else card
        for name, card in cards.items()
    }
    with pytest.raises(DataError, match=r"recipes.rows\.jsonl: not valid JSON"):
        collect(tmp_path / "out", settings(mirror), cards=cards)
    made = collect(tmp_path / "out", settings(mirror, on_error="skip"), cards=cards)
    assert list(made.manifest["not_built"]) == ["recipes"]


@pytest.mark.parametrize("cut", [5, 20, -9, -1])
def test_a_truncated_gzip_is_refused_wherever_it_was_cut(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(b'{"a": "b"}\n' * 1000)
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: truncated or damaged"):
        read(tmp_path, "a.jsonl.gz", packed[:cut], "jsonl", fields={"a": "a"})


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(berri.files, "MOST_BYTES", 1 << 20)
    for content in (b'{"a": "b"}\n' * 200_000, b" " * (1 << 22)):  # many lines, and one that never ends
        with pytest.raises(DataError, match=r"a\.jsonl\.gz: refused: unpacks to over 1,048,576 bytes"):
            read(tmp_path, "a.jsonl.gz", gzip.compress(content), "jsonl", fields={"a": "a"})


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("../a.txt", tarfile.REGTYPE, r"member '\.\./a\.txt' points outside the archive"),
        ("/etc/a.txt", tarfile.REGTYPE, r"member '/etc/a\.txt' points outside the archive"),
        ("a/../../b.txt", tarfile.REGTYPE, r"points outside the archive"),
        ("a.txt", tarfile.SYMTYPE, r"member 'a\.txt' is a link or a device"),
        ("a.txt", tarfile.LNKTYPE, r"member 'a\.txt' is a link or a device"),
        ("a.txt", tarfile.CHRTYPE, r"member 'a\.txt' is a link or a device"),
        ("a.txt", None, r"member 'a\.txt' has 2,048 bytes"),
    ],
)
def test_an_archive_that_reaches_out_or_grows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: bytes | None, message: str
) -> None:
    monkeypatch.setattr(berri.files, "MOST_BYTES", 1024)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind or tarfile.REGTYPE, "/etc/passwd"
        member.size = 2048 if kind is None else 0
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(DataError, match=rf"a\.tar: refused: .*{message}"):
        list(SourceFiles(tmp_path, ["a.tar"]).members("a.tar"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_a_task_with_fewer_pairs_than_its_card_expects_fails_the_check(
    mirror: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(mirror, lambda lines: lines[:3])
    cards = str(mirror.parent / "cards")
    monkeypatch.setattr(sys, "argv", ["berri", "check", "--mirror", str(mirror), "--cards", cards])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "off: recipes-dish: wanted at least 5 pairs, found 3" in capsys.readouterr().out


def test_a_full_disk_is_told_and_what_was_finished_is_kept(
    tmp_path: Path, mirror: Path, cards: dict[str, TaskCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = collect(tmp_path / "whole" / "out", settings(mirror), cards=cards)
    real, left = os.fsync, [0]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    for calls in (1, 6, 20, 40):
        left[0] = calls
        with pytest.raises(StorageError, match=r"the disk is full .*make room and run again"):
            collect(tmp_path / "full" / "out", settings(mirror), cards=cards)
        assert not (tmp_path / "full" / "out").exists()
    left[0] = 0
    made = collect(tmp_path / "full" / "out", settings(mirror), cards=cards)
    assert Collection(made.folder, verify=True).manifest == whole.manifest
