"""LeanForm: a folder with a model's graph, tokenizer and facts; made once, checked whenever it is opened.

Its key is a hash of the model's own files, so that a model that has changed never meets an old form. A model that can't
be taken leaves a folder that says why: nobody tries again until the runtime changes.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from filelock import FileLock

from tart.errors import CheckpointError, DataError
from tart.files import new_folder, sha256_once, storage_errors
from tart.manifest import NAME, read_manifest, verify_parts, write_manifest
from tart.models.backend import lean_precision
from tart.models.packaged import cache_folder
from tart.retrieval.protocols import Similarity

if TYPE_CHECKING:
    from tart.models.bi_encoder import BiEncoder
    from tart.models.cross_encoder import CrossEncoderReranker
    from tart.models.lean_runtime import LeanModel, Precision

logger = logging.getLogger(__name__)

KIND = "tart-lean/3"  # counted up when graph or facts are made otherwise: older forms are made anew
FOLDER = "lean"
INT8: Literal["int8"] = "int8"
AGREES = 0.9999
"""The least cosine between what a model and its lean form make of the same text."""
_WEIGHTS_AND_SETTINGS = {".json", ".txt", ".safetensors", ".bin", ".pth", ".model"}


class NoLeanForm(CheckpointError):
    """The model runs on torch alone; the message says why."""


class LeanForm(NamedTuple):
    """A finished folder, and what its manifest says."""

    folder: Path
    facts: dict[str, Any]

    @property
    def precision(self) -> Precision:
        """The fastest that this processor has and that agrees with the original; int8 where that was made."""
        if INT8 in self.facts["agreement"]:
            return "int8"
        wanted, _ = lean_precision()
        return wanted if self.facts["agreement"][wanted] >= AGREES else "float32"

    def load(self) -> LeanModel:
        """The graph, ready to run.

        Raises:
            CheckpointError: if the runtime can't load it.
        """
        from tart.models.lean_runtime import LeanModel

        try:
            return LeanModel(self.folder, self.precision, self.facts["pad_id"], self.facts["truncation_side"])
        except (RuntimeError, ImportError) as error:
            raise CheckpointError(f"{self.folder}: OpenVINO can't load it: {' '.join(str(error).split())}") from error


def form_key(source: Path, similarity: Similarity | None) -> str:
    """A hash of a model folder's files, and of the similarity where the folder doesn't say it."""
    digest = hashlib.sha256(str(similarity).encode())
    modules = [path for path in source.iterdir() if path.is_dir() and re.match(r"\d+_", path.name)]
    for path in sorted(path for folder in (source, *modules) for path in folder.iterdir()):
        if path.is_file() and path.suffix in _WEIGHTS_AND_SETTINGS:
            digest.update(f"{path.relative_to(source).as_posix()} {sha256_once(path)}\n".encode())
    return digest.hexdigest()[:40]


def find_form(source: Path, similarity: Similarity | None) -> LeanForm | None:
    """The lean form of a model folder, from inside it or from the cache; None if there is none that is whole.

    Raises:
        NoLeanForm: if an earlier attempt found that the model has none.
    """
    key = form_key(source, similarity)
    found = (_opened(place, key) for place in (source / FOLDER, cache_folder() / FOLDER / key))
    return next((form for form in found if form is not None), None)


def find_int8_form(form: LeanForm) -> LeanForm | None:
    """The int8 form of a lean form, from the cache; None if there is none that is whole.

    Raises:
        NoLeanForm: if an earlier attempt found that the model has none.
    """
    key = _int8_key(form)
    return _opened(cache_folder() / FOLDER / key, key)


def get_form(
    name: str,
    source: Path,
    similarity: Similarity | None,
    original: Callable[[], BiEncoder | CrossEncoderReranker],
) -> LeanForm:
    """The lean form of a model folder, made now if there is none; a second process waits for the first.

    Args:
        name: what messages call the model.
        source: the model's folder.
        similarity: where the folder doesn't say it.
        original: loads the model on torch, on the CPU.

    Raises:
        NoLeanForm: if the model can't be taken, or its lean form disagrees with it.
        StorageError: if the cache can't be written.
    """
    form = find_form(source, similarity)
    if form is not None:
        return form
    key = form_key(source, similarity)
    return _made_once(key, f"{name}: making its lean form", lambda folder: write_form(folder, key, original()))


def get_int8_form(name: str, form: LeanForm) -> LeanForm:
    """The int8 form of a lean form, made now if there is none; what it costs is told whenever it is taken.

    Args:
        name: what messages call the model.
        form: in float32 and bfloat16.

    Raises:
        NoLeanForm: if the model can't be taken.
        StorageError: if the cache can't be written.
    """
    key = _int8_key(form)

    def write(folder: Path) -> None:
        from tart.models.lean_int8 import quantize

        write_manifest(folder, KIND, {"key": key, "openvino": version("openvino"), **quantize(form, folder)})

    found = find_int8_form(form) or _made_once(key, f"{name}: making its {INT8} form", write)
    (precision, before), (_, after) = found.facts["ndcg"].items()
    logger.warning(
        "%s in %s: nDCG@10 %.4f, in %s %.4f (functions by their docstrings, Python's standard library)",
        *(name, INT8, after, precision, before),
    )
    return found


def _int8_key(form: LeanForm) -> str:
    return f"{form.facts['key']}-{INT8}"


def _made_once(key: str, told: str, write: Callable[[Path], None]) -> LeanForm:
    """A form in the cache; of several processes one makes it, and the others wait."""
    target = cache_folder() / FOLDER / key
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{key}.making.lock")):
            form = _opened(target, key)  # another process may have finished it while we waited
            if form is None:
                logger.warning("%s in %s, once", told, target)
                shutil.rmtree(target, ignore_errors=True)
                with new_folder(target) as folder:
                    _write_form_or_reason(folder, key, write)
                form = _opened(target, key)
    if form is None:
        raise NoLeanForm(f"{target}: was damaged while it was written")
    return form


def write_form(folder: Path, key: str, original: BiEncoder | CrossEncoderReranker) -> None:
    """Write a lean form into an empty folder.

    Raises:
        NoLeanForm: if the model can't be taken, or its lean form disagrees with it.
    """
    from tart.models.lean_export import export_lean

    write_manifest(folder, KIND, {"key": key, "openvino": version("openvino"), **export_lean(original, folder)})


def _write_form_or_reason(folder: Path, key: str, write: Callable[[Path], None]) -> None:
    try:
        write(folder)
    except NoLeanForm as error:
        for path in folder.iterdir():
            path.unlink()
        write_manifest(folder, KIND, {"key": key, "openvino": version("openvino"), "refused": str(error)})


def _opened(folder: Path, key: str) -> LeanForm | None:
    if not (folder / NAME).is_file():
        return None
    try:
        facts = read_manifest(folder, KIND)
        if facts["key"] != key:
            return None
        verify_parts(folder, facts)
    except DataError as error:
        logger.warning("%s; the lean form is made anew", str(error).replace("; build the folder again", ""))
        return None
    if "refused" in facts:
        if facts["openvino"] == version("openvino"):
            raise NoLeanForm(facts["refused"])
        return None
    return LeanForm(folder, facts) if lean_precision()[0] in facts["agreement"] else None
