"""EncT5: TART-full's own form, the encoder of a T5 with a linear head of two classes on its first position."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase, T5Config, T5EncoderModel, T5Tokenizer

from tart.collection import Document, Query
from tart.errors import CheckpointError, ConfigError
from tart.models.batches import Budget, run_in_batches
from tart.models.checkpoint import TART_JSON, read_weights, state_hash, write_tart_json
from tart.models.cross_encoder import token_ends_of
from tart.models.notice import InstructionNotice
from tart.models.pair_reranker import check_scores, fitting_query
from tart.retrieval.protocols import FloatArray
from tart.text_format import TextFormat

ARCHITECTURE = "EncT5ForSequenceClassification"
START = "<s>"
MAX_TOKENS = 512
_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")  # one matrix; files hold it under either name, or both


class EncT5(torch.nn.Module):
    """The encoder of a T5 and `classifier`, a linear layer on the hidden state of position 0.

    Source: arXiv 2211.09260 (TART-full); arXiv 2110.08426 (EncT5).
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.body = T5EncoderModel(config)
        self.dropout = torch.nn.Dropout(config.dropout_rate)
        self.classifier = torch.nn.Linear(config.d_model, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, 2), not relevant and relevant; inputs of shape (batch, tokens)."""
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        logits: torch.Tensor = self.classifier(self.dropout(hidden[:, 0]))
        return logits

    def load_published(self, state: dict[str, torch.Tensor], source: Path) -> None:
        """Take the weights of a published file: the keys of the body without a prefix, and `classifier.*`.

        Raises:
            CheckpointError: naming keys that are missing or have no place, or shapes that don't fit.
        """
        found = [state[key] for key in _EMBEDDINGS if key in state]
        if len(found) == 2 and not torch.equal(found[0], found[1]):
            raise CheckpointError(f"{source}: no EncT5: {' and '.join(_EMBEDDINGS)} differ, they have to be one matrix")
        renamed = {key if key.startswith("classifier.") else f"body.{key}": value for key, value in state.items()}
        if found:  # tied here: the library's own tying depends on a flag that these files have wrong
            renamed |= {f"body.{key}": found[0] for key in _EMBEDDINGS}
        try:
            outcome = self.load_state_dict(renamed, strict=False)
        except RuntimeError as error:
            raise CheckpointError(f"{source}: {' '.join(str(error).split())}") from None
        for what, keys in (
            ("lacks", outcome.missing_keys),
            ("has no place for", outcome.unexpected_keys),
        ):
            if keys:
                listed = ", ".join(key.removeprefix("body.") for key in sorted(keys)[:3])
                raise CheckpointError(f"{source}: no EncT5: it {what} {listed} ({len(keys)} keys)")

    def published(self) -> dict[str, torch.Tensor]:
        """The weights under the published names, the embeddings once."""
        state = {
            key.removeprefix("body."): value.detach().cpu().contiguous() for key, value in self.state_dict().items()
        }
        del state[_EMBEDDINGS[1]]
        return state


class EncT5Reranker:
    """TART-full: scores a pair by the softmax probability of "relevant".

    The input is `<s> query </s> document </s>`, at most 512 tokens. A pair that is too long loses the end of its
    document, down to half of the limit, and then words of its query; the instruction stays.

    Args:
        model: with its weights.
        tokenizer: a T5 tokenizer; `<s>` is added if it lacks it.
        text_format: how instruction and query are joined; "</s>" in it becomes the one token that T5 has for it.
        name: what reports call it.
        device: as torch names it; None picks a GPU if there is one.
        batch_tokens: tokens per forward pass, padding included; fewer once memory has run out.

    Raises:
        CheckpointError: if the model has no embedding for `<s>`.
    """

    def __init__(
        self,
        model: EncT5,
        tokenizer: PreTrainedTokenizerBase,
        text_format: TextFormat,
        name: str,
        *,
        device: str | None = None,
        batch_tokens: int = 32 * MAX_TOKENS,
    ) -> None:
        tokenizer.add_special_tokens({"bos_token": START})
        self.tokenizer, self.text_format, self.name = tokenizer, text_format, name
        self._start, self._end = tokenizer.convert_tokens_to_ids(START), tokenizer.eos_token_id
        rows = model.body.config.vocab_size
        if not isinstance(self._start, int) or self._start >= rows:
            raise CheckpointError(f"{name}: the id of {START} is {self._start}, the embeddings have {rows} rows")
        self.max_tokens = MAX_TOKENS
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self._notice, self._budget = InstructionNotice(name, text_format), Budget(batch_tokens)
        self._token_ends = token_ends_of(tokenizer)

    @classmethod
    def load(cls, folder: Path, text_format: TextFormat, name: str, *, device: str | None = None) -> EncT5Reranker:
        """Load a folder as TART published it, with safetensors or pickled weights; nothing in it is executed.

        Raises:
            CheckpointError: if weights or tokenizer are missing, don't fit, or would need code to be unpickled.
            ConfigError: if the tokenizer needs a package that isn't installed.
        """
        config = T5Config.from_pretrained(folder)
        model = EncT5(config)
        model.load_published(read_weights(folder), folder)
        return cls(model, _tokenizer(folder), text_format, name, device=device)

    @classmethod
    def of_t5(cls, folder: Path, text_format: TextFormat, name: str, *, device: str | None = None) -> EncT5Reranker:
        """The encoder of a plain T5 with a new head, from torch's generator: what TART-full's training begins with.

        Raises:
            CheckpointError: if the tokenizer is missing.
            ConfigError: if the tokenizer needs a package that isn't installed.
        """
        model = EncT5(T5Config.from_pretrained(folder))
        model.body = T5EncoderModel.from_pretrained(folder)
        return cls(model, _tokenizer(folder), text_format, name, device=device)

    @cached_property
    def model_hash(self) -> str:
        """sha256 over the weights, computed once."""
        return state_hash(self.model)

    @torch.inference_mode()
    def score(self, pairs: Sequence[tuple[Query, Document]]) -> FloatArray:
        """Score pairs.

        Args:
            pairs: queries with their instructions, and documents.

        Returns:
            float32, shape (len(pairs),), from 0 to 1; higher is better.

        Raises:
            CheckpointError: if a score is NaN.
        """
        self._notice.look_at(query for query, _ in pairs)
        inputs = self.tokens(pairs)["input_ids"]

        def prepare(rows: list[int]) -> dict[str, torch.Tensor]:
            batch = self.padded({"input_ids": [inputs[row] for row in rows]})
            return {name: one.to(self.device) for name, one in batch.items()}

        def run(batch: dict[str, torch.Tensor]) -> FloatArray:
            logits: torch.Tensor = self.model(**batch)
            return np.asarray(logits.float().softmax(dim=1)[:, 1].cpu().numpy())

        scores = np.empty(len(pairs), dtype=np.float32)
        for rows, found in run_in_batches([len(one) for one in inputs], self._budget, prepare, run):
            scores[rows] = found
        return check_scores(scores, pairs, self.name)

    def tokens(self, pairs: Sequence[tuple[Query, Document]]) -> dict[str, list[list[int]]]:
        """What the model reads of pairs, as `score` does."""
        return {"input_ids": [self._input_ids(query, document) for query, document in pairs]}

    def padded(self, tokens: dict[str, list[list[int]]]) -> dict[str, torch.Tensor]:
        """Tokens and their mask as tensors of shape (pairs, longest)."""
        inputs = tokens["input_ids"]
        ids = torch.zeros((len(inputs), max(len(one) for one in inputs)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(inputs):
            ids[row, : len(one)], mask[row, : len(one)] = torch.tensor(one), 1
        return {"input_ids": ids, "attention_mask": mask}

    def _input_ids(self, query: Query, document: Document) -> list[int]:
        form = self.text_format
        text = self._ids(form.document_text(document))
        if form.max_document_tokens is not None:
            text = text[: form.max_document_tokens - 1]  # its </s>
        room = self.max_tokens - 3
        asked_room = room - min(len(text), self.max_tokens // 2)
        if form.max_query_tokens is not None:
            asked_room = min(asked_room, form.max_query_tokens - 2)  # <s> and its </s>
        asked = self._ids(fitting_query(self._token_ends, form, query, asked_room))[:asked_room]
        return [self._start, *asked, self._end, *text[: room - len(asked)], self._end]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def save(self, folder: str | Path) -> None:
        """Write the published form with safetensors, and `tart.json`, into an empty or new folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {**self.model.body.config.to_dict(), "architectures": [ARCHITECTURE], "num_labels": 2}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(self.model.published(), folder / "model.safetensors", metadata={"format": "pt"})
        self.tokenizer.save_pretrained(folder)
        write_tart_json(folder / TART_JSON, "enc-t5", self.text_format)


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The stock T5 tokenizer, whatever class the folder names: TART's own `EncT5Tokenizer` is in no library."""
    if not (folder / "tokenizer.json").is_file():
        if not (folder / "spiece.model").is_file():  # the library would make one up
            raise CheckpointError(f"{folder}: holds no tokenizer; wanted tokenizer.json or spiece.model")
        for package in ("sentencepiece", "google.protobuf"):
            try:
                import_module(package)
            except ImportError:
                problem = f"its tokenizer comes as a sentencepiece file, which needs {package}"
                raise ConfigError(f"{folder}: {problem}; pip install tart-retrieval[t5]") from None
    tokenizer: PreTrainedTokenizerBase = T5Tokenizer.from_pretrained(folder)
    return tokenizer
