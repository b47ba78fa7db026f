"""What has to be known to do an evaluation again: code, data, versions, machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eval.embedding_cache import query_fingerprint
from eval.task import Task
from tart.collection import Qrels
from tart.processor import processor_name

PACKAGES = (
    "tart-retrieval",
    "torch",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "openvino",
    "faiss-cpu",
    "bm25s",
    "numpy",
    "ir-measures",
    "pytrec-eval-terrier",
)


def provenance(tasks: Iterable[Task], systems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Code, versions, machine, data and systems, JSON-able.

    Args:
        tasks: what was measured on.
        systems: the facts of each system.
    """
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "code": _code(Path(__file__).resolve().parents[1]),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {"system": platform.platform(), "cpu": processor_name(), "cores": os.cpu_count()},
        "data": _describe(tasks),
        "systems": list(systems),
    }


def _describe(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """Size and fingerprint of each task's data, JSON-able."""
    return [
        {
            "suite": task.suite,
            "task": task.name,
            "documents": len(task.collection.corpus),
            "queries": len(task.collection.queries),
            "judged": len(task.collection.qrels),
            "corpus_fingerprint": task.collection.corpus.fingerprint,
            "queries_fingerprint": query_fingerprint(task.collection.queries),
            "qrels_fingerprint": _qrels_fingerprint(task.collection.qrels),
            "unit": task.unit,
            "wordings": [wording.text for wording in task.wordings],
        }
        for task in tasks
    ]


def _qrels_fingerprint(qrels: Qrels) -> str:
    """sha256 over the judgements, whatever their order."""
    return hashlib.sha256(
        json.dumps({key: dict(row) for key, row in qrels.items()}, sort_keys=True).encode()
    ).hexdigest()


def _code(root: Path) -> dict[str, Any]:
    """The commit of a checkout, and whether files differ from it; empty if the package is installed elsewhere."""
    if not (root / ".git").exists():
        return {}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git(root, "status", "--porcelain", "--", "tart", "eval"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
