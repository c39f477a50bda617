"""Adapters that were opened and verified, kept in memory for the next time they answer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xeno.versions.adapter import AdapterConfig

if TYPE_CHECKING:
    import torch

Key = tuple[str, str]
"""A user and the content address of one of the user's versions: what one may open, another may
not find here."""


@dataclass(frozen=True)
class Adapter:
    """A version's tensors under PEFT's names, with what they mean."""

    address: str
    tensors: Mapping[str, torch.Tensor]
    config: AdapterConfig

    @property
    def bytes(self) -> int:
        return sum(each.nbytes for each in self.tensors.values())


class AdapterCache:
    """Least recently used adapters go first. Safe from any thread.

    Args:
        limit_bytes: what all adapters together may take; a larger one is used and not kept.
        ttl_seconds: an adapter unused for longer goes at the next call of anything here.
        clock: seconds that only grow.

    Attributes:
        hits, misses: how often `get` found what it was asked for.
    """

    def __init__(
        self,
        limit_bytes: int,
        ttl_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit_bytes
        self._ttl = ttl_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[Adapter, float]] = OrderedDict()
        self._bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: Key, load: Callable[[], Adapter]) -> Adapter:
        """The adapter kept under `key`; otherwise what `load` gives, kept from now on. What
        `load` raises is raised, and nothing is kept."""
        with self._lock:
            self._expire()
            found = self._kept.pop(key, None)
            if found is not None:
                self.hits += 1
                self._kept[key] = (found[0], self._clock())
                return found[0]
            self.misses += 1
        adapter = load()  # without the lock: others need not wait for a slow disk
        with self._lock:
            self._keep(key, adapter)
        return adapter

    def forget(self, user: str) -> None:
        """Drop all adapters of `user`."""
        with self._lock:
            for key in [each for each in self._kept if each[0] == user]:
                self._drop(key)

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._kept)

    @property
    def bytes(self) -> int:
        """What the kept adapters take."""
        with self._lock:
            self._expire()
            return self._bytes

    def _keep(self, key: Key, adapter: Adapter) -> None:
        if key in self._kept:  # another thread was quicker
            self._drop(key)
        if adapter.bytes > self._limit:
            return
        while self._bytes + adapter.bytes > self._limit:
            self._drop(next(iter(self._kept)))
        self._kept[key] = (adapter, self._clock())
        self._bytes += adapter.bytes

    def _expire(self) -> None:
        oldest = self._clock() - self._ttl
        for key in [key for key, (_, used) in self._kept.items() if used < oldest]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        adapter, _ = self._kept.pop(key)
        self._bytes -= adapter.bytes
