"""Loading models by name, folder or hub id."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tart.errors import CheckpointError, ConfigError, StorageError, TartError
from tart.files import parse_json_object
from tart.models.backend import Backend, choose_backend, lean_precision
from tart.models.checkpoint import Family, FirstStage, read_tart_json
from tart.models.hub import hub_folder
from tart.models.lean_form import LeanForm, NoLeanForm, get_form, get_int8_form
from tart.models.notice import warn_once
from tart.models.registry import locate
from tart.models.summed import SummedReranker
from tart.models.tart_dual import OLD_CHECKPOINT, load_old_tart_dual
from tart.retrieval.protocols import Similarity
from tart.text_format import PRESETS, TextFormat, named_format

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from tart.models.bi_encoder import BiEncoder
    from tart.models.cross_encoder import CrossEncoderReranker
    from tart.models.enc_t5 import EncT5Reranker
    from tart.models.lean import LeanEncoder, LeanReranker

M = TypeVar("M")


class OtherFormat(CheckpointError):
    """A model's folder states its text format, and another one was asked for."""


def load_encoder(
    name: str | os.PathLike[str],
    *,
    text_format: TextFormat | str | None = None,
    device: str | None = None,
    backend: Backend = "auto",
) -> BiEncoder | LeanEncoder:
    """Load a bi-encoder.

    Args:
        name: a short name ("minilm", "mpnet"), a folder, or a hub id.
        text_format: a format or the name of a preset; None takes the folder's own (`tart.json`), else the table's, else
            the model's stored prompts, else "plain".
        device: as torch names it; None picks a GPU if there is one.
        backend: "torch"; "lean", which needs no torch once the model's lean form is made; "lean-int8", which is faster
            still and loses precision (how much is told); or "auto", which takes lean where there is no GPU, and torch
            for a model that lean can't take.

    Raises:
        ConfigError: unknown name (near ones are suggested), or a model of another kind.
        CheckpointError: the folder can't be loaded, or it has a format of its own and another one was asked for.
        DownloadError: a hub id, and the hub can't be reached.

    >>> load_encoder("minilm", backend="torch").dim
    384
    """
    found = _find(name, ("bi-encoder",), "load_encoder", text_format)

    def lean(form: LeanForm) -> LeanEncoder:
        from tart.models.lean import LeanEncoder

        return LeanEncoder(form, found.text_format or _format_of_prompts(form.facts["prompts"]), found.name)

    return _on_lean(found, backend, device, lean) or _torch_encoder(found, device)


def load_reranker(
    name: str | os.PathLike[str],
    *,
    text_format: TextFormat | str | None = None,
    device: str | None = None,
    backend: Backend = "auto",
) -> CrossEncoderReranker | EncT5Reranker | LeanReranker | SummedReranker:
    """Load a cross-encoder: one of sentence-transformers, or TART-full's EncT5, which runs on torch alone.

    One that was trained to add to a bi-encoder's score comes with it, as a `SummedReranker`.

    Args:
        name: a folder or a hub id.
        text_format: as for `load_encoder`.
        device: as torch names it; None picks a GPU if there is one.
        backend: as for `load_encoder`.

    Raises:
        ConfigError: unknown name (near ones are suggested), or a model of another kind.
        CheckpointError: the folder can't be loaded, or it has a format of its own and another one was asked for.
        DownloadError: a hub id, and the hub can't be reached.
    """
    found = _find(name, ("cross-encoder", "enc-t5"), "load_reranker", text_format)

    def lean(form: LeanForm) -> LeanReranker:
        from tart.models.lean import LeanReranker

        return LeanReranker(form, found.text_format or PRESETS["plain"], found.name)

    reranker = _on_lean(found, backend, device, lean) or _torch_reranker(found, device)
    if found.first_stage is None:
        return reranker
    first, weight = found.first_stage
    return SummedReranker(reranker, first, weight, lambda: load_encoder(first, device=device, backend=backend))


def load_torch_encoder(
    name: str | os.PathLike[str], *, text_format: TextFormat | str | None = None, device: str | None = None
) -> BiEncoder:
    """`load_encoder` with the backend "torch": for what needs the model itself, such as training and export."""
    return _torch_encoder(_find(name, ("bi-encoder",), "load_encoder", text_format), device)


def load_torch_reranker(
    name: str | os.PathLike[str], *, text_format: TextFormat | str | None = None, device: str | None = None
) -> CrossEncoderReranker | EncT5Reranker:
    """`load_reranker` with the backend "torch", and without the bi-encoder to whose score it adds."""
    return _torch_reranker(_find(name, ("cross-encoder", "enc-t5"), "load_reranker", text_format), device)


def _on_lean(found: _Found, backend: Backend, device: str | None, load_form: Callable[[LeanForm], M]) -> M | None:
    """The model in its lean form, if that is what it should run on; where nobody asked for it, and it fails, None."""
    chosen = choose_backend(backend, device).backend
    if chosen == "torch":
        return None
    try:
        if found.family == "enc-t5":
            raise NoLeanForm("EncT5 has no lean form")
        load = _torch_encoder if found.family == "bi-encoder" else _torch_cross_encoder
        form = get_form(found.name, found.folder, found.similarity, lambda: load(found, "cpu"))
        loaded = load_form(get_int8_form(found.name, form) if chosen == "lean-int8" else form)
    except (CheckpointError, ImportError, StorageError) as error:
        if backend != "auto":
            raise
        warn_once(f"{found.name}: runs on torch: {error}")
        return None
    precision, reason = lean_precision()
    if chosen == "lean" and precision == "float32":
        warn_once(f"lean forms compute in float32: {reason}")
    return loaded


