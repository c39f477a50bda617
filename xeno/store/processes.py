"""How a process is told from a later one that has its number."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import psutil


def gone(pid: int, born: str) -> bool:
    """Whether the process `pid` that was born as `born` has certainly ended.

    Of a process before a reboot, on another machine or in another container nothing is
    certain from here: its lease decides.
    """
    return known_here(born) and birth(pid) != born


def known_here(born: str) -> bool:
    """Whether a process that was born as `born` can be looked for from here."""
    return born.partition(":")[0] == _world()


def birth(pid: int) -> str | None:
    """Where and when the process `pid` was born; None if there is none.

    Linux counts the start in ticks since boot, which setting the clock does not change.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if sys.platform == "linux":
            fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2]
            return f"{_world()}:{fields.split()[19]}"
        return f"{_world()}:{process.create_time():.2f}"
    except (psutil.Error, OSError, IndexError):
        return None


@cache
def _world() -> str:
    """The boot and the process namespace in which numbers of processes mean something."""
    if sys.platform != "linux":
        return sys.platform
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"  # noqa: PTH115
    except OSError:
        return "linux"
