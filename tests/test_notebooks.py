"""Every notebook runs from top to bottom, and is committed without outputs and without paths of somebody's machine."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
CELL_SECONDS = 300

# Where an absolute path begins: not within a relative one, an address, a fraction or a closing tag.
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/~<)\]}*-])(?:~?/\w|[A-Za-z]:[\\/]|\\\\\w)|file://")
_COLOURS = re.compile(r"\x1b\[[\d;]*m")  # of the terminal, in tracebacks


class _ThisPython(AsyncKernelManager):
    """Starts the running interpreter as the kernel, whatever kernels are installed."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        return [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file]


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a folder of their own; the outputs are put into the notebook."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "IPYTHONDIR": str(folder / "ipython"),  # nobody's own start-up files
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=CELL_SECONDS, kernel_manager_class=_ThisPython, resources=resources)
    failure = ""
    try:
        client.execute(env=environment)
    except CellExecutionError as error:  # its text holds the cell's source and the traceback
        failure = _COLOURS.sub("", str(error))
    if failure:  # out of the except clause, where pytest would tell it twice
        pytest.fail(failure, pytrace=False)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_without_outputs_and_execution_counts(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_holds_no_absolute_path(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    texts = [cell.source for cell in notebook.cells]
    texts += [json.dumps(part.metadata) for part in (notebook, *notebook.cells)]
    assert [line for text in texts for line in text.splitlines() if _ABSOLUTE_PATH.search(line)] == []


@pytest.mark.parametrize(
    ("line", "is_path"),
    [
        ('open("/home/me/data.csv")', True),
        ("!ls /tmp", True),
        ('Path("~/models")', True),
        (r'Path(r"C:\data")', True),
        ('Path("D:/data")', True),
        (r'"\\server\share"', True),
        ("see file:///data/x", True),
        ('folder / "data/x.csv"', False),
        ("https://example.org/page and either/or", False),
        ("a / b, a // b, 1/2, f(x)/2, <b>bold</b>", False),
        (r'print("\n" + text, "key:\n")', False),
        ('f"{folder}/x"', False),
    ],
)
def test_absolute_paths_are_told_from_other_slashes(line: str, is_path: bool) -> None:
    assert bool(_ABSOLUTE_PATH.search(line)) is is_path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, tmp_path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]


def test_an_error_in_a_cell_fails_with_its_source_and_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    cells = ["import sys\nprint(sys.executable)", "numbers = []\nnumbers[3]  # there is none"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    with pytest.raises(pytest.fail.Exception, match=r"numbers\[3\]  # there is none[\s\S]*IndexError: list index"):
        execute(notebook, tmp_path)
    assert notebook.cells[0].outputs[0].text.strip() == sys.executable
