"""Cleaning, near duplicates, the split by query, and decontamination."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from berri.against import against_key
from berri.against import test_texts as texts_of_tests
from berri.clean import LONGEST, clean_records, clean_text
from berri.decontaminate import RUN, TestIndex, decontaminate
from berri.near import bands_of, likeness, words_of
from berri.record import Record
from berri.split import split_queries
from tart.errors import DataError


@pytest.mark.parametrize(
    ("text", "steps", "wanted"),
    [
        ("<b>Bold</b> &amp; <br>next", ["html"], "Bold &\nnext"),
        ("if a < b and c > d", ["html"], "if a < b and c > d"),
        ("He said `` no '' -LRB- twice -RRB- , did n't he ?", ["ptb"], 'He said "no" (twice), didn\'t he?'),
        ("# Title\nSee [the page](https://x.y) and **this** `code`", ["markdown"], "Title\nSee the page and this code"),
        ("a\x00b\u200bc  d\t e", [], "abc d e"),
        ("def f():\n    return 1  \n\n\n\nx", [], "def f():\n    return 1\n\nx"),
    ],
)
def test_text_is_cleaned(text: str, steps: list[str], wanted: str) -> None:
    assert clean_text(text, steps) == wanted


def test_records_that_cannot_be_used_are_counted_by_reason() -> None:
    records = [
        Record("s:0", {"q": ("good question",), "d": ("good answer",)}),
        Record("s:1", {"q": ("good question",), "d": ("good answer",)}),
        Record("s:2", {"q": ("?",)}),
        Record("s:3", {"q": ("это вопрос по-русски",)}),
        Record("s:4", {"q": ("word " * LONGEST,)}),
    ]
    counts: Counter[str] = Counter()
    kept = list(clean_records(records, [], counts))
    assert [record.record_id for record in kept] == ["s:0", "s:4"]
    assert len(kept[1].fields["q"][0]) <= LONGEST
    assert counts == {
        "records read": 5,
        "records that come twice": 1,
        "texts too short": 1,
        "texts in another script": 1,
        "records without text": 2,
        "texts cut": 1,
    }


def test_near_duplicates_share_a_band_and_strangers_none() -> None:
    words = [f"w{number}" for number in range(12)]
    near = [frozenset(words), frozenset([*words[:-1], "other"])]
    assert likeness(*near) == 11 / 13
    far = [frozenset(f"x{number}{part}" for number in range(12)) for part in "ab"]
    one, two = bands_of(near)
    assert (one == two).any()
    one, two = bands_of(far)
    assert not (one == two).any()
    assert bands_of([frozenset()]).tolist() == [[0] * len(one)]


def test_bands_do_not_depend_on_what_is_hashed_along() -> None:
    texts = [words_of(f"some words number {number} here") for number in range(50)]
    alone = np.concatenate([bands_of([one]) for one in texts])
    assert (bands_of(texts) == alone).all()


def test_near_equal_queries_stand_on_one_side() -> None:
    queries = []
    for number in range(300):
        base = f"how does device number {number} measure pressure in cold water at night"
        queries += [(f"a{number:03}", base), (f"b{number:03}", base.replace("night", "noon"))]
    counts: Counter[str] = Counter()
    dev = split_queries(queries, 1, 0.3, counts)
    # the device's number is one word of twelve: all are near duplicates of one another but for it
    assert counts["queries"] == 600
    for number in range(300):
        assert (f"a{number:03}" in dev) == (f"b{number:03}" in dev)


def test_the_split_takes_about_the_wanted_share_and_ignores_the_order() -> None:
    queries = [(f"{number:04}", " ".join(f"{word}{number}" for word in "abcdefg")) for number in range(2000)]
    dev = split_queries(queries, 1, 0.1, Counter())
    assert 140 < len(dev) < 260
    assert split_queries(reversed(queries), 1, 0.1, Counter()) == dev
    assert split_queries(queries, 2, 0.1, Counter()) != dev


def long_text(start: int) -> str:
    return " ".join(f"word{number}" for number in range(start, start + 40))


@pytest.fixture
def index(tmp_path: Path) -> TestIndex:
    folder = tmp_path / "beir" / "made"
    folder.mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        json.dumps({"_id": "d1", "title": "A rare title", "text": long_text(0)}) + "\n"
    )
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "why do cats purr when they sleep"}) + "\n")
    lotte = tmp_path / "lotte" / "cooking" / "test"
    lotte.mkdir(parents=True)
    (lotte / "collection.tsv").write_text("0\tstir the pot slowly\n")
    (lotte / "questions.search.tsv").write_text("7\tis it safe to eat raw dough\n")
    (tmp_path / "trec").mkdir()
    (tmp_path / "trec" / "topics.txt").write_text("<top>\n<num> 1\n<title> robotic arm control\n<desc> x\n</top>\n")
    return TestIndex(texts_of_tests([tmp_path / "beir", tmp_path / "lotte", tmp_path / "trec"]))


@pytest.mark.parametrize(
    ("text", "how", "name"),
    [
        ("a RARE title!", "equal", ("made", "d1", "document")),
        (f"before {' '.join(long_text(0).split()[5 : 5 + RUN])} after", "13 words", ("made", "d1", "document")),
        ("why do cats purr when they sleep now", "near", ("made", "q1", "query")),
        ("Stir the pot, slowly.", "equal", ("cooking/test", "0", "document")),
        ("is it safe to eat raw dough?", "equal", ("cooking/test", "7", "query")),
        ("Robotic arm control", "equal", ("trec", "1", "query")),
    ],
)
def test_a_planted_overlap_is_found_and_named(
    index: TestIndex, text: str, how: str, name: tuple[str, str, str]
) -> None:
    (met,) = index.meet([text])
    assert met is not None
    assert met[0] == how
    assert index.name(met[1]) == name


@pytest.mark.parametrize(
    "text", [" ".join(long_text(0).split()[: RUN - 1]), "why do dogs bark when strangers come", "pot", "", "?!"]
)
def test_what_only_resembles_a_test_text_stays(index: TestIndex, text: str) -> None:
    assert index.meet([text]) == [None]


def test_a_record_goes_with_all_its_texts_if_one_of_them_met(index: TestIndex) -> None:
    records = [Record("s:0", {"q": ("fine",), "d": ("robotic arm control",)}), Record("s:1", {"q": ("fine",)})]
    met, counts = [], Counter[str]()
    assert [one.record_id for one in decontaminate(records, index, met, counts)] == ["s:1"]
    assert [(one.record_id, one.field, one.how, one.collection) for one in met] == [("s:0", "d", "equal", "trec")]
    assert counts == {"in a test collection (equal)": 1}


def test_a_class_is_a_mark_and_no_text(index: TestIndex) -> None:
    """It is kept as it is, however short, and meets nothing, even where a test query is the same word."""
    records = [Record("s:0", {"q": ("fine",), "class": ("7",)}), Record("s:1", {"class": ("robotic arm control",)})]
    records.append(Record("s:2", {"q": ("good",), "class": ("robotic arm control",)}))
    kept = list(clean_records(records, [], Counter()))
    assert [(one.record_id, one.fields["class"]) for one in kept] == [
        ("s:0", ("7",)),
        ("s:2", ("robotic arm control",)),
    ]
    assert list(decontaminate(kept, index, [], Counter())) == kept


def test_a_folder_without_test_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no corpus\.jsonl"):
        list(texts_of_tests([tmp_path]))
    with pytest.raises(DataError, match="no such folder"):
        list(texts_of_tests([tmp_path / "none"]))


def test_the_topics_of_trec_covid_are_read(tmp_path: Path) -> None:
    (tmp_path / "topics-rnd5.xml").write_text(
        '<topics task="COVIDSearch">\n<topic number="1">\n<query>coronavirus origin</query>\n'
        "<question>what is its origin</question>\n<narrative>seeking a range</narrative>\n</topic>\n"
        '<topic number="2">\n<query>weather</query>\n</topic>\n</topics>\n'
    )
    found = [(one.text_id, one.kind, one.text) for one in texts_of_tests([tmp_path])]
    assert found == [
        ("1", "query", "coronavirus origin"),
        ("1", "query", "what is its origin"),
        ("2", "query", "weather"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("topics.txt", "<top>\n<desc> a robot\n</top>\n"),
        ("queries.jsonl", "\n"),
        ("collection.tsv", "1\t\n"),
    ],
)
def test_a_file_without_a_text_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "something"}\n')
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"{name}: holds no text to compare with"):
        list(texts_of_tests([tmp_path]))


def test_an_empty_file_holds_nothing_to_compare(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "something"}\n')
    (tmp_path / "queries.jsonl").touch()
    assert [one.text_id for one in texts_of_tests([tmp_path])] == ["d1"]


@pytest.mark.parametrize("read", [lambda folders: list(texts_of_tests(folders)), against_key])
def test_what_would_not_be_compared_is_refused(tmp_path: Path, read: object) -> None:
    folder, row = tmp_path / "tests", '{"_id": "d1", "text": "something"}\n'
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "corpus.jsonl").write_text(row)
    packed = folder / "one" / "queries.jsonl.gz"
    packed.write_bytes(gzip.compress(row.encode()))
    with pytest.raises(DataError, match=r"one.queries\.jsonl\.gz: is packed; unpack it"):
        read([folder])  # type: ignore[operator]
    (folder / "one" / "queries.jsonl").write_text(row)
    assert read([folder])  # type: ignore[operator]
    (folder / "README.md").symlink_to(packed)
    assert read([folder])  # type: ignore[operator]
    for name, target in (("two", folder / "one"), ("corpus.jsonl", folder / "one" / "corpus.jsonl")):
        (folder / name).symlink_to(target)
        with pytest.raises(DataError, match=f"tests.{name}: is a link, and links are not followed"):
            read([folder])  # type: ignore[operator]
        (folder / name).unlink()


def test_the_key_of_test_collections_changes_with_their_texts_alone(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "something"}\n')
    keys = [against_key([tmp_path])]
    (tmp_path / "README.md").write_text("not compared")
    keys.append(against_key([tmp_path]))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "something"}\n')
    keys.append(against_key([tmp_path]))
    assert keys[0] == keys[1] != keys[2]


def test_the_other_program_that_compares_takes_short_test_texts_and_wants_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    disjoint = importlib.import_module("disjoint")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "queries.jsonl").write_text('{"_id": "q1", "text": "robotic arm control"}\n')
    (tmp_path / "out" / "train").mkdir(parents=True)
    rows = [{"query": long_text(0), "positives": [{"text": "Robotic arm: control!", "title": ""}], "negatives": []}]
    kind = pa.list_(pa.struct([("text", pa.string()), ("title", pa.string())]))
    schema = pa.schema([("query", pa.string()), ("positives", kind), ("negatives", kind)])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "out" / "train" / "a.parquet")
    for arguments, code, said in (
        (["out", "tests"], 1, "{'equal': 1} meet"),
        ([], 2, "TEST_FOLDER"),
        (["--help"], 0, "TEST_FOLDER"),
    ):
        monkeypatch.setattr(
            sys, "argv", ["disjoint.py", *(str(tmp_path / one) if one[0] != "-" else one for one in arguments)]
        )
        with pytest.raises(SystemExit) as ended:
            disjoint.main()
        assert ended.value.code == code
        told = capsys.readouterr()
        assert said in told.out + told.err
