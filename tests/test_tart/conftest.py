"""What tests of both trainings need."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tart.files import sha256_file


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


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """A context in which training is interrupted at the start of a step, counted from 1."""

    @contextmanager
    def killed(at: int) -> Iterator[None]:
        from tart.training.trainer import TartTrainer

        steps, step = count(1), TartTrainer.training_step

        def dying(self: TartTrainer, *args: Any) -> Any:
            if next(steps) == at:
                raise KeyboardInterrupt
            return step(self, *args)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(TartTrainer, "training_step", dying)
            yield

    return killed


@pytest.fixture
def survives(tmp_path: Path) -> Callable[..., None]:
    """Kills a training at ten of its calls, drawn at random, and compares what the same command then ends with."""

    def check(train_until_killed: Callable[[Path, Path, int], None], world: Path, preload: Sequence[str]) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload([*preload])

        def run(output: Path, kill_at: int) -> int | None:
            process = context.Process(target=train_until_killed, args=(world, output, kill_at))
            process.start()
            process.join()
            return process.exitcode

        assert run(tmp_path / "unbroken", 0) == 0
        wanted = sha256_file(tmp_path / "unbroken" / "model.safetensors")
        for kill_at in Random(1).sample(range(1, 25), 10):
            output = tmp_path / f"killed at {kill_at}"
            assert run(output, kill_at) == -signal.SIGKILL
            assert run(output, 0) == 0
            assert sha256_file(output / "model.safetensors") == wanted, kill_at

    return check
