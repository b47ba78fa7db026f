"""Writing a model as a plain folder that its own library loads."""

from __future__ import annotations

import os
from pathlib import Path

from tart.files import new_folder
from tart.models.checkpoint import TART_JSON
from tart.models.load import load_encoder, load_reranker, model_family
from tart.text_format import TextFormat


def export_model(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    text_format: TextFormat | str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a model as a plain folder, safetensors only, with `tart.json`, which holds its text format.

    A bi-encoder becomes a folder for `SentenceTransformer`, a cross-encoder one for `CrossEncoder`; EncT5 keeps the
    form that TART published. TART's old files, pickles among them, are read without executing anything.

    Args:
        source: what `load_encoder` or `load_reranker` takes.
        output: the folder to make; it appears when it is whole.
        text_format: as for the loaders.
        overwrite: take the place of an existing folder.

    Raises:
        TartError: as the loaders do; StorageError if the folder exists or the disk is full.
    """
    load = load_encoder if model_family(source) == "bi-encoder" else load_reranker
    model = load(source, text_format=text_format, device="cpu")
    with new_folder(Path(output), overwrite=overwrite, marker=TART_JSON) as folder:
        model.save(folder)
