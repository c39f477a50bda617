"""What was decided about canaries and tests: by whom, why, and the numbers that were known."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xeno.store.database import Database

Action = Literal["started", "promoted", "rolled_back", "replaced", "ended"]


@dataclass(frozen=True)
class Decision:
    """`subject` is the content address of a version, or the name of a test; `automatic`: the
    program decided by itself; `numbers` is what it saw, JSON."""

    seq: int
    subject: str
    action: Action
    automatic: bool
    reason: str
    numbers: Mapping[str, Any]
    created: float


def write(
    db: Database,
    subject: str,
    action: Action,
    reason: str,
    numbers: Mapping[str, Any],
    *,
    automatic: bool = False,
) -> Decision:
    """Write a decision down, in the transaction that carries it out."""
    now = time.time()
    with db.transaction() as connection:
        seq = connection.execute(
            "INSERT INTO trial_decisions (subject, action, automatic, reason, numbers, created) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (subject, action, int(automatic), reason, json.dumps(dict(numbers)), now),
        ).lastrowid
    return Decision(int(seq or 0), subject, action, automatic, reason, dict(numbers), now)


def history(db: Database, limit: int = 100) -> list[Decision]:
    """The decisions, the newest first."""
    rows = db.read("SELECT * FROM trial_decisions ORDER BY seq DESC LIMIT ?", (limit,))
    return [
        Decision(
            seq=row["seq"],
            subject=row["subject"],
            action=row["action"],
            automatic=bool(row["automatic"]),
            reason=row["reason"],
            numbers=json.loads(row["numbers"]),
            created=row["created"],
        )
        for row in rows
    ]
