"""The states of a version, and the only place where one becomes another.

    candidate -> checked -> canary -> active -> retired
                     \\_________________/   \\-> rolled back
    anything -> quarantined -> checked

What went through the gate is checked; a canary answers a part of the replies, the active version
the others. What served before may serve again. Every step is written down with its reason.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from xeno.errors import InvalidValueError
from xeno.store.database import Connection, Database

State = Literal["candidate", "checked", "canary", "active", "retired", "rolled_back", "quarantined"]

NEXT: Mapping[State, frozenset[State]] = {
    "candidate": frozenset({"checked", "quarantined"}),
    "checked": frozenset({"canary", "active", "quarantined"}),
    "canary": frozenset({"active", "retired", "rolled_back", "quarantined"}),
    "active": frozenset({"retired", "rolled_back", "quarantined"}),
    "retired": frozenset({"canary", "active", "quarantined"}),
    "rolled_back": frozenset({"canary", "active", "quarantined"}),
    "quarantined": frozenset({"checked"}),
}

STATE_WORDS: Mapping[State, str] = {
    "candidate": "not checked yet",
    "checked": "checked",
    "canary": "tried in some replies",
    "active": "answers now",
    "retired": "retired",
    "rolled_back": "rolled back",
    "quarantined": "quarantined",
}


@dataclass(frozen=True)
class StateChange:
    """One step in the life of a version."""

    previous: State
    state: State
    reason: str
    created: float


def move(connection: Connection, address: str, state: State, reason: str = "") -> State:
    """Bring the version into `state` and write it down; its previous state. Nothing happens
    where it has that state already. To be called inside a transaction.

    Raises:
        InvalidValueError: if the version is gone, or cannot go there from where it is.
    """
    row = connection.execute(
        "SELECT number, state FROM versions WHERE address = ? AND deleted IS NULL", (address,)
    ).fetchone()
    if row is None:
        raise InvalidValueError(
            "Nothing was changed.",
            "The version is not there, or was deleted meanwhile.",
            "Choose another version.",
        )
    previous: State = row["state"]
    if previous == state:
        return previous
    if state not in NEXT[previous]:
        raise InvalidValueError(
            f"v{row['number']} cannot become '{STATE_WORDS[state]}'.",
            f"It is {STATE_WORDS[previous]}.",
            "Check it first: xeno deploy --dry-run."
            if previous in ("candidate", "quarantined")
            else "Choose another version.",
        )
    connection.execute("UPDATE versions SET state = ? WHERE address = ?", (state, address))
    connection.execute(
        "INSERT INTO version_states (address, previous, state, reason, created) "
        "VALUES (?, ?, ?, ?, ?)",
        (address, previous, state, reason, time.time()),
    )
    return previous


def changes(db: Database, address: str) -> list[StateChange]:
    """What the version went through since it was released, the oldest first."""
    rows = db.read(
        "SELECT previous, state, reason, created FROM version_states WHERE address = ? "
        "ORDER BY seq",
        (address,),
    )
    return [StateChange(*tuple(row)) for row in rows]
