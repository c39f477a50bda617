"""How many threads a reply is worth: measured once on this machine, and remembered.

Single tokens read every weight once, so the memory is the limit and not the cores: beyond some
number of threads nothing is won, and what they take other programs miss. The number format has
a probe of its own (`models.loading.bfloat16_is_faster`). Light: torch is imported to measure.
"""

from __future__ import annotations

import importlib.metadata
import os
import time

import psutil

from xeno.inference.onednn import without_onednn
from xeno.models.machine import read_fact, write_fact
from xeno.paths import Home

_WORTH = 0.9
"""More threads are used if they take less than this share of the time."""

_ROWS, _COLUMNS, _MATRICES = 1536, 1024, 24  # 75 MB in bfloat16: more than a cache holds


def usable_cores() -> int:
    """Physical cores that this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return max(1, min(physical, allowed or physical))


def fitting_threads(home: Home | None = None, *, again: bool = False) -> int:
    """The number of threads that decoding is worth: half the usable cores, or all of them.

    Args:
        home: where the answer is remembered; without one it is measured every time.
        again: measure although it was before.
    """
    cores = usable_cores()
    known = None if again else threads_known(home)
    if known is not None:
        return known
    chosen = _faster(cores // 2, cores)
    write_fact(home, _fact(cores), chosen)
    return chosen


def threads_known(home: Home | None) -> int | None:
    """What `fitting_threads` found here earlier, or would without measuring; None before."""
    cores = usable_cores()
    if cores == 1:
        return 1
    known = read_fact(home, _fact(cores))
    return known if isinstance(known, int) and known in (cores // 2, cores) else None


def _fact(cores: int) -> str:
    return f"reply threads of {cores} with torch {importlib.metadata.version('torch')}"


def _faster(few: int, many: int) -> int:
    """Best times of the products of single tokens, taken in turn so that a busy machine slows
    both."""
    import torch

    before = torch.get_num_threads()
    best = {few: float("inf"), many: float("inf")}
    x = torch.ones(1, _COLUMNS, dtype=torch.bfloat16)
    weights = torch.ones(_MATRICES, _ROWS, _COLUMNS, dtype=torch.bfloat16)
    try:
        with torch.inference_mode(), without_onednn():
            for _ in range(12):
                for count in best:
                    torch.set_num_threads(count)
                    begun = time.perf_counter()
                    for weight in weights:
                        torch.nn.functional.linear(x, weight)
                    best[count] = min(best[count], time.perf_counter() - begun)
    finally:
        torch.set_num_threads(before)
    return many if best[many] < _WORTH * best[few] else few
