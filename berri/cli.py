"""The command line of the dataset collector."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Say that there is nothing to collect with yet."""
    sys.exit("berri: the dataset collector is not part of this version yet")
