"""The models that the project ships: small, whole, plain, and they do what the instruction says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tart import BiEncoder, Document, Instruction, Query
from tart.demo.stdlib_corpus import kind_of, stdlib_documents
from tart.models.export import export_model
from tart.models.load import load_torch_encoder
from tart.models.registry import DEFAULT_MODEL
from tart.models.shipped import SHIPPED

WISHES = {
    "code": Instruction("Find Python source code that does this"),
    "documentation": Instruction("Find a paragraph of documentation that explains this"),
}


@pytest.fixture(scope="module")
def mini() -> BiEncoder:
    return load_torch_encoder(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def functions() -> list[tuple[Document, Document]]:
    """Functions of which the standard library has both the source and a paragraph that describes it."""
    found = {document.doc_id: document for document in stdlib_documents()}
    names = [name for doc_id in found if (name := doc_id.removeprefix("code:")) != doc_id]
    both = [name for name in names if f"docs:{name}#1" in found and re.match(r"(glob|shutil|json|random)\.", name)]
    return [(found[f"code:{name}"], found[f"docs:{name}#1"]) for name in both][:30]


def share_of_wanted(encoder: BiEncoder, functions: list[tuple[Document, Document]], kind: str) -> float:
    """How often the best of all documents is of the kind that is wanted."""
    documents = [document for both in functions for document in both]
    queries = [Query(docs.doc_id, docs.text.split(".")[0], WISHES[kind]) for _, docs in functions]
    scores = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
    return float(np.mean([kind_of(documents[row].doc_id) == kind for row in scores.argmax(axis=1)]))


def test_it_finds_the_kind_that_the_instruction_wants(
    mini: BiEncoder, minilm: BiEncoder, functions: list[tuple[Document, Document]]
) -> None:
    """The query is the beginning of the paragraph, so that code is found only by who listens."""
    assert len(functions) >= 20
    assert share_of_wanted(mini, functions, "documentation") > 0.8
    assert share_of_wanted(mini, functions, "code") > share_of_wanted(minilm, functions, "code") + 0.2


def test_an_exported_folder_gives_the_same_vectors_in_plain_sentence_transformers(
    mini: BiEncoder, tmp_path: Path
) -> None:
    export_model(DEFAULT_MODEL, tmp_path / "plain")
    plain = SentenceTransformer(str(tmp_path / "plain"), device="cpu")
    query = Query("q", "sort a list", WISHES["code"])
    assert np.allclose(plain.encode_query(mini.text_format.query_text(query)), mini.encode_queries([query])[0], atol=1e-6)
    assert np.allclose(plain.encode_document(["a text"]), mini.encode_documents(["a text"]), atol=1e-6)
    assert mini.dim == 448 and mini.text_format.knows_instructions and mini.similarity == "cosine"


def test_the_package_is_small_and_says_what_it_was_made_of() -> None:
    size = sum(path.stat().st_size for path in (SHIPPED / DEFAULT_MODEL).rglob("*"))
    assert size < 12e6
    card = (SHIPPED / DEFAULT_MODEL / "files" / "README.md").read_text(encoding="utf-8")
    assert 'license: "apache-2.0"' in card and "| source | tasks | license | citation |" in card
