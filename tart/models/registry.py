"""Names to models: one table, and the two functions that load what it names."""

from __future__ import annotations

import difflib
import fnmatch
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tart.errors import CheckpointError, ConfigError, TartError
from tart.files import parse_json_object
from tart.models import packaged
from tart.models.checkpoint import read_tart_json
from tart.models.hub import hub_folder
from tart.retrieval.protocols import Reranker, Similarity
from tart.text_format import PRESETS, TextFormat, named_format

if TYPE_CHECKING:
    from tart.models.bi_encoder import BiEncoder

Family = Literal["bi-encoder", "cross-encoder", "enc-t5"]


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


MODELS: tuple[ModelSpec, ...] = (
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


def load_encoder(
    name: str | os.PathLike[str], *, text_format: TextFormat | str | None = None, device: str | None = None
) -> BiEncoder:
    """Load a bi-encoder.

    Args:
        name: a short name ("minilm", "mpnet"), a folder, or a hub id.
        text_format: a format or the name of a preset; None takes the folder's own (`tart.json`), else the table's, else
            the model's stored prompts, else "plain".
        device: as torch names it; None picks a GPU if there is one.

    Raises:
        ConfigError: unknown name (near ones are suggested), or a model of another kind.
        CheckpointError: the folder can't be loaded, or it has a format of its own and another one was asked for.
        DownloadError: a hub id, and the hub can't be reached.

    >>> tart.load_encoder("minilm").dim
    384
    """
    from tart.models.bi_encoder import BiEncoder

    name, spec, folder = _locate(name)
    if spec and spec.family != "bi-encoder":
        raise ConfigError(f"{name!r} is of family {spec.family}; load it with load_reranker, or choose a bi-encoder")
    folder = folder or hub_folder(name)
    stored = read_tart_json(folder)
    if stored and stored.family != "bi-encoder":
        raise ConfigError(f"{name!r} is of family {stored.family}; load it with load_reranker, or choose a bi-encoder")
    from sentence_transformers import SentenceTransformer

    with _load_errors(folder):
        similarity = spec.similarity if spec else None
        model = SentenceTransformer(str(folder), device=device, similarity_fn_name=similarity)
    chosen = _choose_format(name, text_format, stored.text_format if stored else None, spec, model.prompts)
    return BiEncoder(model, chosen, name)


def load_reranker(
    name: str | os.PathLike[str], *, text_format: TextFormat | str | None = None, device: str | None = None
) -> Reranker:
    """Load a cross-encoder: one of sentence-transformers, or TART-full's EncT5.

    Args:
        name: a folder or a hub id.
        text_format: as for `load_encoder`.
        device: as torch names it; None picks a GPU if there is one.

    Raises:
        ConfigError: unknown name (near ones are suggested), or a model of another kind.
        CheckpointError: the folder can't be loaded, or it has a format of its own and another one was asked for.
        DownloadError: a hub id, and the hub can't be reached.
    """
    name, spec, folder = _locate(name)
    stored = None if folder is None else read_tart_json(folder)
    if "bi-encoder" in (spec and spec.family, stored and stored.family):
        raise ConfigError(f"{name!r} is of family bi-encoder; load it with load_encoder, or choose a cross-encoder")
    folder = folder or hub_folder(name)
    stored = read_tart_json(folder)
    family = stored.family if stored else spec.family if spec else _guess_reranker_family(folder)
    chosen = _choose_format(name, text_format, stored.text_format if stored else None, spec, {}, family)
    with _load_errors(folder):
        if family == "enc-t5":
            from tart.models.enc_t5 import EncT5Reranker

            return EncT5Reranker.load(folder, chosen, name, device=device)
        from tart.models.cross_encoder import CrossEncoderReranker

        return CrossEncoderReranker.load(str(folder), chosen, name, device=device)


def describe(name: str | os.PathLike[str]) -> dict[str, Any]:
    """What is known of a model without loading it, JSON-able: the row of the table, its folder, its text format.

    Raises:
        ConfigError: unknown name.
    """
    name, spec, folder = _locate(name)
    stored = None if folder is None else read_tart_json(folder)
    text_format = stored.text_format if stored else PRESETS[spec.text_format] if spec else None
    return {
        "name": name,
        "folder": None if folder is None else str(folder),
        "family": stored.family if stored else spec.family if spec else None,
        "note": spec.note if spec else "",
        "text_format": None if text_format is None else text_format.to_dict(),
    }


def _locate(name: str | os.PathLike[str]) -> tuple[str, ModelSpec | None, Path | None]:
    """A name, its row in the table, and its folder (None: it has to come from the hub)."""
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


def _choose_format(
    name: str,
    asked: TextFormat | str | None,
    stored: TextFormat | None,
    spec: ModelSpec | None,
    prompts: dict[str, Any],
    family: str = "bi-encoder",
) -> TextFormat:
    if isinstance(asked, str):
        asked = named_format(asked)
    if stored is not None:
        if asked is not None and asked != stored:
            raise CheckpointError(
                f"{name}: was trained with the text format {stored.name!r}, asked for was {asked.name!r}; "
                "leave text_format out to take the model's own"
            )
        return stored
    if asked is not None:
        return asked
    if spec is not None:
        return PRESETS[spec.text_format]
    if family == "enc-t5":
        return PRESETS["tart-full"]
    query, document = prompts.get("query") or "", prompts.get("document") or prompts.get("passage") or ""
    if not query and not document:
        return PRESETS["plain"]
    return TextFormat(
        "stored-prompts",
        instructed_query=_literal(query) + "{instruction} {query}",
        plain_query=_literal(query) + "{query}",
        document=_literal(document) + "{text}",
        knows_instructions=False,
        source="prompts in config_sentence_transformers.json",
    )


def _literal(prompt: str) -> str:
    if re.search(r"\{(instruction|query|text)\}", prompt):
        raise CheckpointError(f"the stored prompt {prompt!r} has a placeholder of its own; give text_format=")
    return prompt


def _guess_reranker_family(folder: Path) -> Family:
    """EncT5 folders name their class; everything else is for sentence-transformers to load."""
    config = folder / "config.json"
    if config.is_file():
        facts = parse_json_object(config.read_text(encoding="utf-8"), config)
        if facts.get("model_type") == "t5" and "EncT5ForSequenceClassification" in (facts.get("architectures") or []):
            return "enc-t5"
    return "cross-encoder"


@contextmanager
def _load_errors(folder: Path) -> Iterator[None]:
    """Turn what the loading libraries raise into one line, and keep their announcements and bars off the screen."""
    from transformers.utils import logging as transformers_logging

    announces = logging.getLogger("sentence_transformers.base.model")  # each missing modules.json
    level, bars = announces.level, transformers_logging.is_progress_bar_enabled()
    announces.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except TartError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"{folder}: can't be loaded as a model: {reason}") from error
    finally:
        announces.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
