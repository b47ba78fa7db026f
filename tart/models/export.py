"""Writing a model as a plain folder that its own library loads."""

from __future__ import annotations

import logging
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tart.files import new_folder
from tart.models.backend import NEEDS
from tart.models.bi_encoder import BiEncoder
from tart.models.checkpoint import TART_JSON
from tart.models.cross_encoder import CrossEncoderReranker
from tart.models.hub import hub_folder
from tart.models.lean_form import FOLDER, NoLeanForm, form_key, write_form
from tart.models.load import load_torch_encoder, load_torch_reranker, model_family
from tart.models.registry import locate
from tart.text_format import TextFormat

if TYPE_CHECKING:
    from tart.models.enc_t5 import EncT5Reranker

CURVES = "curves.png"  # which the card of a trained model shows

logger = logging.getLogger(__name__)


def export_model(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    text_format: TextFormat | str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a model as a plain folder, safetensors only, with `tart.json`, which holds its text format.

    Its lean form goes into `lean/` in it, if openvino is installed and can take the model; if not, a warning says why.

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
    load = load_torch_encoder if model_family(source) == "bi-encoder" else load_torch_reranker
    model = load(source, text_format=text_format, device="cpu")
    with new_folder(Path(output), overwrite=overwrite, marker=TART_JSON) as folder:
        model.save(folder)
        name, _, origin = locate(source)
        _complete_card(folder, origin or hub_folder(name))
        try:
            _write_lean(model, folder)
        except NoLeanForm as error:
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
            logger.warning("%s: no lean form: %s", os.fspath(source), error)


def _complete_card(folder: Path, origin: Path) -> None:
    """Bring the picture that the card shows, or leave out the line that shows it."""
    card = folder / "README.md"
    if (origin / CURVES).is_file():
        shutil.copyfile(origin / CURVES, folder / CURVES)
    elif card.is_file():
        lines = card.read_text(encoding="utf-8").splitlines(keepends=True)
        card.write_text("".join(line for line in lines if f"({CURVES})" not in line), encoding="utf-8")


def _write_lean(model: BiEncoder | CrossEncoderReranker | EncT5Reranker, folder: Path) -> None:
    if find_spec("openvino") is None:
        raise NoLeanForm(NEEDS)
    if not isinstance(model, BiEncoder | CrossEncoderReranker):
        raise NoLeanForm("EncT5 runs on torch alone")
    (folder / FOLDER).mkdir()
    write_form(folder / FOLDER, form_key(folder, None), model)
