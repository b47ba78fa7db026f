"""What this machine computes with: the processor's instructions, and whether there is a GPU."""

from __future__ import annotations

import platform
import re
import sys
from functools import lru_cache
from pathlib import Path

BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Linux's names of the instructions that multiply bfloat16 numbers, the fastest first."""


def processor_name() -> str:
    """What the processor calls itself, or else what kind it is."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:(.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


@lru_cache(maxsize=1)
def instructions() -> frozenset[str]:
    """The processor's flags as Linux names them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()


def bfloat16_instruction() -> str | None:
    """The instruction that multiplies bfloat16 numbers here; None if there is none, or the system doesn't tell."""
    return next((name for name in BFLOAT16 if name in instructions()), None)


def has_gpu() -> bool:
    """Whether torch would find a GPU, as far as the system tells without loading torch."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
