"""The replies that count for a canary or for a test in the chat, and what they say.

Replies of one conversation resemble each other, and the tests ask for independent results. So a
conversation is one result: the mean over its first sitting, the replies until the user turned to
another conversation or paused for an hour. What it says afterwards does not count again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xeno.events import Trial
from xeno.performance.metrics import NOT_ACCEPTED
from xeno.store.database import Database

PAUSE = 3600.0  # seconds without a reply that end a sitting


@dataclass(frozen=True)
class TrialReply:
    """One request of a trial. `accepted` and `rating` (1 to 5) are what the user said so far, None
    where nothing was said, or the side did not answer itself (`failed`: no reply came, or another
    version's); `seconds` is how long the whole reply took."""

    arm: str
    conversation_id: str
    failed: bool
    seconds: float | None
    memory_bytes: float | None
    accepted: bool | None
    rating: float | None
    created: float


@dataclass(frozen=True)
class Sitting:
    """What one conversation says: means over its first sitting, None where nothing is known."""

    arm: str
    acceptance: float | None
    rating: float | None
    ended: float


def record(
    db: Database,
    trial: Trial,
    conversation_id: str,
    *,
    message_id: str | None = None,
    failed: bool = False,
    seconds: float | None = None,
    memory_bytes: float | None = None,
) -> None:
    """Count a request of `trial`."""
    with db.transaction() as connection:
        connection.execute(
            f"INSERT INTO trial_replies ({trial.kind}, arm, conversation_id, message_id, failed, "
            "seconds, memory_bytes, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trial.id,
                trial.arm,
                conversation_id,
                message_id,
                int(failed),
                seconds,
                memory_bytes,
                time.time(),
            ),
        )


def replies(db: Database, kind: str, trial_id: int) -> list[TrialReply]:
    """The requests of a canary or a test (`kind`), in their order."""
    column = {"canary": "canary", "test": "test"}[kind]
    rows = db.read(
        "SELECT arm, trial_replies.conversation_id, failed, seconds, memory_bytes, "
        "trial_replies.created, messages.id IS NOT NULL AND NOT failed AS answered, "
        f"superseded = 0 AND NOT EXISTS (SELECT 1 FROM feedback "
        f"  WHERE feedback.message_id = messages.id AND ({NOT_ACCEPTED})) AS accepted, "
        "(SELECT value FROM feedback WHERE feedback.message_id = messages.id "
        "  AND kind = 'rating') AS rating "
        "FROM trial_replies LEFT JOIN messages ON messages.id = message_id "
        f"WHERE trial_replies.{column} = ? ORDER BY trial_replies.id",
        (trial_id,),
    )
    return [
        TrialReply(
            arm=row["arm"],
            conversation_id=row["conversation_id"],
            failed=bool(row["failed"]),
            seconds=row["seconds"],
            memory_bytes=row["memory_bytes"],
            accepted=bool(row["accepted"]) if row["answered"] else None,
            rating=row["rating"] if row["answered"] else None,
            created=row["created"],
        )
        for row in rows
    ]


def sittings(found: Sequence[TrialReply], now: float | None = None) -> Iterator[Sitting]:
    """The first sittings that have ended, in the order they ended."""
    now = time.time() if now is None else now
    counted: set[str] = set()
    open_now: list[TrialReply] = []
    for reply in found:
        if open_now and (
            reply.conversation_id != open_now[-1].conversation_id
            or reply.created - open_now[-1].created > PAUSE
        ):
            yield _sitting(open_now)
            counted.add(open_now[0].conversation_id)
            open_now = []
        if reply.conversation_id not in counted:
            open_now.append(reply)
    if open_now and now - open_now[-1].created > PAUSE:
        yield _sitting(open_now)


def _sitting(found: Sequence[TrialReply]) -> Sitting:
    accepted = [float(reply.accepted) for reply in found if reply.accepted is not None]
    ratings = [reply.rating for reply in found if reply.rating is not None]
    return Sitting(
        arm=found[0].arm,
        acceptance=sum(accepted) / len(accepted) if accepted else None,
        rating=sum(ratings) / len(ratings) if ratings else None,
        ended=found[-1].created,
    )
