"""BiEncoder: a sentence-transformers model that reads queries with their instructions (TART-dual's form)."""

from __future__ import annotations

import hashlib
import json
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tart.errors import CheckpointError
from tart.models.batches import NO_LIMIT, Budget, run_in_batches
from tart.models.checkpoint import TART_JSON, backend_tokenizer, state_hash, uncut_tokenizer, write_tart_json
from tart.models.text_encoder import TextEncoder
from tart.retrieval.protocols import FloatArray
from tart.text_format import TextFormat

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

BATCH_TOKENS = {"cpu": 4096, "cuda": 1 << 16}  # what fits a core's cache; what fills a large card
_BYTES_PER_TOKEN = 3  # fewer than most tokenizers need, so that a batch is rather too small


class BiEncoder(TextEncoder):
    """Encodes queries and documents separately with one model, on torch.

    Vectors are those of plain sentence-transformers for the joined texts: `text_format` decides what is joined, and
    `similarity` whether an index normalises them. Texts of like length go together, and the next batch is tokenised
    and sent to the device while one is computed. Any number of threads may use one.

    Args:
        model: a loaded `SentenceTransformer`; its similarity must be cosine or dot product.
        text_format: how instruction and query, title and text are joined.
        name: what indexes and reports call it; a folder or hub id that loads it again.
        batch_tokens: tokens per forward pass, roughly; None: as many as suit the device.
        precision: of the products, whatever the weights are; None: bfloat16 on a GPU that has it, else float32.

    Raises:
        CheckpointError: if the model's similarity is neither cosine nor dot product.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        text_format: TextFormat,
        name: str,
        *,
        batch_tokens: int | None = None,
        precision: Literal["float32", "bfloat16"] | None = None,
    ) -> None:
        if model.similarity_fn_name not in ("cosine", "dot"):
            raise CheckpointError(f"{name}: similarity {model.similarity_fn_name!r}; wanted 'cosine' or 'dot'")
        precision = precision or _precision_of(model.device)
        super().__init__(text_format, name, model.similarity_fn_name, f"torch {precision}")
        self.model = model
        self._tokenising = threading.Lock()  # where to cut is a setting of the model's tokenizer
        self._budget = Budget(batch_tokens or BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cpu"]))

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.model.get_embedding_dimension() or 0)

    @cached_property
    def model_hash(self) -> str:
        """sha256 over weights, tokenizer and module settings, computed once."""
        digest = hashlib.sha256(state_hash(self.model).encode())
        digest.update(json.dumps(self.tokenizer_facts(), sort_keys=True).encode())
        digest.update(str(self.model.max_seq_length).encode())
        for module in self.model:
            settings: dict[str, Any] = getattr(module, "get_config_dict", dict)()
            digest.update(json.dumps([type(module).__name__, settings], sort_keys=True, default=str).encode())
        return digest.hexdigest()

    @property
    def max_tokens(self) -> int:
        """Where the model stops reading, special tokens included."""
        return self.model.max_seq_length or NO_LIMIT

    def tokenizer_facts(self) -> dict[str, Any]:
        """The tokenizer as the `tokenizers` package writes it, without the state of the last call."""
        facts: dict[str, Any] = json.loads(backend_tokenizer(self.model.tokenizer).to_str())
        facts.pop("truncation"), facts.pop("padding")
        return facts

    def save(self, folder: str | Path) -> None:
        """Write a plain sentence-transformers folder (safetensors) with `tart.json`, which holds the text format.

        The folder must be empty or new; use `tart.files.new_folder` to make it appear whole.
        """
        self.model.save_pretrained(str(folder), safe_serialization=True)
        write_tart_json(Path(folder) / TART_JSON, "bi-encoder", self.text_format)

    @cached_property
    def _pools_prompt(self) -> bool:
        return all(getattr(module, "include_prompt", True) for module in self.model)

    def _vectors(self, texts: list[str], limit: int, prompt: str) -> FloatArray:
        import torch

        model = self.model.eval()
        device = model.device
        settings: dict[str, Any] = {} if limit >= NO_LIMIT else {"text": {"max_length": limit}}
        lengths = [min(len((prompt + text).encode()) // _BYTES_PER_TOKEN + 2, limit) for text in texts]

        def prepare(rows: list[int]) -> dict[str, Any]:
            # Never a default prompt of the model: the text format is the only joiner.
            batch = [texts[row] for row in rows]
            with self._tokenising:
                features = model.preprocess(batch, prompt=prompt or None, processing_kwargs=settings)
            return {key: _sent(value, device) for key, value in features.items()}

        def run(features: dict[str, Any]) -> torch.Tensor:
            vectors: torch.Tensor = model(features)["sentence_embedding"]
            return vectors[:, : self.dim]

        found = np.empty((len(texts), self.dim), dtype=np.float32)
        half = self.backend == "torch bfloat16"
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            batches = list(run_in_batches(lengths, self._budget, prepare, run))  # fetched when all of them are queued
        for rows, vectors in batches:
            found[rows] = vectors.float().cpu().numpy()
        return found

    def _tokenize(self, texts: list[str]) -> list[list[tuple[int, int]]]:
        return [one.offsets for one in self._uncut_tokenizer.encode_batch(texts)]

    @cached_property
    def _uncut_tokenizer(self) -> Tokenizer:
        return uncut_tokenizer(self.model.tokenizer)


def _precision_of(device: torch.device) -> Literal["float32", "bfloat16"]:
    import torch

    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _sent(value: Any, device: torch.device) -> Any:
    """A tensor on its way to the device, without waiting for it."""
    import torch

    if not isinstance(value, torch.Tensor) or device.type == "cpu":
        return value
    pinned = value.pin_memory() if device.type == "cuda" else value
    return pinned.to(device, non_blocking=True)
