"""Which version answers: deploying, rolling back, and the history of both.

Every change is one transaction, so a crash leaves the old version active or the new one. All
processes read the same rows: the next reply of any of them uses what was deployed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from xeno.errors import DamagedDataError, InvalidValueError
from xeno.store.profile import Profile
from xeno.versions import gate
from xeno.versions.registry import Registry, Version

BASE = "base"
Action = Literal["deploy", "rollback", "fallback"]


@dataclass(frozen=True)
class DeploymentRecord:
    """One change. `address` and `previous` are content addresses, None for the base model."""

    seq: int
    address: str | None
    previous: str | None
    action: Action
    reason: str
    created: float


class Deployment:
    """What answers in `profile`."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._registry = Registry(profile)

    def active(self) -> Version | None:
        """The version that answers, None for the base model."""
        row = self._profile.db.one("SELECT address FROM versions WHERE state = 'active'")
        return None if row is None else self._registry.get(row["address"])

    def history(self) -> list[DeploymentRecord]:
        """All changes, the oldest first."""
        rows = self._profile.db.read("SELECT * FROM deployments ORDER BY seq")
        return [DeploymentRecord(**{key: row[key] for key in row.keys()}) for row in rows]  # noqa: SIM118

    def deploy(self, ref: int | str, reason: str = "") -> Version | None:
        """Let `ref` ("base", or as in `Registry.get`) answer from the next reply on.

        Raises:
            InvalidValueError: if there is no such version.
            DamagedDataError: if it does not pass the gate; what answered before still does.
        """
        return self._change(self._address(ref), "deploy", reason)

    def rollback(self, ref: int | str | None = None, reason: str = "") -> Version | None:
        """Go back to what answered before, or to the named one.

        Going back again goes further back; what was rolled back is never returned to by itself.

        Raises:
            InvalidValueError: if there is nothing to go back to, or no such version.
            DamagedDataError: if it does not pass the gate; what answered before still does.
        """
        return self._change(
            self._previous() if ref is None else self._address(ref), "rollback", reason
        )

    def _change(self, address: str | None, action: Action, reason: str) -> Version | None:
        if address is not None:
            self._pass_gate(self._registry.get(address))
        with self._profile.db.transaction() as connection:
            if address is not None:
                there = connection.execute(
                    "SELECT state FROM versions WHERE address = ?", (address,)
                ).fetchone()
                if there is None or there["state"] in ("candidate", "quarantined"):
                    raise InvalidValueError(
                        "Nothing was changed.",
                        "Another process deleted or quarantined the version meanwhile.",
                        "Choose another version.",
                    )
            before = connection.execute(
                "SELECT address FROM versions WHERE state = 'active'"
            ).fetchone()
            previous = before["address"] if before else None
            if previous == address:
                return self.active()
            connection.execute(
                "UPDATE versions SET state = ? WHERE state = 'active'",
                ("rolled_back" if action == "rollback" else "retired",),
            )
            connection.execute("UPDATE versions SET state = 'active' WHERE address = ?", (address,))
            connection.execute(
                "INSERT INTO deployments (address, previous, action, reason, created) "
                "VALUES (?, ?, ?, ?, ?)",
                (address, previous, action, reason, time.time()),
            )
        return self.active()

    def _pass_gate(self, version: Version) -> None:
        report = gate.check(self._profile, version)
        if not report.passed:
            raise DamagedDataError(
                f"{version.label} was not deployed; it is quarantined.",
                report.reason,
                "Deploy another version, or train again.",
            )

    def _address(self, ref: int | str) -> str | None:
        return None if ref == BASE else self._registry.get(ref).address

    def _previous(self) -> str | None:
        """What answered before the active one: the history replayed as a stack."""
        stack: list[str | None] = [None]
        for record in self.history():
            if record.action == "rollback" and record.address in stack:
                while stack[-1] != record.address:
                    stack.pop()
            elif stack[-1] != record.address:
                stack.append(record.address)
        usable = {each.address for each in self._registry.all() if each.state != "quarantined"}
        current = stack.pop()
        while stack and (stack[-1] == current or stack[-1] not in {None, *usable}):
            stack.pop()
        if not stack:
            raise InvalidValueError(
                "There is nothing to roll back to.",
                "The base model answers, and no version that could answer did before it.",
                "Deploy a version first.",
            )
        return stack[-1]
