"""Random numbers that depend on what they are for, not on what was drawn before: the same in any order of work."""

from __future__ import annotations

import hashlib
from random import Random


def seeded(seed: int, *parts: str) -> Random:
    """A generator for one purpose: `seeded(1, "instruct", example_id)`."""
    return Random(text_hash(str(seed), *parts))


def text_hash(*parts: str) -> int:
    """64 bits of a hash over texts, the same on every machine."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\x00")
    return int.from_bytes(digest.digest(), "big")
