"""Cards: those of the project hold, and a wrong one is refused with file and key."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from berri.card import FORMS, LEAST_HELD_OUT, LEAST_WORDINGS, load_cards, read_card, siblings
from berri.readers import find_reader
from tart.errors import ConfigError, DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CARDS = load_cards()
FURTHER = Path(__file__).parents[2] / "berri" / "wordings.toml"

GOOD = """
[source]
title = "Toy"
published = "made up"
revision = "1"
license = "CC0"
license_class = "open"
license_reason = "made up"
citation = "nobody"
domain = "toys"

[[source.files]]
name = "rows.jsonl"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

[source.reader]
name = "jsonl"
fields = { a = "a", b = "b" }

[[task]]
name = "toy-a-to-b"
query = "a"
document = "b"
query_is = "an a"
document_is = "a b"
intent = "names"
unit = "b"
expected = 1

[task.instructions]
order = ["Find the b.", "Get the b of this a.", "Name the b."]
wish = ["I want a b.", "I need its b."]
noun = ["The b of this a", "A b"]
question = ["Which b is it?"]
held_out = ["Name the b.", "A b"]
"""


def refused(folder: Path, old: str, new: str) -> str:
    path = folder / "toy.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        load_cards(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_there_are_at_least_a_hundred_cards_over_many_domains_and_intents() -> None:
    assert len(CARDS) >= 100
    assert len({card.domain for card in CARDS.values()}) >= 12
    assert len({card.intent for card in CARDS.values()}) >= 10
    assert sum(bool(siblings(card, CARDS)) for card in CARDS.values()) >= 25


@pytest.mark.parametrize("name", CARDS)
def test_a_card_has_enough_wordings_that_differ(name: str) -> None:
    card = CARDS[name]
    texts = [one.text for one in card.wordings]
    assert len(texts) >= LEAST_WORDINGS
    assert sum(one.held_out for one in card.wordings) >= LEAST_HELD_OUT
    assert {one.form for one in card.wordings} == set(FORMS)
    stripped = Counter(re.sub(r"\W+", " ", text.casefold()).strip() for text in texts)
    assert stripped.most_common(1)[0][1] == 1
    for one in card.wordings:
        assert one.text[0].isupper()
        assert one.text.endswith("?") == (one.form == "question")
        assert "  " not in one.text


@pytest.mark.parametrize("name", CARDS)
def test_a_card_names_a_reader_that_there_is_and_licenses_with_their_reason(name: str) -> None:
    source = CARDS[name].source
    find_reader(source.reader)
    assert source.license and source.license_reason


def test_no_wording_stands_for_two_tasks_that_ask_the_same_field_of_one_source() -> None:
    for card in CARDS.values():
        mine = {one.text.casefold() for one in card.wordings}
        for other in siblings(card, CARDS):
            assert not mine & {one.text.casefold() for one in other.wordings}


def test_the_further_wordings_are_those_of_trained_open_tasks_and_none_is_held_out_or_another_tasks() -> None:
    further = tomllib.loads(FURTHER.read_text(encoding="utf-8"))
    plain = {name: {_plain(one.text) for one in card.wordings} for name, card in CARDS.items()}
    held_out = {_plain(one.text) for card in CARDS.values() for one in card.wordings if one.held_out}
    measured = {text for name, card in CARDS.items() if card.level != "train" for text in plain[name]}
    seen: dict[str, str] = {}
    for name, lists in further.items():
        assert CARDS[name].level == "train" and CARDS[name].source.license_class == "open"
        texts = [_plain(text) for text in lists["further"]]
        assert len(texts) >= 20
        assert not {*texts} & (plain[name] | held_out | measured)
        assert all(seen.setdefault(text, name) == name for text in texts) and len({*texts}) == len(texts)
    assert len(further) >= 100


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_a_good_card_is_read(tmp_path: Path) -> None:
    (tmp_path / "toy.toml").write_text(GOOD)
    (task,) = read_card(tmp_path / "toy.toml")
    assert (task.name, task.domain, task.source.name) == ("toy-a-to-b", "toys", "toy")
    assert [one.text for one in task.wordings if one.held_out] == ["Name the b.", "A b"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('citation = "nobody"', 'citatoin = "nobody"', "field 'source.citation': is missing"),
        ("expected = 1", "expected = 1\nfamly = 'x'", r"task\[1\].famly': unknown key; did you mean family"),
        ('"Get the b of this a."', '"find the b."', "'find the b.' comes twice"),
        ('"Get the b of this a."', '"nan"', "'nan' is no instruction"),
        ('"Get the b of this a."', '" "', "strings that aren't blank"),
        ('"Get the b of this a."', '"Get  the b."', "white space"),
        (
            'question = ["Which b is it?"]',
            "question = []",
            "field 'task.1..instructions.question': wanted at least one",
        ),
        ('noun = ["The b of this a", "A b"]', 'noun = ["A b"]', "wanted at least 8 wordings in all, found 7"),
        ('held_out = ["Name the b.", "A b"]', 'held_out = ["Name the b."]', "wanted at least 2 of the wordings"),
        ('held_out = ["Name the b.", "A b"]', 'held_out = ["Name the b.", "A c"]', "of the wordings above"),
        ('sha256 = "0000', 'sha256 = "xyz0', "wanted 64 hex digits"),
        ('license_class = "open"', 'license_class = "free"', "wanted open or research, found 'free'"),
        ('name = "rows.jsonl"', 'name = "../rows.jsonl"', "wanted a name below it"),
        ("expected = 1", 'expected = "1"', "wanted a whole number"),
        ("expected = 1", "expected = 1\nopposite = ['toy-c']", "'toy-c' is no other task of this file"),
        ('name = "toy-a-to-b"', 'name = "Toy A"', "lower-case words joined by -"),
        ("[source]", "[source", "not valid TOML"),
        ("[[task]]", "[[tusk]]", r"wanted \[\[task\]\] tables"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert re.search(message, refused(tmp_path, old, new))


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(GOOD)
    (tmp_path / "two.toml").write_text(GOOD)
    with pytest.raises(DataError, match=r"two\.toml: field 'toy-a-to-b': a task of this name is in one\.toml too"):
        load_cards(tmp_path)


def test_a_wording_of_two_tasks_that_want_other_documents_for_a_query_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    second = GOOD[GOOD.index("[[task]]") :].replace('name = "toy-a-to-b"', 'name = "toy-a-to-c"')
    other = second.replace('document = "b"', 'document = "c"').replace("b.", "c.").replace("Which b", "Which c")
    path.write_text(GOOD + other.replace('"The b of this a", "A b"', '"The c", "a B"').replace('"A b"', '"a B"'))
    with pytest.raises(DataError, match=r"toy\.toml: 'a b' stands for toy-a-to-b and for toy-a-to-c"):
        load_cards(tmp_path)
    path.write_text(GOOD + second)  # the same document for the query: one wish under two names
    assert list(load_cards(tmp_path)) == ["toy-a-to-b", "toy-a-to-c"]


def test_a_folder_without_cards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no card"):
        load_cards(tmp_path)


def test_an_unknown_reader_is_named_with_near_ones() -> None:
    with pytest.raises(ConfigError, match="unknown reader 'jsonll'; did you mean jsonl"):
        find_reader("jsonll")


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (("held-out-task", "held-out-task"), "toy-a-to-b: no task of family 'toy' is trained"),
        (("train", "held-out-family"), "toy-a-to-c: tasks of family 'toy' are trained"),
        (("train", "held-out-task"), ""),
        (("held-out-family", "held-out-family"), ""),
    ],
)
def test_a_held_out_task_has_trained_brothers_and_a_held_out_family_none(
    tmp_path: Path, levels: tuple[str, str], message: str
) -> None:
    head, tail = GOOD.split("[[task]]")
    for name, level in zip("bc", levels, strict=True):
        more = f'expected = 1\nfamily = "toy"\nlevel = "{level}"'
        head += "[[task]]" + tail.replace('"toy-a-to-b"', f'"toy-a-to-{name}"').replace("expected = 1", more)
    (tmp_path / "toy.toml").write_text(head)
    if message:
        with pytest.raises(DataError, match=message):
            load_cards(tmp_path)
    else:
        assert [task.level for task in load_cards(tmp_path).values()] == list(levels)


def test_every_level_of_generalisation_can_be_measured_on_open_cards() -> None:
    levels = {card.level for card in CARDS.values() if card.source.license_class == "open"}
    assert levels == {"train", "held-out-task", "held-out-family"}


def test_an_overlap_that_is_no_known_test_collection_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, 'domain = "toys"', 'domain = "toys"\noverlaps = ["scifakt"]')
    assert re.search("field 'source.overlaps': wanted one of .*scifact.*found 'scifakt'", message)
