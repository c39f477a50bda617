"""What is kept of the versions of a model, what is given up, and what all of it takes.

A delete can be undone for 7 days; then the file is purged. Pruning deletes what is old, never one
of the newest 3, the one in use, the canary, what either continued, a variant of the test in the
chat, or a tagged one.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from xeno.errors import InvalidValueError, StorageFullError
from xeno.store.database import Row
from xeno.store.profile import Profile
from xeno.versions import in_chat
from xeno.versions.records import ASSISTANT, Records

UNDO_SECONDS = 7 * 24 * 3600.0
LEAST_KEPT = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Space:
    """Bytes on the disk: of the versions that are there, and of those that can be restored."""

    model: str
    versions: int
    bytes: int
    deleted: int
    deleted_bytes: int


class Retention:
    """The versions of `model` in `profile`, as they age."""

    def __init__(self, profile: Profile, model: str = ASSISTANT) -> None:
        self._records = Records(profile, model)

    def prunable(self, keep: int) -> list[Row]:
        """The versions that `prune` would delete, the oldest first.

        Raises:
            InvalidValueError: if fewer than 3 would be kept.
        """
        if keep < LEAST_KEPT:
            raise InvalidValueError(
                f"{keep} versions are too few to keep.",
                f"The newest {LEAST_KEPT} are always kept, to go back to.",
                f"Keep {LEAST_KEPT} or more.",
            )
        rows = self._records.rows()
        in_use = [row for row in rows if row["state"] in ("active", "canary")]
        spared = {row["address"] for row in rows[:keep] + in_use}
        spared |= {row["parent"] for row in in_use} | self._records.tags().keys()
        test = in_chat.going(self._records.db)
        if test is not None:
            spared |= set(test.variants)
        return [row for row in reversed(rows) if row["address"] not in spared]

    def prune(self, keep: int) -> list[Row]:
        """Delete all but the newest `keep` versions and those that are spared; what was deleted,
        which can be restored."""
        gone = self.prunable(keep)
        for row in gone:
            self._records.delete(row["address"])
        return gone

    def purge_expired(self, now: float | None = None) -> int:
        """Remove the files of versions that were deleted more than 7 days ago; how many.

        Raises:
            StorageFullError: if a file cannot be removed.
        """
        limit = (time.time() if now is None else now) - UNDO_SECONDS
        expired = [row for row in self._records.rows(deleted=True) if row["deleted"] <= limit]
        for row in expired:
            self._records.purge(row["address"])
        return len(expired)

    def space(self) -> Space:
        """What the versions take on the disk."""
        there, waiting = self._records.rows(), self._records.rows(deleted=True)
        return Space(
            self._records.model,
            len(there),
            sum(row["bytes"] for row in there),
            len(waiting),
            sum(row["bytes"] for row in waiting),
        )


def models(profile: Profile) -> list[str]:
    """The names of the models that have versions, the assistant first."""
    rows = profile.db.read(
        "SELECT name FROM versioned_models ORDER BY name <> ?, name", (ASSISTANT,)
    )
    return [str(row["name"]) for row in rows]


def tidy(profile: Profile) -> None:
    """Purge what was deleted more than 7 days ago, of all models. What cannot be removed now
    (another program holds it open) waits for the next time."""
    try:
        purge_expired(profile)
    except StorageFullError as error:
        _log.warning("Deleted versions could not be removed: %s", error.why)


def purge_expired(profile: Profile) -> int:
    """Purge what was deleted more than 7 days ago, of all models; how many versions."""
    return sum(Retention(profile, model).purge_expired() for model in models(profile))