def _torch_encoder(found: _Found, device: str | None) -> BiEncoder:
    from tart.models.bi_encoder import BiEncoder

    with load_errors(found.folder):
        model = _sentence_transformer(found, device)
    return BiEncoder(model, found.text_format or _format_of_prompts(model.prompts), found.name)


def _torch_reranker(found: _Found, device: str | None) -> CrossEncoderReranker | EncT5Reranker:
    if found.family == "cross-encoder":
        return _torch_cross_encoder(found, device)
    from tart.models.enc_t5 import EncT5Reranker

    with load_errors(found.folder):
        chosen = found.text_format or PRESETS["tart-full"]
        return EncT5Reranker.load(found.folder, chosen, found.name, device=device)


def _torch_cross_encoder(found: _Found, device: str | None) -> CrossEncoderReranker:
    from tart.models.cross_encoder import CrossEncoderReranker

    with load_errors(found.folder):
        chosen = found.text_format or PRESETS["plain"]
        return CrossEncoderReranker.load(found.folder, chosen, found.name, first_stage=found.first_stage, device=device)


def model_family(name: str | os.PathLike[str]) -> Family:
    """What kind of model a name is, from its row in the table, else from its folder.

    Raises:
        ConfigError: unknown name.
        DownloadError: a hub id that isn't in the table, and the hub can't be reached.
    """
    name, spec, folder = locate(name)
    if spec:
        return spec.family
    folder = folder or hub_folder(name)
    stored = read_tart_json(folder)
    return stored.family if stored else _guess_family(folder)


class _Found(NamedTuple):
    """A model before it is loaded; `text_format` is None where only the loaded model can tell."""

    name: str
    family: Family
    folder: Path
    text_format: TextFormat | None
    similarity: Similarity | None
    first_stage: FirstStage | None


def _find(
    name: str | os.PathLike[str], wanted: tuple[Family, ...], loader: str, asked: TextFormat | str | None
) -> _Found:
    family = model_family(name)  # before anything large is downloaded
    if family not in wanted:
        other = "load_reranker" if loader == "load_encoder" else "load_encoder"
        raise ConfigError(f"{os.fspath(name)!r} is of family {family}; load it with {other}, not with {loader}")
    if isinstance(asked, str):
        asked = named_format(asked)
    name, spec, folder = locate(name)
    folder = folder or hub_folder(name)
    stored = read_tart_json(folder)
    if stored and asked is not None and asked != stored.text_format:
        raise OtherFormat(
            f"{name}: was trained with the text format {stored.text_format.name!r}, asked for was {asked.name!r}, "
            f"which differs in {stored.text_format.differences(asked)}; leave text_format out to take the model's own"
        )
    text_format = stored.text_format if stored else asked or (PRESETS[spec.text_format] if spec else None)
    if text_format is None and (folder / OLD_CHECKPOINT).is_file():
        text_format = PRESETS["tart-dual"]
    similarity = spec.similarity if spec else None
    if not spec and text_format == PRESETS["tart-dual"] and not (folder / "modules.json").is_file():
        similarity = "dot"  # the published folder is a bare BERT, which can't say so itself
    return _Found(name, family, folder, text_format, similarity, stored.first_stage if stored else None)


def _sentence_transformer(found: _Found, device: str | None) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    if (found.folder / OLD_CHECKPOINT).is_file():
        return load_old_tart_dual(found.folder, device)
    return SentenceTransformer(str(found.folder), device=device, similarity_fn_name=found.similarity)


def _format_of_prompts(prompts: Mapping[str, Any]) -> TextFormat:
    """The format that a model's stored prompts stand for."""
    query, document = prompts.get("query") or "", prompts.get("document") or prompts.get("passage") or ""
    if not query and not document:
        return PRESETS["plain"]
    for prompt in (query, document):
        if re.search(r"\{\w+\}", prompt):
            raise CheckpointError(f"the stored prompt {prompt!r} has a placeholder of its own; give text_format=")
    return TextFormat(
        "stored-prompts",
        instructed_query=query + "{instruction} {query}",
        plain_query=query + "{query}",
        document=document + "{text}",
        knows_instructions=False,
        source="prompts in config_sentence_transformers.json",
    )


def _guess_family(folder: Path) -> Family:
    """What sentence-transformers' own file says, if it says anything, else the class in config.json."""
    own, config = folder / "config_sentence_transformers.json", folder / "config.json"
    if own.is_file() and "model_type" in (facts := parse_json_object(own.read_text(encoding="utf-8"), own)):
        return "cross-encoder" if facts["model_type"] == "CrossEncoder" else "bi-encoder"
    if (folder / "modules.json").is_file() or not config.is_file():
        return "bi-encoder"
    facts = parse_json_object(config.read_text(encoding="utf-8"), config)
    classes = facts.get("architectures") or [""]
    if facts.get("model_type") == "t5" and classes[0] == "EncT5ForSequenceClassification":
        return "enc-t5"
    return "cross-encoder" if classes[0].endswith("ForSequenceClassification") else "bi-encoder"


@contextmanager
def load_errors(folder: Path) -> Iterator[None]:
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
