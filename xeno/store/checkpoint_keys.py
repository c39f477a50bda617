"""The keys of the runs' checkpoint files: made with a run, destroyed with its end.

A checkpoint of a private run holds the state of its noise. Once the run has released something
(or was discarded) that state must never be used again, so the key goes in the transaction that
ends the run: whatever is left of a file afterwards cannot be opened any more.
"""

from __future__ import annotations

import os
import time

from xeno.store.database import Database


class CheckpointKeys:
    """The keys of the runs in `db`. A run without one cannot be resumed."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def make(self, run_id: str) -> None:
        """Give a run its key."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO checkpoints (run_id, key) VALUES (?, ?)", (run_id, os.urandom(32))
            )

    def get(self, run_id: str) -> bytes | None:
        """The run's key (32 bytes), None once it was destroyed."""
        row = self._db.one("SELECT key FROM checkpoints WHERE run_id = ?", (run_id,))
        return None if row is None else bytes(row["key"])

    def saved(self, run_id: str, step: int) -> None:
        """Note that the run has a file with `step` steps."""
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE checkpoints SET step = ?, saved = ? WHERE run_id = ?",
                (step, time.time(), run_id),
            )

    def has_file(self, run_id: str) -> bool:
        """Whether a file was written for the run."""
        query = "SELECT 1 FROM checkpoints WHERE run_id = ? AND saved IS NOT NULL"
        return self._db.one(query, (run_id,)) is not None

    def steps(self) -> dict[str, int]:
        """The steps of the newest file of every run that can go on; 0 where there is none."""
        rows = self._db.read("SELECT run_id, step FROM checkpoints")
        return {row["run_id"]: row["step"] for row in rows}

    def destroy(self, run_id: str) -> None:
        """Overwrite the run's key, then remove it."""
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE checkpoints SET key = zeroblob(32) WHERE run_id = ?", (run_id,)
            )
            connection.execute("DELETE FROM checkpoints WHERE run_id = ?", (run_id,))
