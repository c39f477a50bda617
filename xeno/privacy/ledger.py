"""The privacy ledger: what every released version cost, for the life of the profile.

An entry is written before its version is released. A crash in between leaves privacy counted
that nobody can see, never the other way round. Entries compose: the total is the epsilon of
all noisy steps together, which is less than the sum of the runs' epsilons. Every unit of
privacy has an account of its own. Each entry is hashed with its predecessor's hash.

A run that was discarded or failed released nothing, so it has no entry and costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from xeno.errors import BudgetError, DamagedDataError, InvalidValueError
from xeno.privacy import rdp
from xeno.privacy.budget import DEFAULT_DELTA, DEFAULT_LIFETIME_EPSILON
from xeno.privacy.rdp import Mechanism

if TYPE_CHECKING:
    from xeno.store.profile import Profile

Unit = Literal["pair", "conversation", "client"]

_FIRST = "0" * 64
_BUDGET = "privacy_budget"


@dataclass(frozen=True)
class LedgerEntry:
    """One release. `epsilon_alone` is the run's own, `epsilon_total` that of the account."""

    seq: int
    run_id: str
    unit: Unit
    mechanism: Mechanism
    delta: float
    epsilon_alone: float
    epsilon_total: float
    version: str
    created: float
    previous_hash: str
    hash: str

    def computed_hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON of all fields but the hash itself."""
        fields: dict[str, Any] = asdict(self) | {"mechanism": self.mechanism.model_dump()}
        del fields["hash"]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


class PrivacyLedger:
    """The ledger of `profile`. Reading is light; `append` imports Opacus (and so torch)."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def entries(self, unit: Unit | None = None) -> list[LedgerEntry]:
        """All entries, oldest first; those of one account if `unit` is given."""
        rows = self._profile.db.read("SELECT * FROM privacy_ledger ORDER BY seq")
        found = [_entry(row) for row in rows]
        return [entry for entry in found if unit is None or entry.unit == unit]

    def history(self, unit: Unit = "pair") -> list[Mechanism]:
        """The mechanisms that `unit`'s account has paid for."""
        return [entry.mechanism for entry in self.entries(unit)]

    def entry_for(self, version: str) -> LedgerEntry | None:
        """The entry under which the version with this content address was released."""
        row = self._profile.db.one(
            "SELECT * FROM privacy_ledger WHERE version = ? ORDER BY seq DESC LIMIT 1", (version,)
        )
        return None if row is None else _entry(row)

    def spent(self, unit: Unit = "pair") -> float:
        """The epsilon of everything that `unit`'s account has paid for, at the budget's delta.

        Taken from the last entry, whose total was proved when it was written; computed by the
        light accountant where the budget's delta was changed since.
        """
        entries = self.entries(unit)
        if not entries:
            return 0.0
        delta = self.budget()[1]
        if entries[-1].delta == delta:
            return entries[-1].epsilon_total
        return rdp.epsilon([entry.mechanism for entry in entries], delta)

    def budget(self) -> tuple[float, float]:
        """The lifetime (epsilon, delta) of each account."""
        stored = self._profile.setting(_BUDGET)
        if stored is None:
            return DEFAULT_LIFETIME_EPSILON, DEFAULT_DELTA
        return float(stored["epsilon"]), float(stored["delta"])

    def set_budget(self, epsilon: float, delta: float = DEFAULT_DELTA) -> None:
        """Change the lifetime budget. What was spent stays spent.

        Raises:
            InvalidValueError: if epsilon is not in (0, 1000] or delta not in (0, 0.01).
        """
        if not 0 < epsilon <= 1000 or not 0 < delta < 1e-2:
            raise InvalidValueError(
                f"Epsilon {epsilon:g} with delta {delta:g} cannot be a budget.",
                "Epsilon must lie above 0 and be at most 1000, delta above 0 and below 0.01.",
                "Choose values in these ranges.",
            )
        self._profile.set_setting(_BUDGET, {"epsilon": epsilon, "delta": delta})

    def append(
        self,
        run_id: str,
        unit: Unit,
        mechanism: Mechanism,
        delta: float,
        version: str,
        place: int = 0,
    ) -> LedgerEntry:
        """Record that `mechanism` is about to be released as `version`.

        Both epsilons of the entry are proved at `delta`, and the budget is held at its own.
        Entries of two processes never interleave. A run that was interrupted after this and
        resumed comes to the very same version, which is paid for already: its entry is returned.

        Args:
            place: the number of this mechanism among those that made the version, from 0.

        Raises:
            BudgetError: if the account would exceed its lifetime budget; nothing is written.
            DamagedDataError: if the chain of earlier entries is broken.
        """
        while True:
            # The proof takes seconds, so nobody waits for it: what it was about is compared
            # again when the entry is written, and proved again where it has changed meanwhile.
            entries, budget = self.entries(), self.budget()
            self.verify()
            paid = [each for each in entries if (each.run_id, each.version) == (run_id, version)]
            for entry in paid[place : place + 1]:
                if (entry.unit, entry.mechanism, entry.delta) == (unit, mechanism, delta):
                    return entry
            proof = _prove(
                [e.mechanism for e in entries if e.unit == unit], mechanism, delta, budget
            )
            with self._profile.db.transaction() as connection:
                if self.entries() != entries or self.budget() != budget:
                    continue
                if proof.spent > budget[0]:
                    raise BudgetError(
                        "This version cannot be released.",
                        f"Together with earlier versions it would spend epsilon {proof.spent:.2f} "
                        f"of the lifetime budget of {budget[0]:g}.",
                        "Train with a smaller epsilon, or raise the budget if you accept less "
                        "privacy.",
                    )
                unsealed = LedgerEntry(
                    seq=len(entries) + 1,
                    run_id=run_id,
                    unit=unit,
                    mechanism=mechanism,
                    delta=delta,
                    epsilon_alone=proof.alone,
                    epsilon_total=proof.total,
                    version=version,
                    created=time.time(),
                    previous_hash=entries[-1].hash if entries else _FIRST,
                    hash="",
                )
                entry = replace(unsealed, hash=unsealed.computed_hash())
                connection.execute(
                    "INSERT INTO privacy_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        entry.seq,
                        entry.run_id,
                        entry.unit,
                        entry.mechanism.model_dump_json(),
                        entry.delta,
                        entry.epsilon_alone,
                        entry.epsilon_total,
                        entry.version,
                        entry.created,
                        entry.previous_hash,
                        entry.hash,
                    ),
                )
                return entry

    def verify(self) -> None:
        """Check that no entry was changed, removed from the middle or put in.

        Raises:
            DamagedDataError: naming the first entry that does not fit.
        """
        previous = _FIRST
        for number, entry in enumerate(self.entries(), start=1):
            intact = entry.seq == number and entry.previous_hash == previous
            if not intact or entry.hash != entry.computed_hash():
                raise DamagedDataError(
                    f"The privacy ledger is damaged at entry {number}.",
                    "The entry does not fit the hash chain, so the spent budget is not known.",
                    "Restore the profile from a backup, or start a profile of its own.",
                )
            previous = entry.hash


@dataclass(frozen=True)
class _Proof:
    """Epsilons of a mechanism: alone and with its account at its delta, and of the account at
    the budget's."""

    alone: float
    total: float
    spent: float


def _prove(
    history: list[Mechanism], mechanism: Mechanism, delta: float, budget: tuple[float, float]
) -> _Proof:
    from xeno.privacy.accountant import proved_epsilon

    after = [*history, mechanism]
    total = proved_epsilon(after, delta)
    spent = total if delta == budget[1] else proved_epsilon(after, budget[1])
    alone = proved_epsilon([mechanism], delta) if history else total
    return _Proof(alone, total, spent)


def _entry(row: Any) -> LedgerEntry:
    values = {name: row[name] for name in LedgerEntry.__dataclass_fields__}
    return LedgerEntry(**(values | {"mechanism": Mechanism.model_validate_json(row["mechanism"])}))
