"""Whether the kernel ends processes because memory runs out. Light."""

from __future__ import annotations

from pathlib import Path

_COUNTERS = Path("/proc/vmstat")


def memory_kills() -> int | None:
    """Processes that the kernel has ended since it started because memory ran out, those by a
    cgroup's limit among them; None where it does not say."""
    try:
        lines = _COUNTERS.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = [line.split() for line in lines if line.startswith("oom_kill ")]
    return int(found[0][1]) if found else None
