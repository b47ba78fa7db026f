"""A folder's manifest finds what is missing, cut short or changed."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest

from tart.errors import DataError, StorageError
from tart.index.build import build_index
from tart.manifest import NAME, read_manifest, replace_manifest, verify_parts, write_manifest
from tart.testing import KeywordEncoder

FACTS = {"documents": 3, "model": {"name": "modèle", "dim": 4}, "versions": ["1", None, 1.5], "nothing": {}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)))
    (folder / "inner" / "b.txt").write_text("text")
    (folder / "empty").write_bytes(b"")
    write_manifest(folder, "tart-index/1", FACTS)
    return folder


def test_a_manifest_holds_the_facts_and_each_part(folder: Path) -> None:
    manifest = read_manifest(folder, "tart-index/1")
    verify_parts(folder, manifest)
    assert {key: manifest[key] for key in FACTS} == FACTS and manifest["kind"] == "tart-index/1"
    assert manifest["parts"] == {
        "a.bin": {"bytes": 256, "sha256": hashlib.sha256(bytes(range(256))).hexdigest()},
        "empty": {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
        "inner/b.txt": {"bytes": 4, "sha256": hashlib.sha256(b"text").hexdigest()},
    }


def test_a_manifest_can_be_written_anew(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"other")
    write_manifest(folder, "tart-index/1", {"documents": 4})
    manifest = read_manifest(folder, "tart-index/1")
    verify_parts(folder, manifest)
    assert manifest["documents"] == 4 and set(manifest["parts"]) == {"a.bin", "empty", "inner/b.txt"}


def test_keys_that_are_numbers_are_read_as_strings(folder: Path) -> None:
    write_manifest(folder, "tart-index/1", {"counts": {2: "two", 10: "ten"}})  # 2 < 10, but "10" < "2"
    assert read_manifest(folder, "tart-index/1")["counts"] == {"2": "two", "10": "ten"}


def test_a_changed_byte_is_a_data_error_or_changes_nothing(folder: Path) -> None:
    path = folder / NAME
    content, whole = path.read_bytes(), read_manifest(folder, "tart-index/1")
    generator, refused = random.Random(0), 0
    for position in range(len(content)):
        for value in (content[position] ^ (1 << generator.randrange(8)), generator.randrange(256)):
            damaged = bytearray(content)
            damaged[position] = value
            path.write_bytes(damaged)
            try:
                # white space, and the case of an escape such as \u00e8, may change without changing what is said
                assert read_manifest(folder, "tart-index/1") == whole
            except DataError as error:
                assert str(error).startswith(f"{path}:")
                refused += 1
    assert refused > 1.9 * len(content)


def test_a_cut_manifest_is_refused_wherever_it_ends(folder: Path) -> None:
    content = (folder / NAME).read_bytes()
    for length in range(0, len(content) - 1, 7):
        (folder / NAME).write_bytes(content[:length])
        with pytest.raises(DataError, match=r"manifest\.json: not valid JSON"):
            read_manifest(folder, "tart-index/1")


def test_changed_facts_are_found(folder: Path) -> None:
    path = folder / NAME
    facts = json.loads(path.read_text())
    for changed in ({**facts, "documents": 4}, {**facts, "more": 1}):
        path.write_text(json.dumps(changed))
        with pytest.raises(DataError) as caught:
            read_manifest(folder, "tart-index/1")
        assert str(caught.value) == f"{path}: damaged: its checksum doesn't fit its content; build the folder again"
    for key in facts:
        path.write_text(json.dumps({name: value for name, value in facts.items() if name != key}))
        with pytest.raises(DataError, match=r"manifest\.json: damaged: its checksum"):
            read_manifest(folder, "tart-index/1")
    path.write_text(json.dumps(dict(reversed(facts.items()))))  # the order of keys says nothing
    assert read_manifest(folder, "tart-index/1") == facts


def test_another_kind_is_refused(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_manifest(folder, "tart-index/2")
    assert str(caught.value) == f"{folder / NAME}: field 'kind': wanted 'tart-index/2', found 'tart-index/1'"


def test_missing_and_cut_parts_are_named(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(255))
    with pytest.raises(DataError) as caught:
        read_manifest(folder, "tart-index/1")
    wanted = "damaged: has 255 bytes, wanted 256; build the folder again"
    assert str(caught.value) == f"{folder / 'a.bin'}: {wanted}"
    (folder / "a.bin").write_bytes(bytes(range(256)))
    (folder / "inner" / "b.txt").unlink()
    with pytest.raises(DataError) as caught:
        read_manifest(folder, "tart-index/1")
    wanted = "damaged: is missing, wanted 4; build the folder again"
    assert str(caught.value) == f"{folder / 'inner' / 'b.txt'}: {wanted}"


def test_every_flipped_byte_of_a_part_is_found_by_verifying(folder: Path) -> None:
    path = folder / "a.bin"
    content = path.read_bytes()
    for position in range(0, 256, 5):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        manifest = read_manifest(folder, "tart-index/1")  # reads no part
        with pytest.raises(DataError) as caught:
            verify_parts(folder, manifest)
        wanted = "damaged: its sha256 is not the manifest's; build the folder again"
        assert str(caught.value) == f"{path}: {wanted}"


def test_a_folder_that_is_not_there_or_not_finished(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path / "gone", "tart-index/1")
    assert str(caught.value) == f"{tmp_path / 'gone'}: no such folder"
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path, "tart-index/1")
    assert str(caught.value) == f"{tmp_path}: no finished tart-index folder: manifest.json is missing"


def test_overwriting_spares_a_folder_that_holds_no_index(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    build_index(["fish"], KeywordEncoder(["fish"]), notes, overwrite=True)  # it was empty
    build_index(["fish", "fish"], KeywordEncoder(["fish"]), notes, overwrite=True)
    assert read_manifest(notes, "tart-index/1")["documents"] == 2
    (notes / NAME).unlink()
    with pytest.raises(StorageError) as caught:
        build_index(["fish"], KeywordEncoder(["fish"]), notes, overwrite=True)
    assert str(caught.value) == f"{notes}: holds no manifest.json, so it isn't overwritten; choose another name"
    assert (notes / "corpus.jsonl").is_file()


def test_a_replaced_manifest_tells_of_parts_that_came_and_went_and_trusts_no_other(folder: Path) -> None:
    (folder / "new.bin").write_bytes(b"new")
    (folder / "a.bin").write_bytes(bytes(256))  # damaged since: its checksum must not become that of the damage
    before = read_manifest(folder, "tart-index/1")
    replace_manifest(folder, {**before, "more": 1}, added=["new.bin"], removed=["empty"])
    after = read_manifest(folder, "tart-index/1")
    assert after["more"] == 1 and set(after["parts"]) == {"a.bin", "inner/b.txt", "new.bin"}
    assert after["parts"]["new.bin"] == {"bytes": 3, "sha256": hashlib.sha256(b"new").hexdigest()}
    with pytest.raises(DataError, match=r"a\.bin: damaged: its sha256 is not the manifest's"):
        verify_parts(folder, after)
