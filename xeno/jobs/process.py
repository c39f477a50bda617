"""Who a worker of the queue is, so that its process is not taken for another with its number."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field

from xeno.store.processes import birth


@dataclass(frozen=True)
class Identity:
    """A worker: the number and the birth of its process, and a name of its own."""

    pid: int = field(default_factory=os.getpid)
    birth: str = field(default_factory=lambda: birth(os.getpid()) or "")
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
