"""Fetching a model folder from the Hugging Face hub, once, with an answer within seconds where there is no network."""

from __future__ import annotations

import logging
from pathlib import Path

from tart.errors import DownloadError

_NEVER = ["*.onnx", "onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.gguf", "*.tflite", "*.mlmodel", "coreml/*"]
_PICKLED = ["*.bin", "*.pt", "*.pth"]  # where the same weights come as safetensors


def hub_folder(name: str) -> Path:
    """The folder of a hub model: from the local cache, else downloaded; weights as safetensors where there are some.

    Raises:
        DownloadError: if it is not in the cache and the hub has no such model or can't be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import RepositoryNotFoundError

    if cached := _cached(name):
        return cached
    retries = logging.getLogger("huggingface_hub")
    level = retries.level
    retries.setLevel(logging.ERROR)
    try:
        files = [file.rfilename for file in HfApi().model_info(name, timeout=5).siblings or []]
        pickled = _PICKLED if any(file.endswith(".safetensors") for file in files) else []
        return Path(snapshot_download(name, ignore_patterns=_NEVER + pickled))
    except RepositoryNotFoundError as error:
        raise DownloadError(f"the Hugging Face hub has no model {name!r} that you may read") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DownloadError(
            f"can't load {name!r} from the Hugging Face hub: {reason}. With no network here, fetch it elsewhere "
            f"(hf download {name}) and copy its folder from the cache there into {HF_HUB_CACHE}"
        ) from error
    finally:
        retries.setLevel(level)


def _cached(name: str) -> Path | None:
    """The whole snapshot in the local cache, if there is one."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    for left_out in (_NEVER + _PICKLED, _NEVER):
        try:
            folder = Path(snapshot_download(name, local_files_only=True, ignore_patterns=left_out))
        except LocalEntryNotFoundError:
            continue
        # A library that fetched the files that it needs has perhaps passed over modules.json, which says how to pool.
        # That there is none is known from its absence noted, or from the repository's list, which was compared.
        listed = (folder.parents[1] / "trees" / f"{folder.name}.json").is_file()
        known = listed or try_to_load_from_cache(name, "modules.json") is not None
        if known and (left_out is _NEVER or any(folder.rglob("*.safetensors"))):
            return folder
    return None
