"""The A/B test that goes on in the chat, as far as versions end it: its two variants answer in
place of the active version, so what is deployed or rolled back answers only once it is over.

What a test is, and what it finds, is the business of `xeno.experiments`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from xeno.store.database import Database

BASE = "base"


@dataclass(frozen=True)
class ChatTest:
    """The test `name`, and the content addresses of its variants that are not the base."""

    id: int
    name: str
    variants: tuple[str, ...]


def going(db: Database) -> ChatTest | None:
    """The test that goes on in the chat; at most one does."""
    row = db.one("SELECT * FROM ab_tests WHERE in_chat = 1 AND ended IS NULL")
    if row is None:
        return None
    variants = (str(row["model_a"]), str(row["model_b"]))
    return ChatTest(row["id"], row["name"], tuple(each for each in variants if each != BASE))


def end(db: Database, reason: str, *, automatic: bool = False) -> bool:
    """End the test in the chat without a winner, and write that down with the `reason` (what
    happened), in the transaction that makes it pointless; whether one went on. Its results
    stay."""
    with db.transaction() as connection:
        test = going(db)
        if test is None:
            return False
        now = time.time()
        connection.execute("UPDATE ab_tests SET ended = ? WHERE id = ?", (now, test.id))
        connection.execute(
            "INSERT INTO trial_decisions (subject, action, automatic, reason, numbers, created) "
            "VALUES (?, 'ended', ?, ?, '{}', ?)",
            (test.name, int(automatic), f"It ended without a winner: {reason}", now),
        )
    return True
