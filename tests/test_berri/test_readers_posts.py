"""Readers of posts, threads, prompts, dialogues and numbered code, on files made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berri.files import SourceFiles
from berri.readers import find_reader
from tart.errors import ConfigError, DataError


def rows(name: str, folder: Path, names: list[str], **settings: Any) -> list[dict[str, Any]]:
    found = find_reader(name)(SourceFiles(folder, names), **settings)
    return [{key: value for key, value in row.items() if value} for row in found]


def test_judged_pairs_are_same_or_other(tmp_path: Path) -> None:
    for name, text in (("a", "x\ny\n"), ("b", "x too\nz\n"), ("sim", "1\n0\n")):
        (tmp_path / name).write_text(text)
    settings = {"first": "a", "second": "b", "labels": "sim"}
    found = rows("judged-pairs", tmp_path, ["a", "b", "sim"], **settings)
    assert found == [{"first": "x", "same": "x too"}, {"first": "y", "other": "z"}]
    (tmp_path / "sim").write_text("1\n?\n")
    with pytest.raises(DataError, match=r"sim:2: wanted 0 or 1, found '\?'"):
        rows("judged-pairs", tmp_path, ["a", "b", "sim"], **settings)
    (tmp_path / "sim").write_text("1\n")
    with pytest.raises(DataError, match=r"a, b and sim differ in their lines: 2, 2, 1"):
        rows("judged-pairs", tmp_path, ["a", "b", "sim"], **settings)


def test_only_long_replies_that_ask_nothing_back_are_answers(tmp_path: Path) -> None:
    long = "It is so (http://x.org/a). " * 30
    bodies = [
        {"question": "Why<sq>s it <dq>so<dq>?", "answer": f"<p>{long}</p>"},
        {"question": "Why?", "answer": "<p>[removed]</p>"},
        {"question": "Why?", "answer": f"<p>{long} Do you mean that?</p>"},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"documents": [{"body": body} for body in bodies]}))
    (found,) = rows("reddit", tmp_path, ["a.json"])
    assert found == {"question": 'Why\'s it "so"?', "answer": ("It is so . " * 30).strip()}
    (tmp_path / "a.json").write_text(json.dumps({"documents": [{"body": bodies[0]}, "x"]}))
    with pytest.raises(DataError, match=r"a\.json:2: wanted an object, found str"):
        rows("reddit", tmp_path, ["a.json"])


def block(tag: str, words: str) -> str:
    return f"<{tag}>\n" + words.replace(" ", "\t") + "\nX\tX\n" + f"</{tag}>\n"


def test_trec_questions_get_their_sentences_and_at_most_five_others(tmp_path: Path) -> None:
    wrong = "".join(block("negative", f"no {number}") for number in range(7))
    content = "<QApairs id='1'>\n" + block("question", "Who is it ?") + block("positive", "It is I .") + wrong
    (tmp_path / "a.xml").write_text(content + "</QApairs>\n")
    (found,) = rows("trec-qa", tmp_path, ["a.xml"])
    wanted = [f"no {number}" for number in range(5)]
    assert found == {"question": "Who is it ?", "sentence": ["It is I ."], "other": wanted}
    (tmp_path / "a.xml").write_text(f"{content}</QApairs>\n<QApairs id='2'>\n</QApairs>\n")
    with pytest.raises(DataError, match=r"a\.xml:2: field 'question': block 2 has no question"):
        rows("trec-qa", tmp_path, ["a.xml"])
    (tmp_path / "a.xml").write_text("nothing\n")
    with pytest.raises(DataError, match=r"a\.xml: holds no <QApairs>"):
        rows("trec-qa", tmp_path, ["a.xml"])


def thread(relevance: str) -> str:
    comments = "".join(
        f'<RelComment RELC_RELEVANCE2ORGQ="{judged}"><RelCText>{text}</RelCText></RelComment>\n'
        for judged, text in (("Good", "do &amp; see"), ("Bad", "lol"), ("PotentiallyUseful", "perhaps"))
    )
    return (
        "<OrgQuestion ID='1'>\n<OrgQSubject>Bank</OrgQSubject><OrgQBody>Which one?</OrgQBody>\n"
        f"<RelQuestion {relevance}><RelQSubject>Banks.</RelQSubject><RelQBody></RelQBody></RelQuestion>\n"
        f"{comments}</OrgQuestion>\n"
    )


def test_a_thread_is_similar_or_other_and_its_comments_good_or_bad(tmp_path: Path) -> None:
    similar, irrelevant = (thread(f'RELQ_RELEVANCE2ORGQ="{one}"') for one in ("PerfectMatch", "Irrelevant"))
    (tmp_path / "a.xml").write_text(similar + irrelevant)
    first, second = rows("forum-threads", tmp_path, ["a.xml"])
    wanted = {"question": "Bank. Which one?", "comment": ["do & see"], "bad": ["lol"]}
    assert first == {**wanted, "similar": "Banks"}
    assert second == {**wanted, "other": "Banks"}
    (tmp_path / "a.xml").write_text(similar + thread(""))
    with pytest.raises(DataError, match=r"a\.xml:2: field 'RELQ_RELEVANCE2ORGQ': has no judged question"):
        rows("forum-threads", tmp_path, ["a.xml"])
    (tmp_path / "a.xml").write_text("<xml/>\n")
    with pytest.raises(DataError, match=r"a\.xml: holds no <OrgQuestion>"):
        rows("forum-threads", tmp_path, ["a.xml"])


PARTS = {"a.jsonl": {"prompt": "Sum up:\n(?P<story>.+)\n", "completion": "gist"}}


def test_prompts_are_taken_apart_by_their_pattern(tmp_path: Path) -> None:
    good = json.dumps({"prompt": "Sum up:\nOne.\nTwo.\n", "completion": "1, 2<|endoftext|>"}) + "\n"
    (tmp_path / "a.jsonl").write_text(good)
    assert rows("prompts", tmp_path, ["a.jsonl"], parts=PARTS) == [{"story": "One.\nTwo.", "gist": "1, 2"}]
    (tmp_path / "a.jsonl").write_text(good + '{"prompt": "Tell me", "completion": "x"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: field 'prompt': the prompt has another form"):
        rows("prompts", tmp_path, ["a.jsonl"], parts=PARTS)
    with pytest.raises(ConfigError, match=r"a\.jsonl: '\(' is no regular expression"):
        rows("prompts", tmp_path, ["a.jsonl"], parts={"a.jsonl": {"prompt": "(", "completion": "gist"}})


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"prompt": "x", "completion": 1}'])
def test_a_line_that_is_no_prompt_is_told(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1: wanted an object with prompt and completion"):
        rows("prompts", tmp_path, ["a.jsonl"], parts=PARTS)


def test_what_the_system_says_answers_the_three_turns_before(tmp_path: Path) -> None:
    turns = [["USER", "a"], ["SYSTEM", "b"], ["USER", "c"], ["SYSTEM", "d"], ["USER", "e"], ["SYSTEM", "f"]]
    (tmp_path / "a.jsonl").write_text(json.dumps({"turns": turns}) + "\n")
    assert rows("service-dialogue", tmp_path, ["a.jsonl"]) == [
        {"context": "a", "response": "b"},
        {"context": "a b c", "response": "d"},
        {"context": "c d e", "response": "f"},
    ]
    (tmp_path / "a.jsonl").write_text('{"turns": [["USER"]]}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:1: wanted an object with turns"):
        rows("service-dialogue", tmp_path, ["a.jsonl"])


def test_comments_and_methods_meet_by_number(tmp_path: Path) -> None:
    (tmp_path / "v.token.code").write_text("1\tint a ( ) { }\n2\tint b ( ) { }\n")
    (tmp_path / "v.token.nl").write_text("2\tgives b , always .\n")
    names = ["v.token.code", "v.token.nl"]
    found = rows("numbered-code", tmp_path, names, parts=["v"])
    assert found == [{"comment": "gives b, always.", "method": "int b ( ) { }"}]
    for bad, problem in (("3\tx", "no method has number '3'"), ("x", "wanted a number, a tab and a text")):
        (tmp_path / "v.token.nl").write_text(f"2\tx\n{bad}\n")
        with pytest.raises(DataError, match=rf"v\.token\.nl:2: {problem}"):
            rows("numbered-code", tmp_path, names, parts=["v"])


def test_a_text_proves_a_statement_or_is_only_near(tmp_path: Path) -> None:
    labels = ("entailment", "not_entailment")
    lines = [json.dumps({"premise": f"text {one}", "hypothesis": "it is", "label": one}) + "\n" for one in labels]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    assert rows("entailment", tmp_path, ["a.jsonl"]) == [
        {"statement": "it is", "proof": "text entailment"},
        {"statement": "it is", "near": "text not_entailment"},
    ]
    for bad in ("{", "[]", '{"premise": "x", "hypothesis": "y", "label": "perhaps"}'):
        (tmp_path / "a.jsonl").write_text(lines[0] + bad + "\n")
        with pytest.raises(DataError, match=r"a\.jsonl:2: wanted hypothesis, premise, and entailment or"):
            rows("entailment", tmp_path, ["a.jsonl"])
