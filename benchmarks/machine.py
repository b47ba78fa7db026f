"""The JSON of a benchmark: what was measured, and where."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tart.processor import instructions, processor_name


def write_json(path: Path, packages: Iterable[str], /, **measured: Any) -> None:
    """Write what was measured, and before it the machine and the versions of some packages."""
    facts = {
        "machine": processor_name(),
        "instructions": sorted(instructions() & {"amx_bf16", "avx512_bf16", "avx512f", "avx2"}),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
    path.write_text(json.dumps({**facts, **measured}, indent=2, default=str), encoding="utf-8")
