"""What the code as a whole promises: which way imports point, what runs at import, what never appears in it."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import tart

ROOT = Path(__file__).parent.parent
PACKAGES = {"tart": {"berri", "eval"}, "berri": {"eval"}, "eval": {"berri"}}
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
EVERYTHING = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]


def _imports(path: Path) -> list[tuple[ast.stmt, str]]:
    found: list[tuple[ast.stmt, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node, node.module))
    return found


def test_there_are_sources_to_look_at() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    wrong = [name for _, name in _imports(path) if name.split(".")[0] in PACKAGES[package]]
    assert not wrong, f"{package} must not import {wrong}"


def test_nobody_replaces_the_builtin_eval() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path in EVERYTHING
        for node, name in _imports(path)
        if isinstance(node, ast.Import) and name.split(".")[0] == "eval"
    ]
    assert not wrong


def test_data_can_not_run_code() -> None:
    """No unpickling, no code from a model's repository, no torch.load that unpickles, no archive unpacked blindly."""
    wrong = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in ("eval", "exec") or name.startswith(("pickle.", "joblib.", "dill.", "cloudpickle.")):
                wrong.append((path, node.lineno, name))
            if name == "torch.load" and arguments.get("weights_only") != "True":
                wrong.append((path, node.lineno, "torch.load without weights_only=True"))
            if arguments.get("trust_remote_code", "False") != "False":
                wrong.append((path, node.lineno, "trust_remote_code"))
            if arguments.get("allow_pickle", "False") != "False" or name.endswith(".extractall"):
                wrong.append((path, node.lineno, name))
            if name in ("np.load", "numpy.load") and "allow_pickle" not in arguments:
                wrong.append((path, node.lineno, "np.load without allow_pickle=False"))
    assert not wrong


def _loaded_after(code: str, *names: str) -> set[str]:
    check = f"{code}\nimport sys\nprint([n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "bm25s", "numpy", "rich")


def test_import_tart_loads_nothing_heavy() -> None:
    assert _loaded_after("import tart", *HEAVY) == set()


@pytest.mark.parametrize("module", ["tart.cli", "berri.cli", "eval.cli"])
def test_help_comes_without_torch(module: str) -> None:
    code = (
        f"import sys, importlib\nsys.argv = ['x', '--help']\n"
        f"try: importlib.import_module({module!r}).main()\nexcept SystemExit: pass"
    )
    assert _loaded_after(code, "torch", "transformers", "sentence_transformers", "faiss") == set()


def test_every_promised_name_is_there_and_documented() -> None:
    assert 15 <= len(tart.__all__) <= 25
    for name in tart.__all__:
        value = getattr(tart, name)
        assert name == "Qrels" or value.__doc__, name
    assert set(tart.__all__) <= set(dir(tart))
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        tart.serach  # noqa: B018


def test_modules_import_in_any_order() -> None:
    for path in SOURCES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        importlib.import_module(name)
