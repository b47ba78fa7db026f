"""Names to models: one table."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tart.errors import ConfigError
from tart.models import DEFAULT_MODEL, packaged
from tart.models.checkpoint import Family, read_tart_json
from tart.retrieval.protocols import Similarity
from tart.text_format import PRESETS


class ModelSpec(NamedTuple):
    """One row of the table.

    Args:
        pattern: a short name, or a hub id that may hold `*`.
        family: what kind of model it is.
        text_format: name of a preset.
        similarity: set where the folder doesn't say it or says it wrong; None: as the folder says.
        note: one line for people.
        package: finds the folder of a model that comes as a PyPI package; None: it comes from the hub.
    """

    pattern: str
    family: Family
    text_format: str
    similarity: Similarity | None
    note: str
    package: Callable[[], Path] | None = None


def _shipped(name: str) -> Path:
    from tart.models.shipped import shipped_model

    return shipped_model(name)


MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(
        DEFAULT_MODEL,
        "bi-encoder",
        "tart-dual",
        "cosine",
        "reads instructions, comes with the project",
        partial(_shipped, DEFAULT_MODEL),
    ),
    ModelSpec(
        "tart-mini-full",
        "cross-encoder",
        "tart-dual",
        None,
        "reranker, adds to tart-mini-dual's score, comes with the project",
        partial(_shipped, "tart-mini-full"),
    ),
    ModelSpec("minilm", "bi-encoder", "plain", "cosine", "all-MiniLM-L6-v2, comes with the project", packaged.minilm),
    ModelSpec("mpnet", "bi-encoder", "plain", "cosine", "all-mpnet-base-v2, needs `make mpnet`", packaged.mpnet),
    ModelSpec("orionweller/tart-dual-contriever-msmarco", "bi-encoder", "tart-dual", "dot", "TART-dual, 110M"),
    ModelSpec("facebook/tart-full-flan-t5-xl", "enc-t5", "tart-full", None, "TART-full, FLAN-T5 encoder"),
    ModelSpec("facebook/tart-full-t0-3b", "enc-t5", "tart-full", None, "TART-full; its weights are not on the hub"),
    ModelSpec("facebook/contriever*", "bi-encoder", "plain", "dot", "Contriever, dot product of unnormalised means"),
    ModelSpec("intfloat/*instruct", "bi-encoder", "e5-instruct", "cosine", "E5 with instructions"),
    ModelSpec("intfloat/*e5-*", "bi-encoder", "e5", "cosine", "E5: fixed `query:` and `passage:`"),
    ModelSpec("BAAI/bge-*-en*", "bi-encoder", "bge", "cosine", "BGE: one fixed instruction"),
    ModelSpec("hkunlp/instructor-*", "bi-encoder", "instructor", "cosine", "INSTRUCTOR"),
    ModelSpec("samaya-ai/promptriever-*", "bi-encoder", "promptriever", "cosine", "Promptriever, 7B and up"),
    ModelSpec("cross-encoder/ms-marco-*", "cross-encoder", "plain", None, "MS MARCO cross-encoders"),
)
"""The first row whose pattern fits is taken; hub ids that fit none load with the format that their folder states."""


def find_spec(name: str) -> ModelSpec | None:
    """The row of the table that fits a name, if any."""
    return next((spec for spec in MODELS if fnmatch.fnmatchcase(name, spec.pattern)), None)


def locate(name: str | os.PathLike[str]) -> tuple[str, ModelSpec | None, Path | None]:
    """A model by name: the name, its row in the table, and its folder (None: it has to come from the hub).

    Raises:
        ConfigError: unknown name (near ones are suggested).
    """
    name = os.fspath(name)
    spec = find_spec(name)
    if spec and spec.package:
        return name, spec, spec.package()
    if Path(name).is_dir():
        return str(Path(name).absolute()), None, Path(name).absolute()
    if spec or re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return name, spec, None
    if os.sep in name:
        raise ConfigError(f"no model folder {name!r}")
    known = [row.pattern for row in MODELS if "*" not in row.pattern]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
    raise ConfigError(
        f"unknown model {name!r}; did you mean {', '.join(near)}? A folder or a hub id (owner/name) works"
    )


def describe(name: str | os.PathLike[str]) -> dict[str, Any]:
    """What is known of a model without loading it, JSON-able: the row of the table, its folder, its text format.

    Raises:
        ConfigError: unknown name.
    """
    name, spec, folder = locate(name)
    stored = None if folder is None else read_tart_json(folder)
    text_format = stored.text_format if stored else PRESETS[spec.text_format] if spec else None
    return {
        "name": name,
        "folder": None if folder is None else str(folder),
        "family": stored.family if stored else spec.family if spec else None,
        "note": spec.note if spec else "",
        "text_format": None if text_format is None else text_format.to_dict(),
    }
