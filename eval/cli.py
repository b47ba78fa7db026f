"""The command line of the evaluator."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Say that there is nothing to measure with yet."""
    sys.exit("tart-eval: the evaluator is not part of this version yet")
