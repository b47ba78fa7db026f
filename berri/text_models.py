"""Language models that propose wordings: one that is served, or one in a folder. Whoever runs `expand` names it."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Protocol

from tart.errors import CheckpointError, ConfigError, DownloadError

TIMEOUT = 120.0  # seconds
MOST_BYTES = 1 << 20  # of an answer
MOST_TOKENS = 400


class TextModel(Protocol):
    """Anything that answers a prompt with text."""

    def answer(self, prompt: str, seed: int) -> str:
        """The model's text for a prompt."""
        ...


class ServedModel:
    """A model behind an OpenAI-compatible address, as vLLM, llama.cpp's server, Ollama and many services have it.

    Args:
        url: the part before `/chat/completions`, such as "http://127.0.0.1:8000/v1".
        model: what the server calls it.
        key_variable: environment variable that holds the server's key; "" if it wants none.

    Raises:
        ConfigError: no http address, or the variable isn't set.
    """

    def __init__(self, url: str, model: str, key_variable: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"wanted the http address of a server, got {url!r}")
        if key_variable and not os.environ.get(key_variable):
            raise ConfigError(f"the environment variable {key_variable} is not set; it should hold the server's key")
        self._url, self._model = url.rstrip("/") + "/chat/completions", model
        self._headers = {"Content-Type": "application/json"}
        if key_variable:
            self._headers["Authorization"] = f"Bearer {os.environ[key_variable]}"

    def answer(self, prompt: str, seed: int) -> str:
        """The model's text for a prompt.

        Raises:
            DownloadError: the server is out of reach, refuses, or answers something else.
        """
        asked = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": MOST_TOKENS,
            "temperature": 0.7,
            "seed": seed,
        }
        request = urllib.request.Request(self._url, json.dumps(asked).encode(), self._headers)  # noqa: S310 (http only)
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
                content = answer.read(MOST_BYTES)
            text = json.loads(content)["choices"][0]["message"]["content"]
        except (OSError, http.client.HTTPException) as error:
            raise DownloadError(f"{self._url}: gives no answer ({error}); is the server running?") from error
        except (ValueError, LookupError, TypeError):
            raise DownloadError(f"{self._url}: answered no chat completion; is this the right address?") from None
        if not isinstance(text, str):
            raise DownloadError(f"{self._url}: answered no text")
        return text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


class LocalModel:
    """A language model in a folder, run by transformers: a chat model, a plain one, or an encoder-decoder such as T5.

    Args:
        folder: with config, tokenizer and safetensors.

    Raises:
        CheckpointError: the folder can't be loaded.
    """

    def __init__(self, folder: str | Path) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        if not Path(folder).is_dir():
            raise CheckpointError(f"{folder}: no such folder; wanted a language model with config.json and safetensors")
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            self._is_pair = bool(config.is_encoder_decoder)
            kind: Any = AutoModelForSeq2SeqLM if self._is_pair else AutoModelForCausalLM
            self._model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{folder}: no language model that transformers loads ({error})") from error

    def answer(self, prompt: str, seed: int) -> str:
        """The model's text for a prompt; the same for the same seed."""
        import torch

        if self._tokenizer.chat_template:
            chat = [{"role": "user", "content": prompt}]
            prompt = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        tokens = self._tokenizer(prompt, return_tensors="pt", truncation=True, add_special_tokens=self._is_pair)
        tokens.pop("token_type_ids", None)
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(seed % 2**63)
            made = self._model.generate(**tokens, max_new_tokens=MOST_TOKENS, do_sample=True, temperature=0.7)
        start = 0 if self._is_pair else tokens["input_ids"].shape[1]
        return str(self._tokenizer.decode(made[0, start:], skip_special_tokens=True))
