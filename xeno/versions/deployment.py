"""Which version of the assistant answers: deploying, trying, promoting and rolling back.

Every change is one transaction (`xeno.versions.activation`), so a crash leaves the old version
active or the new one. The next reply of any process uses what was deployed.
"""

from __future__ import annotations

from xeno.errors import DamagedDataError, InvalidValueError
from xeno.store.profile import Profile
from xeno.versions import gate, in_chat
from xeno.versions.activation import (
    SERVED,
    Activation,
    DeploymentRecord,
    admit,
    end_canary,
)
from xeno.versions.lifecycle import STATE_WORDS, State, move
from xeno.versions.records import ASSISTANT
from xeno.versions.registry import Registry, Version

__all__ = ["BASE", "Deployment", "DeploymentRecord"]

BASE = "base"


class Deployment:
    """What answers in `profile`."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._registry = Registry(profile)
        self._activation = Activation(profile)

    def active(self) -> Version | None:
        """The version that answers, None for the base model."""
        return self._version(self._activation.address())

    def canary(self) -> Version | None:
        """The version that is tried in a part of the replies, if there is one."""
        return self._version(self._activation.address("canary"))

    def history(self) -> list[DeploymentRecord]:
        """All changes, the oldest first."""
        return self._activation.history()

    def deploy(self, ref: int | str, reason: str = "", *, override: str = "") -> Version | None:
        """Let `ref` ("base", or as in `Registry.get`) answer from the next reply on.

        Args:
            override: why a version answers that the gate has not passed; kept in the history.
                One that is damaged never does.

        Raises:
            InvalidValueError: if there is no such version, or the gate has not passed it.
            DamagedDataError: if it is damaged; what answered before still does.
        """
        version = None if ref == BASE else self._registry.get(ref)
        if version is not None:
            self._require_whole(version)
            if not override:
                _require_passed(version)
        address = None if version is None else version.address
        self._activation.change(address, "deploy", reason, override)
        return self.active()

    def try_out(self, ref: int | str, reason: str = "", *, override: str = "") -> Version:
        """Make `ref` the canary, in place of the one there may be: it answers a part of the
        replies, which `xeno.experiments` chooses. Raises as `deploy` does."""
        return self.try_verified(self.verified(ref, override=override), reason, override=override)

    def verified(self, ref: int | str, *, override: str = "") -> Version:
        """`ref`, found whole, and passed by the gate unless there is an `override`. Raises as
        `deploy` does. By itself, in no transaction: one that is found damaged is quarantined,
        and that must stay."""
        version = self._registry.get(ref)
        self._require_whole(version)
        if not override:
            _require_passed(version)
        return version

    def try_verified(self, version: Version, reason: str = "", *, override: str = "") -> Version:
        """`try_out` of what `verified` gave; may be called in a transaction.

        Raises:
            InvalidValueError: it is gone or quarantined meanwhile, or answers already.
        """
        with self._profile.db.transaction() as connection:
            version = self._registry.get(version.address)  # as it is now
            if version.state == "active":
                raise InvalidValueError(
                    f"{version.label} cannot be tried.", "It answers all replies already."
                )
            if version.state != "canary":
                end_canary(connection, ASSISTANT, "retired", f"{version.label} is tried instead.")
                admit(connection, version.address, override)
                move(connection, version.address, "canary", override or reason)
        return self._registry.get(version.address)

    def promote(self, reason: str = "") -> Version:
        """Let the canary answer all replies.

        Raises:
            InvalidValueError: if there is no canary.
            DamagedDataError: if it is damaged; what answered before still does.
        """
        canary = self.canary()
        if canary is None:
            raise InvalidValueError(
                "There is no canary to promote.", "No version is being tried.", "Try one first."
            )
        self._require_whole(canary)
        with self._profile.db.transaction():
            if self._activation.address("canary") != canary.address:
                raise InvalidValueError(
                    "Nothing was promoted.",
                    f"{canary.label} ceased to be the canary just now.",
                    "Look at 'xeno current' first.",
                )
            self._activation.change(canary.address, "promote", reason)
        return self._registry.get(canary.address)

    def rollback(self, ref: int | str | None = None, reason: str = "") -> Version | None:
        """Undo the last change: end the canary where one is tried, else go back to what answered
        before. With `ref` go back to that one ("base" too), and end the canary. A test in the
        chat ends too; with nothing to go back to, only that.

        Going back again goes further back; what was rolled back is never returned to by itself.

        Raises:
            InvalidValueError: if there is nothing to go back to, no such version, or one that
                never passed the gate.
            DamagedDataError: if it is damaged; what answered before still does.
        """
        if ref is None:
            with self._profile.db.transaction() as connection:
                if end_canary(connection, ASSISTANT, "rolled_back", reason) is not None:
                    return self.active()
                can_go_back = self._activation.can_go_back()
                if not can_go_back and in_chat.end(self._profile.db, "it was rolled back."):
                    return self.active()
        address = self._activation.previous() if ref is None else self._address(ref)
        if address is not None:
            version = self._registry.get(address)
            self._require_whole(version)
            if version.state not in SERVED:
                raise _not_passed(version)
        with self._profile.db.transaction() as connection:
            if self._activation.address("canary") != address:
                end_canary(connection, ASSISTANT, "rolled_back", reason)
            self._activation.change(address, "rollback", reason)
        return self.active()

    def fall_back(self, version: Version, reason: str) -> Version | None:
        """Quarantine `version`, found damaged; where it answered, the last one before it that
        is whole answers in its place, or the base model (None). What answers then."""
        return self._version(self._activation.fall_back(version.address, reason))

    def set_state(self, ref: int | str, state: State, reason: str = "") -> Version:
        """Bring a version that does not answer into `state`, as `lifecycle.NEXT` allows.

        Raises:
            InvalidValueError: if it cannot go there, or a version would begin or cease to
                answer: that is what `deploy`, `promote` and `rollback` are for.
        """
        version = self._registry.get(ref)
        if version.state == state:
            return version
        if state == "canary":
            return self.try_out(version.address, reason)
        if state == "active" or version.state == "active":
            raise InvalidValueError(
                f"{version.label} was not changed.",
                f"It is {STATE_WORDS[version.state]}; what answers is not set as a state.",
                "Deploy, promote or roll back.",
            )
        with self._profile.db.transaction() as connection:
            move(connection, version.address, state, reason)
        return self._registry.get(version.address)

    def _require_whole(self, version: Version) -> None:
        report = gate.check(self._profile, version)
        if not report.passed:
            raise DamagedDataError(
                f"{version.label} was not deployed; it is quarantined.",
                report.reason,
                "Deploy another version, or train again.",
            )

    def _version(self, address: str | None) -> Version | None:
        return None if address is None else self._registry.get(address)

    def _address(self, ref: int | str) -> str | None:
        return None if ref == BASE else self._registry.get(ref).address


def _require_passed(version: Version) -> None:
    if version.state not in SERVED or version.gate.get("passed") is False:
        raise _not_passed(version)


def _not_passed(version: Version) -> InvalidValueError:
    reason = gate.reason_of(version)
    return InvalidValueError(
        f"{version.label} was not deployed.",
        f"It did not pass the gate: {reason}" if reason else "It has not been through the gate.",
        f"Read the report with 'xeno deploy {version.label} --dry-run'; 'xeno deploy "
        f'{version.label} --override "why"\' lets it answer all the same.',
    )
