"""TART-dual as its authors saved it: `checkpoint.pth` beside a BERT's config and tokenizer."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tart.errors import CheckpointError
from tart.models.checkpoint import unpickle_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OLD_CHECKPOINT = "checkpoint.pth"
_PASSAGE_COPY = re.compile(r"^(module\.)?(p_encoder|encoder_k)\.")
_PREFIXES = re.compile(r"^(module\.)?(q_encoder\.|encoder_q\.|encoder\.(?!layer\.))?")
_UNUSED = re.compile(r"^pooler\.|position_ids$")


def load_old_tart_dual(folder: Path, device: str | None = None) -> SentenceTransformer:
    """Load a folder with `checkpoint.pth`: mean pooling, dot product. Nothing in it is executed.

    TART-dual shares one encoder between queries and passages; where the file holds both copies, the query's is taken.

    Args:
        folder: holds `checkpoint.pth` (a dict whose "model" is the state of a BERT), config.json, and a tokenizer.
        device: as torch names it; None picks a GPU if there is one.

    Raises:
        CheckpointError: if the weights aren't those of the BERT in config.json, or the file would run code.
    """
    from tempfile import TemporaryDirectory

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    content = unpickle_weights(folder / OLD_CHECKPOINT, argparse.Namespace)
    state: dict[str, Any] = content.get("model", {})
    kept = {_PREFIXES.sub("", key): value for key, value in state.items() if not _PASSAGE_COPY.match(key)}
    kept = {key: value for key, value in kept.items() if not _UNUSED.search(key)}
    body = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    try:
        body.load_state_dict(kept)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder / OLD_CHECKPOINT}: not the BERT of config.json: {reason}") from None
    with TemporaryDirectory() as plain:
        body.save_pretrained(plain)
        AutoTokenizer.from_pretrained(folder).save_pretrained(plain)
        transformer = Transformer(plain)
    pooling = Pooling(body.config.hidden_size, "mean")
    return SentenceTransformer(modules=[transformer, pooling], similarity_fn_name="dot", device=device)
