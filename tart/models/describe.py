"""On what a model, or the search of an index, would run here, and why; nothing is made or downloaded to tell it."""

from __future__ import annotations

import os
from typing import Any

from tart.errors import TartError
from tart.models.backend import ALIKE, Backend, backend_for, choose_backend, lean_precision
from tart.models.lean_form import INT8, NoLeanForm, find_form, find_int8_form
from tart.models.load import model_family
from tart.models.registry import locate


def describe_backend(name: str | os.PathLike[str], asked: Backend = "auto") -> dict[str, str | None]:
    """On what a model would run here, why, and where its lean form is; JSON-able.

    Args:
        name: a short name, a folder, or a hub id.
        asked: as for `load_encoder`.

    Raises:
        ConfigError: unknown name, or a backend that can't run here.
        NoLeanForm: the model has none, and lean was asked for.
    """
    choice = choose_backend(asked)
    name, spec, folder = locate(name)
    said: dict[str, str | None] = {"backend": choice.backend, "why": choice.reason, "lean_form": None}
    if choice.backend == "torch":
        return said
    if (spec and spec.family == "enc-t5") or (not spec and folder and model_family(folder) == "enc-t5"):
        return {**said, "backend": "torch", "why": "EncT5 has no lean form"}
    try:
        form = find_form(folder, spec.similarity if spec else None) if folder else None
    except NoLeanForm as error:
        if asked != "auto":
            raise
        return {**said, "backend": "torch", "why": f"no lean form: {error}"}
    if choice.backend == "lean-int8":
        form = find_int8_form(form) if form else None
        return {**said, "backend": f"lean {INT8}", "lean_form": str(form.folder) if form else None}
    precision, reason = lean_precision()
    if form is not None:
        said["lean_form"] = str(form.folder)
        if form.precision != precision:
            reason = f"in {precision} it agrees with the original to {form.facts['agreement'][precision]:.5f} only"
            precision = "float32"
    return {**said, "backend": f"lean {precision}", "why": f"{choice.reason}; {reason}"}


def describe_search(manifest: dict[str, Any]) -> dict[str, str | None]:
    """`describe_backend` for the queries of an index; the backend is None where no search by vectors can run.

    Args:
        manifest: of the index.
    """
    made_by = manifest.get("backend", "torch float32")
    try:
        said = describe_backend(manifest["model"]["name"], backend_for(made_by, "auto"))
    except TartError as error:
        return {"backend": None, "why": str(error), "lean_form": None}
    if made_by in ALIKE:
        return said
    if made_by == said["backend"]:
        return {**said, "why": "the vectors of the index were made so, and meet no others"}
    return {"backend": None, "why": f"the vectors of the index were made by {made_by!r}", "lean_form": None}
