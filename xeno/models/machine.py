"""Facts about this machine that are slow to find out and hold no content of the user's.

They are a cache: a file that is missing, unreadable or not writable costs time and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

from xeno.errors import StorageFullError
from xeno.paths import Home
from xeno.store import files


def read_fact(home: Home | None, name: str) -> Any:
    """The fact `name`, or None if it is not known."""
    return _facts(home).get(name) if home else None


def write_fact(home: Home | None, name: str, value: Any) -> None:
    """Remember `value` (JSON) under `name`."""
    if home is None:
        return
    try:
        home.folder.mkdir(parents=True, exist_ok=True)
        with files.locked(home.machine.with_suffix(".lock")):
            facts = {**_facts(home), name: value}
            files.write_atomic(home.machine, json.dumps(facts, indent=1).encode())
    except (OSError, StorageFullError):
        return


def _facts(home: Home) -> dict[str, Any]:
    try:
        facts = json.loads(home.machine.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
