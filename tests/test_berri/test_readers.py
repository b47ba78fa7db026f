"""Readers: rows worked out by hand, and broken rows told by file and line."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import DataError


def source(folder: Path, **files: str | bytes) -> SourceFiles:
    names = []
    for name, content in files.items():
        name = name.replace("__", ".")
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        names.append(name)
    return SourceFiles(folder, names)


def rows(reader: str, files: SourceFiles, **settings: Any) -> list[dict[str, Any]]:
    found = [{key: value for key, value in row.items() if value} for row in find_reader(reader)(files, **settings)]
    return found


def tar(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_csv_takes_columns_by_title_or_number_and_rows_by_value(tmp_path: Path) -> None:
    files = source(tmp_path, a__csv='q,x,d\n"one, two",1,yes\nthree,2,no\n')
    assert rows("csv", files, fields={"query": "q", "document": "d"}) == [
        {"query": "one, two", "document": "yes"},
        {"query": "three", "document": "no"},
    ]
    assert rows("csv", files, fields={"query": "q"}, where={"x": ["2"]}) == [{"query": "three"}]
    bare = source(tmp_path, b__tsv='a "quoted\tb\n')
    assert rows("csv", bare, fields={"x": 0, "y": 1}, header=False, delimiter="\t", quoted=False) == [
        {"x": 'a "quoted', "y": "b"}
    ]


def test_csv_names_a_missing_column_and_a_short_row(tmp_path: Path) -> None:
    files = source(tmp_path, a__csv="q,d\none,two\nthree\n")
    with pytest.raises(DataError, match=r"a\.csv:1: no column 'e'; found q, d"):
        rows("csv", files, fields={"x": "e"})
    with pytest.raises(DataError, match=r"a\.csv:3: field 'document': has 1 columns, wanted 2"):
        rows("csv", files, fields={"query": "q", "document": "d"})


def test_json_lines_follow_dotted_keys_and_stars(tmp_path: Path) -> None:
    line = json.dumps({"q": "x", "meta": {"t": ["a", "b"]}, "as": [{"text": "1"}, {"text": "2"}]})
    files = source(tmp_path, a__jsonl=line + "\n\n")
    wanted = {"q": "x", "second": "b", "answers": ["1", "2"]}
    assert rows("jsonl", files, fields={"q": "q", "second": "meta.t.1", "answers": "as.*.text"}) == [wanted]


@pytest.mark.parametrize("line", ["{broken", "[1]", '{"q": 3}', '{"z": "x"}'])
def test_a_broken_json_line_is_told_by_line_and_passed_over_if_wanted(tmp_path: Path, line: str) -> None:
    content = '{"q": "x"}\n' + line + '\n{"q": "y"}\n'
    with pytest.raises(DataError, match=r"a\.jsonl:2: "):
        rows("jsonl", source(tmp_path, a__jsonl=content), fields={"q": "q"})
    told: list[DataError] = []
    files = SourceFiles(tmp_path, ["a.jsonl"], told.append)
    assert rows("jsonl", files, fields={"q": "q"}) == [{"q": "x"}, {"q": "y"}]
    assert len(told) == 1


def test_json_takes_lists_and_objects(tmp_path: Path) -> None:
    files = source(tmp_path, a__json=json.dumps({"data": {"k1": {"t": "x"}, "k2": {"t": "y"}}}))
    wanted = [{"id": "k1", "text": "x"}, {"id": "k2", "text": "y"}]
    assert rows("json", files, items="data", fields={"id": "@key", "text": "t"}) == wanted


def test_lines_side_by_side_must_be_equally_many(tmp_path: Path) -> None:
    files = source(tmp_path, a__src="one\ntwo\n", a__tgt="1\n2\n", b__tgt="1\n")
    fields = {"x": ["a.src"], "y": ["a.tgt"]}
    assert rows("lines", files, fields=fields) == [{"x": "one", "y": "1"}, {"x": "two", "y": "2"}]
    with pytest.raises(DataError, match=r"a\.src 2, b\.tgt 1"):
        rows("lines", files, fields={"x": ["a.src"], "y": ["b.tgt"]})


def test_packed_files_are_read_and_truncated_ones_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"q": "x"}\n' * 1000)
    assert len(rows("jsonl", source(tmp_path, a__jsonl__gz=packed), fields={"q": "q"})) == 1000
    assert len(rows("jsonl", source(tmp_path, a__jsonl__bz2=bz2.compress(b'{"q": "x"}\n')), fields={"q": "q"})) == 1
    with pytest.raises(DataError, match=r"b\.jsonl\.gz: truncated or damaged"):
        rows("jsonl", source(tmp_path, b__jsonl__gz=packed[:-20]), fields={"q": "q"})


@pytest.mark.parametrize("name", ["../out.md", "/etc/out.md"])
def test_an_archive_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    files = source(tmp_path, raw__tar=tar({name: "x"}))
    with pytest.raises(DataError, match=r"raw\.tar: refused: member .* points outside"):
        list(files.members("raw.tar"))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.md")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match="is a link or a device"):
        list(source(tmp_path, raw__tar=buffer.getvalue()).members("raw.tar"))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no whole archive"):
        list(source(tmp_path, raw__tar=b"not a tar").members("raw.tar"))


def test_classes_pair_each_text_with_others_of_its_class(tmp_path: Path) -> None:
    files = source(tmp_path, a__csv="text,category\nx,1\ny,1\nz,2\n")
    found = rows("classes", files, text="text", label="category", form="csv")
    assert found == [
        {"query": "x", "same": ["y"], "class": "1"},
        {"query": "y", "same": ["x"], "class": "1"},
        {"query": "z", "class": "2"},
    ]


def test_columns_by_value_join_the_lines_of_a_key(tmp_path: Path) -> None:
    lines = [{"q": "p", "d": "J", "l": "java"}, {"q": "p", "d": "R", "l": "ruby"}, {"q": "p", "d": "?", "l": "cobol"}]
    files = source(tmp_path, a__jsonl="".join(json.dumps(one) + "\n" for one in lines))
    names = {"java": "java", "ruby": "ruby"}
    assert rows("columns-by-value", files, key="q", value="d", by="l", names=names) == [
        {"key": "p", "java": "J", "ruby": "R"}
    ]


def test_perspectrum_sorts_perspectives_by_side_and_leaves_idebate_out(tmp_path: Path) -> None:
    pool = [{"pId": 1, "text": "yes"}, {"pId": 2, "text": "no"}]
    sides = [{"pids": [1], "stance_label_3": "SUPPORT"}, {"pids": [2], "stance_label_3": "UNDERMINE"}]
    claims = [{"text": "c", "source": "procon", "perspectives": sides}, {"text": "d", "source": "idebate"}]
    for name, content in (("perspective_pool_v1.0.json", pool), ("perspectrum_with_answers_v1.0.json", claims)):
        (tmp_path / name).write_text(json.dumps(content))
    files = SourceFiles(tmp_path, ["perspective_pool_v1.0.json", "perspectrum_with_answers_v1.0.json"])
    assert rows("perspectrum", files) == [
        {"claim": "c", "support": ["yes"], "oppose": ["no"], "perspective": ["yes", "no"]}
    ]


def test_fact_checks_keep_evidence_and_the_page_s_other_passages_apart(tmp_path: Path) -> None:
    item = {
        "text": "claim",
        "label": "REFUTES",
        "gold_evidence": [{"text": "g"}],
        "retrieved_evidence": [{"text": "g"}, {"text": "r"}],
        "wikipedia_page": "P",
    }
    files = source(tmp_path, a__jsonl=json.dumps(item) + "\n")
    assert rows("fm2", files) == [{"claim": "claim", "refutes": ["g"], "evidence": ["g"], "other": ["r"], "page": "P"}]
    with pytest.raises(DataError, match=r"a\.jsonl:1: field 'label': unknown label 'MAYBE'"):
        rows("fm2", source(tmp_path, a__jsonl=json.dumps({**item, "label": "MAYBE"}) + "\n"))


def test_command_pages_give_request_command_and_tool(tmp_path: Path) -> None:
    page = "# ls\n\n> List files.\n> More: <https://x>.\n\n- List [a]ll files:\n\n`ls {{[-a|--all]}} {{path}}`\n"
    files = source(tmp_path, raw__tar=tar({"pages/common/ls.md": page, "pages/dos/dir.md": page}))
    assert rows("tldr-pages", files, folders=["common"]) == [
        {"request": "List all files", "command": "ls --all path", "tool": "ls", "purpose": "ls: List files."}
    ]
    with pytest.raises(DataError, match="has no heading"):
        rows("tldr-pages", source(tmp_path, raw__tar=tar({"pages/common/x.md": "nothing"})), folders=["common"])


def test_sql_questions_get_the_values_of_their_variables(tmp_path: Path) -> None:
    item = {"sql": ["SELECT v0"], "sentences": [{"text": "what is v0", "variables": {"v0": "Rome"}}]}
    files = source(tmp_path, geo__json=json.dumps([item]))
    assert rows("text2sql", files) == [{"question": "what is Rome", "sql": "SELECT Rome", "database": "geo"}]


def test_blocks_of_two_levels_are_joined_by_the_harder_sentence(tmp_path: Path) -> None:
    (tmp_path / "ADV-ELE.txt").write_text("Hard one.\nEasy one.\n****\n")
    (tmp_path / "ADV-INT.txt").write_text("Hard one.\nMiddle one.\n****\n")
    files = SourceFiles(tmp_path, ["ADV-ELE.txt", "ADV-INT.txt"])
    assert rows("levels", files) == [
        {"advanced": "Hard one.", "elementary": "Easy one.", "intermediate": "Middle one."}
    ]
    (tmp_path / "ADV-ELE.txt").write_text("Lonely.\n****\n")
    with pytest.raises(DataError, match=r"ADV-ELE\.txt:2: wanted two sentences in a block, found 1"):
        rows("levels", files)


def test_parallel_versions_must_be_equally_long(tmp_path: Path) -> None:
    files = source(tmp_path, a__orig="x\ny\n", a__s0="1\n2\n", a__s1="3\n4\n")
    assert rows("parallel", files, original="a.orig", others="a.s*", field="simple") == [
        {"original": "x", "simple": ["1", "3"]},
        {"original": "y", "simple": ["2", "4"]},
    ]
    (tmp_path / "a.s1").write_text("3\n")
    with pytest.raises(DataError, match=r"a\.s1: has 1 lines, a\.orig has 2"):
        rows("parallel", files, original="a.orig", others="a.s*", field="simple")


def test_a_summary_is_taken_apart_around_its_abstract(tmp_path: Path) -> None:
    good = json.dumps({"q": "We do it.", "d": "On It We do it. They liked it."}) + "\n"
    (tmp_path / "a.jsonl").write_text(good)
    wanted = [{"abstract": "We do it.", "title": "On It", "reception": "They liked it."}]
    assert rows("scisummnet", SourceFiles(tmp_path, ["a.jsonl"])) == wanted
    (tmp_path / "a.jsonl").write_text(good + '{"q": "We do it.", "d": "Other words"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: field 'd': wanted an abstract, and a summary that holds it"):
        rows("scisummnet", SourceFiles(tmp_path, ["a.jsonl"]))
