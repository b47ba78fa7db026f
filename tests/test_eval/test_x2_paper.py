"""The paper's pool, rebuilt from tiny files in the layouts of its sources: none of the original's faults comes back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from eval.task import Task
from eval.x2_paper import KIND, PAPER_TASKS, build_paper_pool
from eval.x2_sources import without_docstring
from eval.x2_suite import load_pool
from tart.errors import ConfigError, DataError, StorageError
from tart.manifest import read_manifest, verify_parts

STACK = "https://stackoverflow.com/questions/1"
LONG = "Says at some length what it does, so that it is taken."  # 54 characters


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def wikiqa(place: Path) -> None:
    header = "QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel\n"
    parts = {
        "train": 'Q1\twho?\tD1\tCats\tD1-0\tA cat.\t1\nQ1\twho?\tD1\tCats\tD1-1\tA "big" cat.\t0\n',
        "dev": "Q2\twhat?\tD1\tCats\tD1-0\tA cat.\t1\nQ2\twhat?\tD2\tDogs\tD2-0\tA cat.\t1\n",
        "test": "Q3\twhere?\tD3\tOwls\tD3-0\tHere.\t0\n",
    }
    for part, text in parts.items():
        write(place / f"WikiQACorpus/WikiQA-{part}.tsv", header + text)


def ambigqa(place: Path) -> None:
    def row(number: str, question: str, *annotations: list[str]) -> dict[str, Any]:
        several = [
            {"type": "multipleQAs", "qaPairs": [{"question": q, "answer": []} for q in one]} for one in annotations
        ]
        return {"id": number, "question": question, "annotations": [*several, {"type": "singleAnswer", "answer": []}]}

    write(place / "ambignq_light/train_light.json", json.dumps([row("1", "who won?", ["who won in 1990?"])]))
    dev = [
        row("2", "who won it?", ["who won in 1990?", "who won in 1994?"], ["who won in 1994?"]),
        row("3", "who was first?"),
    ]
    write(place / "ambignq_light/dev_light.json", json.dumps(dev, indent=1))


def scifact(place: Path) -> None:
    write(place / "scifact/corpus.jsonl", jsonl([{"_id": "7", "title": "T", "text": "x"}, {"_id": "8", "text": "x"}]))
    write(place / "scifact/queries.jsonl", jsonl([{"_id": "1", "text": "claim"}, {"_id": "2", "text": "train claim"}]))
    write(place / "scifact/qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\t7\t1\n1\t8\t0\n")


def gooaq(place: Path) -> None:
    def row(
        number: int, question: str, answer: str | None, url: str = STACK, kind: str = "feat_snip"
    ) -> dict[str, Any]:
        return {"id": number, "question": question, "answer": answer, "answer_url": url, "answer_type": kind}

    rows = [
        row(1, "how to sort?", "Use sorted()."),
        row(2, "how do i sort?", "Use sorted()."),  # the same snippet
        row(3, "how to sort?", "Use list.sort()."),  # the same question
        row(4, "how to read?", " "),
        row(5, "who?", "Not a snippet.", kind="knowledge"),
        row(6, "where?", "Elsewhere.", url="https://example.com/https://stackoverflow.com/x"),
        row(7, "when?", "Nowhere.") | {"answer_url": None},
    ]
    (place / "gooaq.jsonl.gz").write_bytes(gzip.compress(jsonl(rows).encode()))


def linkso(place: Path) -> None:
    folder = place / "linkso/topublish/python"
    questions = [
        "1\tsort list\tbody one\tanswer",
        "2\tlist sort\tbody two\tanswer",
        "3\torder list\tbody three\tanswer",
        "4\tread file\tbody four\tanswer",
        "5\t\tno title\tanswer",
        "6\torder list\tbody three\tanother answer",
    ]
    write(folder / "python_qid2all.txt", "\n".join(questions) + "\n")
    pairs = [
        "1\t2\t0.9\t1",
        "1\t3\t0.8\t1",
        "1\t4\t0.7\t0",
        "4\t1\t0.1\t0",
        "2\t6\t0.2\t1",
        "1\t99\t0.2\t1",
        "5\t1\t1\t1",
    ]
    write(folder / "python_cosidf.txt", "\n".join(["qid1\tqid2\tscore\tlabel", *pairs]) + "\n")
    write(folder / "python_test_qid.txt", "1\n4\n5\n6\n")


def codesearchnet(place: Path) -> None:
    def row(docstring: str, code: str) -> dict[str, Any]:
        return {"func_name": "f", "code": code, "docstring": docstring, "partition": "x"}

    def packed(part: str, rows: list[dict[str, Any]]) -> None:
        path = place / f"python/final/jsonl/{part}/python_{part}_0.jsonl.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(jsonl(rows).encode()))

    packed("train", [row(LONG, f"def a():\n    '{LONG}'\n    return 1")])
    packed("valid", [row("Short.", 'def b():\n    """Short."""\n    return """2"""')])
    packed(
        "test",
        [
            row(LONG, f'def c():\n    """{LONG}"""\n    print "two"\n\n\n    return 2'),
            row(LONG + " Ha.", f'def a():\n    """{LONG} Ha."""\n    return 1'),  # the same code as in train
            row(LONG + " Hm.", f"def d(:\n    '{LONG} Hm.'"),  # no Python
            row("Short.", 'def e():\n    """Short."""'),
        ],
    )


def nq(place: Path) -> None:
    write(
        place / "nq/corpus.jsonl",
        jsonl([{"_id": "d0", "title": "T", "text": "x"}, {"_id": "d1", "title": "T", "text": "x"}]),
    )


MAKERS = (wikiqa, ambigqa, scifact, gooaq, linkso, codesearchnet, nq)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sources")
    for make in MAKERS:
        make(place)
    return place


@pytest.fixture(scope="module")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_paper_pool(sources, tmp_path_factory.mktemp("built") / "x2")


@pytest.fixture(scope="module")
def tasks(built: Path) -> dict[str, Task]:
    return {task.name: task for task in load_pool(built).tasks}


def asked(task: Task) -> dict[str, set[str]]:
    """Query text -> texts of the documents that answer it."""
    collection = task.collection
    return {
        query.text: {collection.corpus[doc_id].text for doc_id in collection.qrels[query.query_id]}
        for query in collection.queries
    }


def test_the_pool_has_all_tasks_and_the_distractor(tasks: dict[str, Task]) -> None:
    assert list(tasks) == list(PAPER_TASKS) and len(tasks) == 7
    assert [name for name, task in tasks.items() if not task.collection.queries] == ["nq"]
    assert [name for name, task in tasks.items() if not task.wordings] == ["nq"]
    assert [name for name, task in tasks.items() if task.drop_identical_ids] == ["linkso-python"]
    assert all(task.unit for task in tasks.values())


def test_wikiqa_asks_for_the_right_sentences_of_dev_and_test(tasks: dict[str, Task]) -> None:
    task = tasks["wikiqa"]
    documents = [(d.doc_id, d.title, d.text) for d in task.collection.corpus.values()]
    # the sentence that comes twice is one document; under another title it is another
    assert documents == [
        ("train-2", "Cats", "A cat."),
        ("train-3", "Cats", 'A "big" cat.'),
        ("dev-3", "Dogs", "A cat."),
        ("test-2", "Owls", "Here."),
    ]
    assert [query.query_id for query in task.collection.queries] == ["Q2"]  # Q1 is train, Q3 has no answer
    assert task.collection.qrels == {"Q2": {"train-2": 1, "dev-3": 1}}


def test_ambigqa_has_one_document_for_what_annotators_wrote_alike(tasks: dict[str, Task]) -> None:
    task = tasks["ambigqa"]
    assert [d.text for d in task.collection.corpus.values()] == ["who won in 1990?", "who won in 1994?"]
    assert asked(task) == {"who won it?": {"who won in 1990?", "who won in 1994?"}}  # one of them written for train


def test_scifact_and_nq_are_as_beir_has_them(tasks: dict[str, Task]) -> None:
    assert list(tasks["nq"].collection.corpus) == ["d0", "d1"]  # copies and all
    assert asked(tasks["scifact"]) == {"claim": {"x"}}
    assert tasks["scifact"].collection.qrels == {"1": {"7": 1}}
    assert len(tasks["scifact"].collection.corpus) == 2


def test_gooaq_judges_a_snippet_once_for_all_its_questions(tasks: dict[str, Task]) -> None:
    task = tasks["gooaq-technical"]
    assert list(task.collection.corpus) == ["stackoverflow-1", "stackoverflow-3"]
    assert asked(task) == {"how to sort?": {"Use sorted().", "Use list.sort()."}, "how do i sort?": {"Use sorted()."}}


def test_linkso_takes_all_duplicates_in_both_directions(tasks: dict[str, Task]) -> None:
    task = tasks["linkso-python"]
    assert list(task.collection.corpus) == ["1", "2", "3", "4", "5"]  # 6 is a copy of 3
    assert [query.text for query in task.collection.queries] == ["sort list", "order list"]
    # 1 is listed with 2 and 3; 5 lists 1; 99 isn't there. 6 is listed by 2, and its document by its copy's id, 3.
    assert task.collection.qrels == {"1": {"2": 1, "3": 1, "5": 1}, "3": {"2": 1}}


def test_codesearchnet_cuts_docstrings_and_nothing_else(tasks: dict[str, Task]) -> None:
    task = tasks["codesearchnet-python"]
    assert [d.text for d in task.collection.corpus.values()] == [
        "def a():\n    return 1",
        'def b():\n    return """2"""',
        'def c():\n    print "two"\n\n\n    return 2',
        f"def d(:\n    '{LONG} Hm.'",
        "def e():",
    ]
    assert asked(task) == {
        LONG: {"def a():\n    return 1", 'def c():\n    print "two"\n\n\n    return 2'},  # both had it
        f"{LONG} Ha.": {"def a():\n    return 1"},  # its copy from train stands for it
    }


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ('def f(x):\n    """Doc.\n\n    More.\n    """\n    return x', "def f(x):\n    return x"),
        ("def f(x): 'doc'; return x", "def f(x): return x"),
        ("def f(x):\n        '''a''' 'b'\n        print 'x', 0777", "def f(x):\n        print 'x', 0777"),
        ("def f(x={1: 2}, y=lambda z: z):\n    # c\n    u'd'\n    return '''x'''",
         "def f(x={1: 2}, y=lambda z: z):\n    # c\n    return '''x'''"),
        ("@d(a='x')\nasync def f():\n    'doc'\n    pass", "@d(a='x')\nasync def f():\n    pass"),
        ("def f(x):\n    return 'x'", None),
        ("def f(x):\n    'a %s' % x\n    return x", None),
        ("def f(x):\n    f'{x}'\n", None),
        ("def f(x:\n  'a", None),
    ],
)  # fmt: skip
def test_docstrings_are_what_python_says_they_are(code: str, wanted: str | None) -> None:
    assert without_docstring(code) == wanted


def test_the_manifest_holds_counts_and_checksums(built: Path, sources: Path) -> None:
    manifest = read_manifest(built.parent, KIND)
    verify_parts(built.parent, manifest)
    assert manifest["seed"] == 0 and list(manifest["tasks"]) == list(PAPER_TASKS)
    gooaq_facts = manifest["tasks"]["gooaq-technical"]
    assert gooaq_facts["counts"] == {
        "documents": 2,
        "copies merged": 1,
        "rows with a blank question or answer, left out": 1,
        "queries to choose from": 2,
        "queries": 2,
        "judgements": 3,
    }
    assert list(gooaq_facts["sources"]) == ["gooaq.jsonl.gz"] and len(gooaq_facts["sources"]["gooaq.jsonl.gz"]) == 64
    functions = manifest["tasks"]["codesearchnet-python"]
    assert functions["counts"]["functions whose docstring can't be cut out: documents, but no queries"] == 1
    assert len(functions["sources"]) == 3


def test_the_draw_depends_on_the_seed_alone(sources: Path, tmp_path: Path) -> None:
    def drawn(name: str, seed: int, names: list[str]) -> tuple[str, str]:
        pool = build_paper_pool(sources, tmp_path / name, names=names, seed=seed, drawn=1)
        return tuple(  # type: ignore[return-value]
            (pool.parent / part / "queries.jsonl").read_text() for part in ("gooaq-technical", "codesearchnet-python")
        )

    both = ["gooaq-technical", "codesearchnet-python"]
    first = drawn("a", 0, both)
    assert [text.count("\n") for text in first] == [1, 1]
    assert drawn("b", 0, ["scifact", *reversed(both)]) == first
    assert {drawn(f"seed {seed}", seed, both) for seed in range(1, 9)} != {first}


def test_missing_and_strange_sources_are_named(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"WikiQA-train.tsv: no such file, which wikiqa needs; from https://www.microsoft"
    ):
        build_paper_pool(tmp_path, tmp_path / "out", names=["wikiqa"])
    with pytest.raises(ConfigError, match="has no task 'wikiqua'; did you mean wikiqa"):
        build_paper_pool(sources, tmp_path / "out", names=["wikiqua"])
    with pytest.raises(ConfigError, match="wanted at least one task"):
        build_paper_pool(sources, tmp_path / "out", names=[])
    for name, text in (("train", "[]"), ("dev", '[{"id": 1}]')):
        write(tmp_path / f"ambignq_light/{name}_light.json", text)
    with pytest.raises(DataError, match=r"dev_light.json: not AmbigQA's layout .KeyError: 'annotations'"):
        build_paper_pool(tmp_path, tmp_path / "out", names=["ambigqa"])
    gooaq(tmp_path)
    packed = (tmp_path / "gooaq.jsonl.gz").read_bytes()
    (tmp_path / "gooaq.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"gooaq.jsonl.gz: no whole gzip file"):
        build_paper_pool(tmp_path, tmp_path / "out", names=["gooaq-technical"])
    (tmp_path / "gooaq.jsonl.gz").unlink()
    write(tmp_path / "gooaq.jsonl", jsonl([{"id": 1, "answer_type": "feat_snip", "answer_url": STACK}]))
    with pytest.raises(DataError, match=r"gooaq.jsonl:1: wanted id, question and answer"):
        build_paper_pool(tmp_path, tmp_path / "out", names=["gooaq-technical"])
    write(tmp_path / "gooaq.jsonl", jsonl([{"id": 1, "answer_type": "other"}]))
    with pytest.raises(DataError, match=r"no query was found for gooaq-technical; are these the published files"):
        build_paper_pool(tmp_path, tmp_path / "out", names=["gooaq-technical"])
    assert not (tmp_path / "out").exists()


def test_an_existing_pool_is_kept_unless_it_is_to_be_replaced(sources: Path, tmp_path: Path) -> None:
    build_paper_pool(sources, tmp_path / "out", names=["nq"])
    with pytest.raises(StorageError, match="exists already"):
        build_paper_pool(sources, tmp_path / "out", names=["scifact"])
    pool = build_paper_pool(sources, tmp_path / "out", names=["scifact"], overwrite=True)
    assert [task.name for task in load_pool(pool).tasks] == ["scifact"]
