"""Noise that repeats, so that two private runs can be compared bit for bit. For tests only: run as
`python -m fixed_noise` it is the trainer child with such noise; nothing in the package can ask
for it."""

from __future__ import annotations

import hashlib
import itertools
import os
from types import SimpleNamespace

from xeno.privacy import noise


def system() -> SimpleNamespace:
    """Takes the place of `os` in `xeno.privacy.noise`: every process draws the same keys."""
    count = itertools.count()

    def urandom(size: int) -> bytes:
        return hashlib.sha256(f"a key for tests {next(count)}".encode()).digest()[:size]

    return SimpleNamespace(urandom=urandom, getpid=os.getpid)


if __name__ == "__main__":
    from xeno.workers import trainer

    noise.os = system()
    trainer.main()
