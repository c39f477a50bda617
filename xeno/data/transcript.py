"""One conversation as a file that people read, or that programs do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from xeno.store.conversations import StoredMessage
from xeno.store.files import write_atomic

_WHO = {"user": "You", "assistant": "Assistant"}


def write_transcript(path: Path, turns: Sequence[StoredMessage]) -> None:
    """Write `turns` to `path`: `.json` gives a list of {role, content}, all else Markdown.

    Raises:
        StorageFullError: the file cannot be written.
    """
    if path.suffix.lower() == ".json":
        listed = [{"role": turn.role, "content": turn.content} for turn in turns]
        text = json.dumps(listed, ensure_ascii=False, indent=2)
    else:
        text = "\n\n".join(f"**{_WHO[turn.role]}**\n\n{turn.content}" for turn in turns)
    write_atomic(path, (text + "\n").encode())
