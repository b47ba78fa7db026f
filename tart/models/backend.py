"""Which runtime a model runs on: torch, or the lean form with OpenVINO, which starts and encodes faster on a CPU."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, NamedTuple, get_args

from tart.errors import ConfigError
from tart.processor import BFLOAT16, bfloat16_instruction, has_gpu

Backend = Literal["auto", "torch", "lean", "lean-int8"]
NEEDS = "openvino isn't installed: pip install tart-retrieval[lean]"
ALIKE = frozenset({"torch float32", "torch bfloat16", "lean float32", "lean bfloat16"})
"""Backends whose vectors may meet: their rounding moves a vector by less than a cosine of 0.0001."""


class Choice(NamedTuple):
    """A backend and why it was chosen."""

    backend: Literal["torch", "lean", "lean-int8"]
    reason: str


def choose_backend(asked: str = "auto", device: str | None = None) -> Choice:
    """Choose by what was asked, else by what the machine has.

    Args:
        asked: "auto", "torch", "lean", or "lean-int8", which is never chosen by itself.
        device: as torch names it; one that was asked for is a choice of torch.

    Raises:
        ConfigError: an unknown backend; "lean" or "lean-int8" without its runtime, or with a device.
    """
    if asked not in get_args(Backend):
        raise ConfigError(f"unknown backend {asked!r}; wanted {', '.join(get_args(Backend))}")
    if asked in ("lean", "lean-int8"):
        if device is not None:
            raise ConfigError(f"the backend {asked!r} runs on the CPU; device={device!r} goes with 'torch'")
        if find_spec("openvino") is None:
            raise ConfigError(f"the backend {asked!r} can't run: {NEEDS}")
        return Choice(asked, "asked for")  # type: ignore[arg-type]
    if asked == "torch":
        return Choice("torch", "asked for")
    if device is not None:
        return Choice("torch", f"the device {device} was asked for")
    if has_gpu():
        return Choice("torch", "there is a GPU")
    if find_spec("openvino") is None:
        return Choice("torch", NEEDS)
    return Choice("lean", "no GPU, and openvino is installed")


def backend_for(made_by: str | None, asked: Backend) -> Backend:
    """What to encode queries with for an index: vectors in int8 meet no others, so that choice is the index's too.

    Args:
        made_by: what the index says of its vectors.
        asked: what `choose_backend` takes.
    """
    return "lean-int8" if asked == "auto" and made_by == "lean int8" else asked


def lean_precision() -> tuple[Literal["bfloat16", "float32"], str]:
    """What the lean form computes in on this processor, and why."""
    found = bfloat16_instruction()
    if found:
        return "bfloat16", f"the processor has {found}"
    return "float32", f"the processor has none of {', '.join(BFLOAT16)}, or the system doesn't tell"
