"""A version tried in a part of the conversations, and taken back by itself where it does worse.

After every reply (`Canaries.watch`, in the transaction that keeps the reply) the rules of
`canary_rules` are read; the first that holds ends the trial. The version's state changes by the
same steps as by hand (`xeno.versions.deployment`); what was known is written down with every
decision.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from xeno.errors import InvalidValueError
from xeno.experiments import decisions
from xeno.experiments.canary_rules import Limits, Standing, broken_rule, standing_of
from xeno.experiments.decisions import Decision
from xeno.experiments.trials import replies
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.lifecycle import STATE_WORDS
from xeno.versions.registry import Version

_MEMORY_SHARE = 0.9  # of the machine's memory, where no limit is given
_SETTLED = """
SELECT canaries.*, versions.state FROM canaries
LEFT JOIN versions ON versions.address = canaries.address AND deleted IS NULL
WHERE ended IS NULL AND coalesce(state, '') <> 'canary'
"""


@dataclass(frozen=True)
class Canary:
    """A trial. `traffic` (0 to 1) of the conversations get the version `address`."""

    id: int
    address: str
    traffic: float
    limits: Limits
    created: float


class Canaries:
    """The trials of one profile, one at a time."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._db = profile.db
        self._deployment = Deployment(profile)

    def start(
        self,
        ref: int | str,
        traffic: float,
        *,
        seconds: float = Limits.seconds,
        memory_bytes: float | None = None,
        override: str = "",
    ) -> Canary:
        """Let `ref` answer in `traffic` (above 0, up to 1) of the conversations from now on, in
        place of the canary there may be.

        Args:
            seconds: the limit of the mean time of a reply.
            memory_bytes: the limit of the host's memory; None is 90 % of the machine's.
            override: as in `Deployment.deploy`.

        Raises:
            InvalidValueError: no such share or version, it did not pass the gate, it answers
                already, or a test goes on in the chat.
            DamagedDataError: if it is damaged.
        """
        _require_share(traffic)
        limits = Limits(memory_bytes=memory_bytes or _default_memory(), seconds=seconds)
        version = self._deployment.verified(ref, override=override)
        with self._db.transaction() as connection:
            self._require_no_test()
            self.settle()
            earlier = self.current()
            self._deployment.try_verified(version, "A canary was started.", override=override)
            now = time.time()
            if earlier is not None:
                self._close(earlier, "replaced", f"{version.label} is tried instead.")
            canary_id = connection.execute(
                "INSERT INTO canaries (address, traffic, limits, created) VALUES (?, ?, ?, ?)",
                (version.address, traffic, json.dumps(asdict(limits)), now),
            ).lastrowid
            reason = f"{version.label} answers in {100 * traffic:.3g} % of the conversations."
            numbers = {"traffic": traffic, "limits": asdict(limits), "canary": canary_id}
            decisions.write(self._db, version.address, "started", reason, numbers)
        return Canary(int(canary_id or 0), version.address, traffic, limits, now)

    def current(self) -> Canary | None:
        """The trial that goes on."""
        row = self._db.one(
            "SELECT canaries.* FROM canaries JOIN versions "
            "ON versions.address = canaries.address WHERE ended IS NULL AND state = 'canary'"
        )
        if row is None:
            return None
        limits = Limits(**json.loads(row["limits"]))
        return Canary(row["id"], row["address"], row["traffic"], limits, row["created"])

    def label(self, canary: Canary) -> str:
        """What the user calls the version that is tried, such as "v3"."""
        row = self._db.one("SELECT number FROM versions WHERE address = ?", (canary.address,))
        return canary.address[:12] if row is None else f"v{row['number']}"

    def promote(self, reason: str = "") -> Version:
        """Let the canary answer everywhere.

        Raises:
            InvalidValueError: if there is none.
            DamagedDataError: if it is damaged; what answered before still does.
        """
        canary = self.current()
        version = self._deployment.promote(reason)  # by itself: it may quarantine
        if canary is not None:
            self._close(canary, "promoted", reason or f"{version.label} was promoted.")
        return version

    def stop(self, reason: str = "") -> None:
        """Take the canary back by hand. Raises InvalidValueError if there is none."""
        with self._db.transaction():
            canary = self.current()
            if canary is None:
                raise InvalidValueError(
                    "There is no canary to take back.", "No version is being tried."
                )
            reason = reason or "It was taken back by hand."
            self._deployment.set_state(canary.address, "rolled_back", reason)
            self._close(canary, "rolled_back", reason)

    def standing(self, canary: Canary) -> Standing:
        """What is known of `canary` now."""
        return standing_of(replies(self._db, "canary", canary.id), canary.limits.alpha)

    def watch(self) -> Decision | None:
        """Take the canary back if a rule says so; the decision. To be called after each of its
        requests, in the transaction that keeps it."""
        self.settle()
        canary = self.current()
        if canary is None:
            return None
        standing = self.standing(canary)
        reason = broken_rule(canary.limits, standing)
        if reason is None:
            return None
        with self._db.transaction():
            self._deployment.set_state(canary.address, "rolled_back", reason)
            return self._close(canary, "rolled_back", reason, automatic=True, standing=standing)

    def settle(self) -> None:
        """Close the trial whose version was promoted, rolled back or deleted by other means."""
        if self._db.one(_SETTLED) is None:
            return
        with self._db.transaction():
            row = self._db.one(_SETTLED)
            if row is None:
                return  # another process was quicker
            limits = Limits(**json.loads(row["limits"]))
            canary = Canary(row["id"], row["address"], row["traffic"], limits, row["created"])
            promoted = row["state"] == "active"
            words = STATE_WORDS.get(row["state"], "deleted")
            reason = "It was deployed." if promoted else f"It is {words} now."
            self._close(canary, "promoted" if promoted else "rolled_back", reason)

    def _close(
        self,
        canary: Canary,
        outcome: decisions.Action,
        reason: str,
        *,
        automatic: bool = False,
        standing: Standing | None = None,
    ) -> Decision:
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE canaries SET ended = ?, outcome = ? WHERE id = ?",
                (time.time(), outcome, canary.id),
            )
            numbers = {
                **asdict(standing or self.standing(canary)),
                "traffic": canary.traffic,
                "limits": asdict(canary.limits),
            }
            return decisions.write(
                self._db, canary.address, outcome, reason, numbers, automatic=automatic
            )

    def _require_no_test(self) -> None:
        row = self._db.one("SELECT name FROM ab_tests WHERE in_chat = 1 AND ended IS NULL")
        if row is not None:
            raise InvalidValueError(
                "No canary was started.",
                f"The test {row['name']!r} goes on in the chat, and a conversation can take "
                "part in one trial only.",
                f"End it first: xeno ab end {row['name']}.",
            )


def _require_share(traffic: float) -> None:
    if isinstance(traffic, bool) or not isinstance(traffic, int | float) or not 0 < traffic <= 1:
        raise InvalidValueError(
            f"{traffic!r} is not a share of the conversations.",
            "A share is above 0 and up to 1.",
            "Use 0.1 to try the version in one conversation of ten.",
        )


def _default_memory() -> float:
    import psutil

    return _MEMORY_SHARE * float(psutil.virtual_memory().total)
