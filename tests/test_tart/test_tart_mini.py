"""The models that the project ships: small, whole, plain, and they do what the instruction says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from tart import BiEncoder, Document, Instruction, Query
from tart.demo.show import QUERIES
from tart.demo.stdlib_corpus import kind_of, stdlib_documents
from tart.models import DEFAULT_MODEL
from tart.models.export import export_model
from tart.models.load import load_reranker, load_torch_encoder
from tart.models.shipped import SHIPPED
from tart.models.summed import SummedReranker

WISHES = {
    "code": Instruction("Find Python source code that does this"),
    "documentation": Instruction("Find a paragraph of documentation that explains this"),
}


@pytest.fixture(scope="module")
def mini() -> BiEncoder:
    return load_torch_encoder(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """A part of the demo's corpus: the sources and the documentation of a few modules."""
    wanted = re.compile(r"(code|docs):(glob|shutil|argparse|difflib|tempfile|fileinput)\.")
    return [document for document in stdlib_documents() if wanted.match(document.doc_id)]


def share_of_wanted(encoder: BiEncoder, documents: list[Document], kind: str) -> float:
    """The share of the wanted kind in the top 10, mean over the demo's queries."""
    asked = [Query(text, text, WISHES[kind]) for text in QUERIES]
    scores = encoder.encode_queries(asked) @ encoder.encode_documents(documents).T
    best = np.argsort(-scores, axis=1)[:, :10]
    return float(np.mean([[kind_of(documents[row].doc_id) == kind for row in rows] for rows in best]))


def test_it_finds_the_kind_that_the_instruction_wants(
    mini: BiEncoder, minilm: BiEncoder, documents: list[Document]
) -> None:
    assert share_of_wanted(mini, documents, "documentation") > 0.8
    assert share_of_wanted(mini, documents, "code") > share_of_wanted(minilm, documents, "code") + 0.05


def test_an_exported_folder_gives_the_same_vectors_in_plain_sentence_transformers(
    mini: BiEncoder, tmp_path: Path
) -> None:
    export_model(DEFAULT_MODEL, tmp_path / "plain")
    plain = SentenceTransformer(str(tmp_path / "plain"), device="cpu")
    query = Query("q", "sort a list", WISHES["code"])
    assert np.allclose(
        plain.encode_query(mini.text_format.query_text(query)), mini.encode_queries([query])[0], atol=1e-6
    )
    assert np.allclose(plain.encode_document(["a text"]), mini.encode_documents(["a text"]), atol=1e-6)
    assert (
        "(curves.png)" in (tmp_path / "plain" / "README.md").read_text() and (tmp_path / "plain" / "curves.png").stat()
    )
    assert mini.dim == 448 and mini.text_format.knows_instructions and mini.similarity == "cosine"


def test_the_reranker_is_small_and_its_exported_folder_gives_what_is_added(mini: BiEncoder, tmp_path: Path) -> None:
    size = sum(path.stat().st_size for path in (SHIPPED / "tart-mini-full").rglob("*"))
    assert size < 25e6
    reranker = load_reranker("tart-mini-full", backend="torch")
    assert isinstance(reranker, SummedReranker) and (reranker.first_stage, reranker.weight) == (DEFAULT_MODEL, 80)
    export_model("tart-mini-full", tmp_path / "plain")
    plain = CrossEncoder(str(tmp_path / "plain"), device="cpu")
    query, texts = Query("q", "sort a list", WISHES["code"]), ["def sort(items): ...", "Sorting puts items in order."]
    added = plain.predict([(reranker.text_format.query_text(query), text) for text in texts])
    cosines = mini.encode_documents(texts) @ mini.encode_queries([query])[0]
    scores = reranker.score([(query, Document(text, text)) for text in texts])
    np.testing.assert_allclose(scores, added + 80 * cosines, atol=1e-4)
    assert scores[0] > scores[1]


def test_the_package_is_small_and_says_what_it_was_made_of() -> None:
    size = sum(path.stat().st_size for path in (SHIPPED / DEFAULT_MODEL).rglob("*"))
    assert size < 12e6
    card = (SHIPPED / DEFAULT_MODEL / "files" / "README.md").read_text(encoding="utf-8")
    assert 'license: "apache-2.0"' in card and "| source | tasks | license | citation |" in card
