"""The base model finds the same in real text on torch, in its lean form, and in an index that is opened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tart
from tart import BiEncoder, Query, Searcher
from tart.demo.show import QUERIES
from tart.demo.stdlib_corpus import kind_of, stdlib_documents

K = 10
ROUNDING = 0.004  # of a cosine, where documents may change places; bfloat16 was seen to move these by up to 0.002


def test_the_same_top_10_on_torch_in_the_lean_form_and_in_an_index(minilm: BiEncoder, tmp_path: Path) -> None:
    documents = [document for document in stdlib_documents() if kind_of(document.doc_id) == "documentation"]
    documents = documents[:: len(documents) // 300]
    texts = [*QUERIES, *(document.title.replace(".", " ") for document in documents[::20])]
    queries = [Query(f"q{number}", text) for number, text in enumerate(texts)]
    lean = tart.load_encoder("minilm", backend="lean")
    Searcher.build(documents, lean, tmp_path / "index")
    opened = Searcher.open(tmp_path / "index", backend="lean")
    assert isinstance(opened.dense.index.vectors, np.memmap) and opened.encoder is not lean

    exact = minilm.encode_queries(queries) @ minilm.encode_documents(documents).T
    rounded = lean.encode_queries(queries) @ lean.encode_documents(documents).T
    row_of = {document.doc_id: row for row, document in enumerate(documents)}
    run = opened.retrieve(queries, K)
    saved = np.array([[row_of[hit.doc_id] for hit in run[query.query_id]] for query in queries])
    wanted = np.argsort(-exact, axis=1)[:, :K]
    best = np.take_along_axis(exact, wanted, axis=1)
    assert len(queries) > 15 and np.median(best[:, 0] - best[:, -1]) > 20 * ROUNDING
    for found in (np.argsort(-rounded, axis=1)[:, :K], saved):
        assert all(len(set(rows)) == K for rows in found.tolist())
        np.testing.assert_allclose(np.take_along_axis(exact, found, axis=1), best, atol=ROUNDING, rtol=0)
        assert (found == wanted).mean() > 0.9
    scores = [[hit.score for hit in run[query.query_id]] for query in queries]
    np.testing.assert_allclose(scores, best, atol=ROUNDING, rtol=0)
