"""oneDNN off where it costs more than it gives: for products with a single token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_onednn() -> Iterator[None]:
    """oneDNN repacks the weights for every product, which pays for a block only: reading a prompt
    is several times slower without it, a single token up to twice as fast. The switch belongs to
    the process, so one thread alone may decode."""
    import torch

    onednn: Any = torch.backends.mkldnn
    before, onednn.enabled = onednn.enabled, False
    try:
        yield
    finally:
        onednn.enabled = before
