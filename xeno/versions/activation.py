"""Which version of a model is in use: one row, changed in one transaction, with its history.

A crash leaves the old version in use or the new one, never two and never half of one. All
processes read the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from xeno.errors import DamagedDataError, InvalidValueError
from xeno.store.database import Connection
from xeno.store.profile import Profile
from xeno.versions import in_chat
from xeno.versions.lifecycle import State, move
from xeno.versions.records import ASSISTANT, Records

Action = Literal["deploy", "promote", "rollback", "fallback"]

SERVED: frozenset[State] = frozenset({"checked", "canary", "active", "retired", "rolled_back"})
"""States of versions that may serve: they passed the gate, or were let through by the user."""

_ENDS: Mapping[Action, str] = {
    "deploy": "what answers was deployed.",
    "promote": "the canary was promoted.",
    "rollback": "what answers was rolled back.",
    "fallback": "a variant was found damaged.",
}


@dataclass(frozen=True)
class DeploymentRecord:
    """One change. `address` and `previous` are content addresses, None for the base model (or
    for no version at all); `override` is why it was made against the gate's answer."""

    seq: int
    address: str | None
    previous: str | None
    action: Action
    reason: str
    override: str
    created: float


class Activation:
    """What is in use of `model` in `profile`, by content address."""

    def __init__(self, profile: Profile, model: str = ASSISTANT) -> None:
        self.records = Records(profile, model)
        self._db = profile.db
        self._model = model

    def address(self, state: Literal["active", "canary"] = "active") -> str | None:
        """The version in use, or the one that is tried beside it; None if there is none."""
        row = self._db.one(
            f"SELECT address FROM versions WHERE model = ? AND state = '{state}'", (self._model,)
        )
        return None if row is None else str(row["address"])

    def history(self) -> list[DeploymentRecord]:
        """All changes, the oldest first."""
        rows = self._db.read(
            "SELECT seq, address, previous, action, reason, override, created FROM deployments "
            "WHERE model = ? ORDER BY seq",
            (self._model,),
        )
        return [DeploymentRecord(*tuple(row)) for row in rows]

    def change(
        self, address: str | None, action: Action, reason: str = "", override: str = ""
    ) -> bool:
        """Put `address` (None: no version) in use, in one transaction; whether that changed
        anything. With `override` also one that did not pass the gate. A test in the chat is over
        then: what is chosen answers every conversation.

        Raises:
            InvalidValueError: if it is gone or may not serve; what was in use still is.
        """
        with self._db.transaction() as connection:
            before = _in_use(connection, self._model)
            if self._model == ASSISTANT:
                in_chat.end(self._db, _ENDS[action])
            if before == address:
                return False
            if before is not None:
                left: State = "rolled_back" if action == "rollback" else "retired"
                move(connection, before, left, reason)
            if address is not None:
                admit(connection, address, override)
                move(connection, address, "active", override or reason)
            _write(connection, self._model, address, before, action, reason, override)
        return True

    def fall_back(self, damaged: str, reason: str) -> str | None:
        """Quarantine the version `damaged`; where it was in use, put the last one before it
        that is whole in its place, or none. What is in use then."""
        intact = next((each for each in self._before() if self._whole(each)), None)
        with self._db.transaction() as connection:
            in_use = _in_use(connection, self._model)
            move(connection, damaged, "quarantined", reason)
            test = in_chat.going(self._db)
            if test is not None and damaged in test.variants:
                in_chat.end(self._db, _ENDS["fallback"], automatic=True)
            if in_use != damaged:
                return in_use
            if intact is not None:
                move(connection, intact, "active", reason)
            _write(connection, self._model, intact, damaged, "fallback", reason, "")
        return intact

    def can_go_back(self) -> bool:
        """Whether `previous` has an answer."""
        return next(self._before(), self) is not self

    def previous(self) -> str | None:
        """What was in use before; None is no version.

        Raises:
            InvalidValueError: if there is nothing to go back to.
        """
        if found := list(self._before()):
            return found[0]
        raise InvalidValueError(
            "There is nothing to roll back to.",
            "Nothing that could be used was in use before.",
            "Deploy a version first.",
        )

    def _before(self) -> Iterator[str | None]:
        """What was in use before, the last first: the history replayed as a stack."""
        stack: list[str | None] = [None]
        for record in self.history():
            if record.action in ("rollback", "fallback"):
                # What was left is not returned to, also where it gave way to a newcomer.
                places = [n for n, each in enumerate(stack) if each == record.address]
                stack = stack[: places[-1] + 1 if places else -1] or [None]
            if stack[-1] != record.address:
                stack.append(record.address)
        rows = self._db.read(
            "SELECT address, state FROM versions WHERE model = ? AND deleted IS NULL",
            (self._model,),
        )
        usable = {row["address"] for row in rows if row["state"] in SERVED}
        seen = {stack.pop()}
        while stack:
            address = stack.pop()
            if address not in seen and (address is None or address in usable):
                yield address
            seen.add(address)

    def _whole(self, address: str | None) -> bool:
        if address is None:
            return True
        try:
            self.records.open(self.records.row(address))
        except (DamagedDataError, InvalidValueError):
            return False
        return True


def admit(connection: Connection, address: str, override: str) -> None:
    """Let a version that the gate has not passed through, if the user says why (`override`);
    inside a transaction."""
    row = connection.execute("SELECT state FROM versions WHERE address = ?", (address,)).fetchone()
    if override and row is not None and row["state"] not in SERVED:
        move(connection, address, "checked", f"The user let it through: {override}")


def end_canary(
    connection: Connection, model: str, state: Literal["retired", "rolled_back"], reason: str
) -> str | None:
    """Take the canary out of use, inside a transaction; its address, None if there is none."""
    row = connection.execute(
        "SELECT address FROM versions WHERE model = ? AND state = 'canary'", (model,)
    ).fetchone()
    if row is None:
        return None
    move(connection, row["address"], state, reason)
    return str(row["address"])


def _in_use(connection: Connection, model: str) -> str | None:
    row = connection.execute(
        "SELECT address FROM versions WHERE model = ? AND state = 'active'", (model,)
    ).fetchone()
    return None if row is None else str(row["address"])


def _write(
    connection: Connection,
    model: str,
    address: str | None,
    previous: str | None,
    action: Action,
    reason: str,
    override: str,
) -> None:
    connection.execute(
        "INSERT INTO deployments (model, address, previous, action, reason, override, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (model, address, previous, action, reason, override, time.time()),
    )
