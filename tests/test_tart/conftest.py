"""What tests of both trainings need."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def together() -> Callable[..., Path]:
    """Calls the function `train` of a test file in two processes that share the batches by gloo, as torchrun would."""

    def run(test_file: str, world: Path, output: Path, *changes: str) -> Path:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        code = f"import sys; sys.path[:0] = {[str(Path(test_file).parent), *sys.path]!r}; from pathlib import Path; "
        code += f"from {Path(test_file).stem} import train; "
        code += f"train(Path({str(world)!r}), Path({str(output)!r}), *{changes!r})"
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen(
                [sys.executable, "-c", code], env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            )
            for rank in range(2)
        ]
        assert [rank.wait(timeout=600) for rank in ranks] == [0, 0]
        return output

    return run
