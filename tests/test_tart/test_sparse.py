"""Sparse search equals BM25 as Lucene has it, worked out here from the words."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tart.collection import Document
from tart.errors import DataError
from tart.index.sparse import FOLDER, SparseIndex, _best_rows, tokenize, write_bm25

K1, B = 1.5, 0.75
WORDS = "fish bird river stone code python list sort parse house garden running runs the of".split()


def built(folder: Path, documents: list[Document]) -> SparseIndex:
    folder.mkdir(exist_ok=True)
    write_bm25(folder, iter(documents))
    return SparseIndex(folder)


def bm25(documents: list[Document], query: str) -> dict[int, float]:
    """Scores of the rows that share a word with the query.

    idf = ln(1 + (N - n + 0.5) / (n + 0.5)); a word's share = idf * f / (f + k1 * (1 - b + b * length / mean length));
    a word that stands twice in the query counts twice.
    """
    words = tokenize([f"{document.title} {document.text}" for document in documents])
    mean = sum(map(len, words)) / len(words)
    scores: dict[int, float] = {}
    for word in tokenize([query])[0]:
        holders = sum(word in one for one in words)
        idf = math.log(1 + (len(words) - holders + 0.5) / (holders + 0.5))
        for row, one in enumerate(words):
            if frequency := Counter(one)[word]:
                share = idf * frequency / (frequency + K1 * (1 - B + B * len(one) / mean))
                scores[row] = scores.get(row, 0.0) + share
    return scores


def some_documents(count: int, seed: int = 0) -> list[Document]:
    generator = random.Random(seed)
    made = []
    for n in range(count):
        text = " ".join(generator.choices(WORDS, k=generator.randrange(12)))
        made.append(Document(f"d{n}", text, generator.choice(["", "", "Fish", "Python code"])))
    return made


def test_the_words_that_are_matched() -> None:
    assert tokenize(["The Runners were RUNNING, with a-b C x1 über naïve!", "", "the of a"]) == [
        ["runner", "were", "run", "x1", "über", "naïv"],
        [],
        [],
    ]


def test_scores_equal_the_formula(tmp_path: Path) -> None:
    documents = some_documents(80)
    index = built(tmp_path, documents)
    queries = [*WORDS, "fish python", "sort a list of birds", "river river stone", "Running HOUSES", "code unknownword"]
    matched = 0
    for query, found in zip(queries, index.search(queries, 1000), strict=True):
        wanted = bm25(documents, query)
        assert sorted(found.rows.tolist()) == sorted(wanted)
        np.testing.assert_allclose(found.scores, [wanted[int(row)] for row in found.rows], rtol=1e-5)
        assert (np.diff(found.scores) <= 0).all()
        assert found.scores.dtype == np.float32 and found.rows.dtype == np.int64
        matched += len(wanted)
    assert matched > 300


def test_a_score_by_hand(tmp_path: Path) -> None:
    documents = [Document("0", "fish fish bird"), Document("1", "bird"), Document("2", "stone", "stone")]
    ((score,), (row,)) = built(tmp_path, documents).search(["fish"], 3)[0]
    # lengths 3, 1, 2: mean 2; "fish" stands in one of three documents, twice
    assert row == 0 and score == pytest.approx(math.log(1 + 2.5 / 1.5) * 2 / (2 + 1.5 * (0.25 + 0.75 * 3 / 2)))


def test_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert built(tmp_path, some_documents(20)).search(["fish"], 3)
    assert capsys.readouterr() == ("", "")


def test_titles_are_searched(tmp_path: Path) -> None:
    documents = [Document("a", "stone", "A river"), Document("b", "stone"), Document("c", "river")]
    assert set(built(tmp_path, documents).search(["rivers"], 3)[0].rows.tolist()) == {0, 2}


@pytest.mark.parametrize("k", [1, 2, 3, 5, 10, 79, 80, 1000])
def test_ties_at_the_end_are_all_returned(tmp_path: Path, k: int) -> None:
    documents = [Document(f"d{n}", ["fish", "fish bird", "stone", "fish fish"][n % 4]) for n in range(80)]
    wanted = bm25(documents, "fish")
    assert len({round(score, 6) for score in wanted.values()}) == 3 and len(wanted) == 60
    bound = sorted(wanted.values(), reverse=True)[min(k, 60) - 1]
    (found,) = built(tmp_path, documents).search(["fish"], k)
    assert set(found.rows.tolist()) == {row for row, score in wanted.items() if score >= bound - 1e-6}
    assert len(found.rows) >= min(k, 60)


@pytest.mark.parametrize("count", [1, 300, 5_000, 20_001])
@pytest.mark.parametrize("k", [1, 7, 50])
def test_the_best_rows_are_those_of_a_sort(count: int, k: int) -> None:
    chance = np.random.default_rng(count + k)
    scores = np.round(chance.random(count) * chance.integers(0, 2, count), 2).astype(np.float32)  # ties and zeros
    order = np.sort(scores)[::-1]
    lowest = order[min(k, count) - 1]
    wanted = np.flatnonzero((scores >= lowest) & (scores > 0))
    assert _best_rows(scores, k).tolist() == wanted.tolist()


def test_results_do_not_depend_on_the_order_of_documents(tmp_path: Path) -> None:
    documents = some_documents(60, seed=1)
    shuffled = random.Random(2).sample(documents, len(documents))
    queries = ["fish python list", "sort garden", "river"]
    found = []
    for name, order in (("given", documents), ("shuffled", shuffled)):
        results = built(tmp_path / name, order).search(queries, 5)
        found.append([{(order[int(row)].doc_id, float(s)) for s, row in zip(*one, strict=True)} for one in results])
    assert found[0] == found[1] and all(len(one) >= 5 for one in found[0])


def test_queries_do_not_touch_each_other(tmp_path: Path) -> None:
    index = built(tmp_path, some_documents(40))
    queries = ["fish", "", "bird river", "nowhere"]
    for query, found in zip(queries, index.search(queries, 3), strict=True):
        (alone,) = index.search([query], 3)
        assert alone.rows.tolist() == found.rows.tolist() and alone.scores.tolist() == found.scores.tolist()
    assert index.search([], 3) == []


@pytest.mark.parametrize("query", ["", " ", "the of a", "x", "?!", "zebra", "\ud800", "zebra unknown"])
def test_a_query_without_a_known_word_finds_nothing(tmp_path: Path, query: str) -> None:
    (found,) = built(tmp_path, some_documents(20)).search([query], 5)
    assert len(found.rows) == len(found.scores) == 0


def test_unknown_words_change_nothing(tmp_path: Path) -> None:
    index = built(tmp_path, some_documents(30))
    known, with_unknown = index.search(["fish river", "zebra fish quagga river"], 5)
    assert known.rows.tolist() == with_unknown.rows.tolist() and len(known.rows) >= 5
    assert known.scores.tolist() == with_unknown.scores.tolist()


@pytest.mark.parametrize("texts", [[""], ["", ""], ["the", "of a", "?"]])
def test_a_corpus_without_any_word_finds_nothing(tmp_path: Path, texts: list[str]) -> None:
    index = built(tmp_path, [Document(str(n), text) for n, text in enumerate(texts)])
    for found in index.search(["fish", "", "the", "?"], 5):
        assert len(found.rows) == 0


def test_empty_documents_among_others(tmp_path: Path) -> None:
    documents = [Document("a", ""), Document("b", "fish"), Document("c", ""), Document("d", "the")]
    (found,) = built(tmp_path, documents).search(["fish"], 4)
    assert found.rows.tolist() == [1] and found.scores[0] == pytest.approx(bm25(documents, "fish")[1])


def test_files_that_are_missing_or_damaged_are_data_errors(tmp_path: Path) -> None:
    built(tmp_path, some_documents(20))
    generator, damaged_reads = random.Random(0), 0
    for path in sorted((tmp_path / FOLDER).iterdir()):
        content = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(content)
            damaged[generator.randrange(min(len(content), 300))] ^= 1 << generator.randrange(8)
            path.write_bytes(damaged)
            try:
                SparseIndex(tmp_path).search(["fish python code list"], 3)
            except DataError as error:
                assert str(error).startswith(f"{tmp_path / FOLDER}: damaged (")
                damaged_reads += 1
        path.unlink()
        with pytest.raises(DataError, match=r"bm25: damaged .*; build the index again"):
            SparseIndex(tmp_path).search(["fish"], 3)
        path.write_bytes(content)
    assert damaged_reads > 60
