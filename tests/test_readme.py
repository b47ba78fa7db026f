"""Every command and every line of Python in the README runs."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from berri.cli import main as berri_main
from eval.cli import main as eval_main
from tart.cli import main as tart_main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the files that the README's commands name."""
    folder = tmp_path_factory.mktemp("readme")
    for place in (".", "data/scifact", "data/other"):
        (folder / place / "qrels").mkdir(parents=True, exist_ok=True)
        texts = enumerate(["Read a file line by line.", *("Something else." for _ in range(11))])
        lines = [f'{{"_id": "d{number}", "title": "", "text": "{text} {number}"}}' for number, text in texts]
        (folder / place / "corpus.jsonl").write_text("\n".join(lines) + "\n")
        (folder / place / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td0\t1\n")
        if place != "data/other":
            (folder / place / "queries.jsonl").write_text('{"_id": "q1", "text": "how to read a file"}\n')
    (folder / "pool.toml").write_text(blocks("toml")[0])
    write_source(folder)
    write_pairs(folder / "my_data")
    return folder


def write_pairs(folder: Path) -> None:
    folder.mkdir()
    rows = (f'{{"query": "what does animal {n} eat", "document": "Animal {n} eats plants."}}\n' for n in range(30))
    (folder / "pairs.jsonl").write_text("".join(rows))
    (folder / "instructions.txt").write_text("Find what an animal eats\nShow me its food\n")


def write_source(folder: Path) -> None:
    """A source for the collector in `sources`, with a card in `cards`."""
    rows = "".join(f'{{"name": "animal {n}", "text": "Animal {n} eats plants."}}\n' for n in range(30)).encode()
    (folder / "sources" / "animals").mkdir(parents=True)
    (folder / "sources" / "animals" / "rows.jsonl").write_bytes(rows)
    card = (ROOT / "berri" / "cards" / "peps_eips.toml").read_text(encoding="utf-8")
    card = re.sub(r'sha256 = "\w+"', f'sha256 = "{hashlib.sha256(rows).hexdigest()}"', card)
    card = card.replace("pairs.jsonl", "rows.jsonl").replace(
        'title = "q", abstract = "d"', 'title = "name", abstract = "text"'
    )
    (folder / "cards").mkdir()
    (folder / "cards" / "animals.toml").write_text(card)


def test_there_is_something_to_run() -> None:
    assert len(COMMANDS) > 10 and len(blocks("python")) >= 2


def test_python_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["vectors"].shape == (1, 448)  # type: ignore[attr-defined]


def test_commands_run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TART_CACHE", str(folder / "cache"))
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if program == "make":  # what it would do; the tests themselves run by `make test`
            done = subprocess.run(["make", "-n", "-C", ROOT, *arguments], capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
        elif program in ("tart", "tart-eval", "berri"):
            if arguments[0] == "train":
                arguments += ["steps=2", "batch_size=4"]
            monkeypatch.setattr(sys, "argv", [program, *arguments])
            with pytest.raises(SystemExit) as ended:
                {"tart": tart_main, "tart-eval": eval_main, "berri": berri_main}[program]()
            assert not ended.value.code, f"{command}\n{capsys.readouterr().err}"
        else:
            pytest.fail(f"the test doesn't know how to run {command!r}")
