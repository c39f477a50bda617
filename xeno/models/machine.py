"""Facts about this machine that are slow to find out and hold no content of the user's.

They are a cache: a file that is missing, unreadable or not writable costs time and nothing else.
"""

from __future__ import annotations

import json
import os
from typing import Any

from xeno.paths import Home


def read_fact(home: Home | None, name: str) -> Any:
    """The fact `name`, or None if it is not known."""
    return _facts(home).get(name) if home else None


def write_fact(home: Home | None, name: str, value: Any) -> None:
    """Remember `value` (JSON) under `name`. Of two processes that write at once one wins."""
    if home is None:
        return
    temporary = home.machine.with_name(f"{home.machine.name}.{os.getpid()}.tmp")
    try:
        home.folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({**_facts(home), name: value}, indent=1), "utf-8")
        temporary.replace(home.machine)
    except OSError:
        temporary.unlink(missing_ok=True)


def _facts(home: Home) -> dict[str, Any]:
    try:
        facts = json.loads(home.machine.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
