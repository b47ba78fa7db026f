"""Fetching a model folder from the Hugging Face hub, once, with an answer within seconds where there is no network."""

from __future__ import annotations

import logging
from pathlib import Path

from tart.errors import DownloadError

_NEVER = ["*.onnx", "onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.gguf", "*.tflite", "*.mlmodel", "coreml/*"]


def hub_folder(name: str) -> Path:
    """The folder of a hub model: from the local cache, else downloaded; weights as safetensors where there are some.

    Raises:
        DownloadError: if it is not in the cache and the hub has no such model or can't be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    retries = logging.getLogger("huggingface_hub")
    level = retries.level
    retries.setLevel(logging.ERROR)
    try:
        files = [file.rfilename for file in HfApi().model_info(name, timeout=5).siblings or []]
        pickled = ["*.bin", "*.pt", "*.pth"] if any(file.endswith(".safetensors") for file in files) else []
        return Path(snapshot_download(name, ignore_patterns=_NEVER + pickled))
    except RepositoryNotFoundError as error:
        raise DownloadError(f"the Hugging Face hub has no model {name!r} that you may read") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DownloadError(
            f"can't load {name!r} from the Hugging Face hub: {reason}. With no network here, fetch it elsewhere "
            f"(hf download {name} --local-dir DIR) and give DIR as the model's name"
        ) from error
    finally:
        retries.setLevel(level)
