"""The privacy ledger: what every released version cost, for the life of the profile.

An entry is written before its version is released. A crash in between leaves privacy counted
that nobody can see, never the other way round. Entries compose: the total is the epsilon of
all noisy steps together, which is less than the sum of the runs' epsilons. Every unit of
privacy has an account of its own, with its own budget. What the ledger last said is also kept
beside the key (`xeno.privacy.head`), so that restoring a backup gives nothing back.

A run that was discarded or failed released nothing, so it has no entry and costs nothing.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from xeno.errors import BudgetError, InvalidValueError, LockedProfileError
from xeno.privacy import rdp
from xeno.privacy.accounts import (
    PERIOD_MEANING,
    Spending,
    budget_of,
    period_start,
    spendings,
    total,
)
from xeno.privacy.budget import DEFAULT_DELTA
from xeno.privacy.entries import (
    FIRST_HASH,
    Budget,
    Kind,
    LedgerEntry,
    Period,
    Unit,
    from_row,
    require_whole,
    to_row,
)
from xeno.privacy.head import Head, HeadKeeper, missing_entry
from xeno.privacy.rdp import Mechanism
from xeno.store import files

if TYPE_CHECKING:
    from xeno.store.profile import Profile

__all__ = ["Budget", "LedgerEntry", "PrivacyLedger", "Unit"]

_OLD_BUDGET = "privacy_budget"
"""The setting that held the budget before the ledger did."""


@dataclass(frozen=True)
class _Proof:
    """Epsilons of a mechanism: alone and with its account at its delta, and of what counts
    against the budget at the budget's."""

    alone: float
    total: float
    spent: float


class PrivacyLedger:
    """The ledger of `profile`. Reading is light; `append` imports Opacus (and so torch)."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._keeper = HeadKeeper(profile)
        self._current = False

    # Reading ------------------------------------------------------------------------------

    def entries(self, unit: Unit | None = None) -> list[LedgerEntry]:
        """All entries, oldest first; those of one account if `unit` is given."""
        self._catch_up()
        return [each for each in self._read() if unit is None or each.unit in (unit, None)]

    def history(self, unit: Unit = "pair") -> list[Mechanism]:
        """The mechanisms that count against the budget of `unit` now."""
        return [each.mechanism for each in self._counted(self.entries(), unit)]

    def entry_for(self, version: str) -> LedgerEntry | None:
        """The entry under which the version with this content address was released."""
        row = self._profile.db.one(
            "SELECT * FROM privacy_ledger WHERE version = ? ORDER BY seq DESC LIMIT 1", (version,)
        )
        return None if row is None else from_row(row)

    def spent(self, unit: Unit = "pair") -> float:
        """The epsilon that counts against the budget of `unit`, at the budget's delta.

        Taken from the last entry, whose total was proved when it was written; computed by the
        light accountant where the entry does not say (another delta, a period, a restored
        backup).
        """
        entries, rules = self.entries(), self.rules(unit)
        if rules.period == "life":
            return self._total(entries, unit, rules.delta, spendings(entries, unit))
        return total(self._counted(entries, unit), rules.delta, rdp.epsilon)

    def lifetime(self, unit: Unit = "pair") -> float:
        """The epsilon of everything that was ever released under `unit`, over all periods and
        resets, at the budget's delta."""
        entries, delta = self.entries(), self.rules(unit).delta
        spent = spendings(entries, unit, life=True)
        if any(each.kind == "reset" and each.unit == unit for each in entries):
            return total(spent, delta, rdp.epsilon)
        return self._total(entries, unit, delta, spent)

    def rules(self, unit: Unit = "pair") -> Budget:
        """The budget of `unit` with its period."""
        found = budget_of(self._read(), unit)
        if found is None:
            return Budget.model_validate(self._profile.setting(_OLD_BUDGET) or {})
        return found

    def budget(self, unit: Unit = "pair") -> tuple[float, float]:
        """The (epsilon, delta) that `unit`'s account may spend in each of its periods."""
        rules = self.rules(unit)
        return rules.epsilon, rules.delta

    def verify(self) -> None:
        """Check that no entry was changed, removed from the middle or put in.

        Raises:
            DamagedDataError: naming the first entry that does not fit.
        """
        require_whole(self._read())

    # Writing ------------------------------------------------------------------------------

    def append(
        self,
        run_id: str,
        unit: Unit,
        mechanism: Mechanism,
        delta: float,
        version: str,
        kind: Kind = "run",
        stage: int = 1,
    ) -> LedgerEntry:
        """Record that `mechanism`, the run's stage number `stage`, is about to be released as
        `version`.

        Both epsilons of the entry are proved at `delta`, and the budget is held at its own.
        Entries of two processes never interleave. A run that was interrupted after this and
        resumed comes to the very same version, which is paid for already: its entry is returned.

        Raises:
            BudgetError: if the account would exceed its budget; nothing is written.
            DamagedDataError: if the chain of earlier entries is broken.
            LockedProfileError: if the keyring that remembers the head does not answer.
        """
        note = f"stage {stage}" if stage > 1 else ""
        paid = (run_id, version, unit, mechanism, delta, kind, note)
        while True:
            # Nobody waits for the proof: what it was about is compared again when the entry is
            # written, and proved again where it has changed meanwhile.
            entries = self.entries()
            require_whole(entries)
            for entry in entries:
                about = (entry.run_id, entry.version, entry.unit, entry.mechanism, entry.delta)
                if (*about, entry.kind, entry.note) == paid:
                    return entry
            proof = self._prove(entries, unit, mechanism, delta)
            with self._writing() as latest:
                if latest != entries:
                    continue
                rules = self.rules(unit)
                if proof.spent > rules.epsilon:
                    raise BudgetError(
                        "This version cannot be released.",
                        f"Together with earlier versions it would spend epsilon {proof.spent:.2f} "
                        f"of the {_NAMES[rules.period]} budget of {rules.epsilon:g}.",
                        "Train with a smaller epsilon, or raise the budget if you accept less "
                        "privacy.",
                    )
                entry = LedgerEntry(
                    seq=0,
                    run_id=run_id,
                    unit=unit,
                    mechanism=mechanism,
                    delta=delta,
                    epsilon_alone=proof.alone,
                    epsilon_total=proof.total,
                    version=version,
                    created=self._now(entries),
                    previous_hash="",
                    hash="",
                    kind=kind,
                    note=note,
                )
                return self._write(entries, entry)

    def declare(
        self,
        operation: str,
        epsilon: float,
        unit: Unit = "pair",
        mechanism: Mechanism | None = None,
    ) -> LedgerEntry:
        """Record something that a script did with the data. It has happened, so it is written
        even where it exceeds the budget; no run is granted anything then.

        Args:
            epsilon: of a pure operation (delta 0), which counts as the Gaussian that reveals at
                least as much; 0 reveals nothing; ignored where the `mechanism` is known.
        """
        with self._writing() as entries:
            rules, now = self.rules(unit), self._now(entries)
            kind: Kind = "declared" if mechanism is None else "operation"
            alone = epsilon if mechanism is None else rdp.epsilon([mechanism], rules.delta)
            known = mechanism or (dominating_gaussian(epsilon) if epsilon else None)
            account = spendings(entries, unit)
            if known is not None:
                account.append(Spending(now, known, epsilon if mechanism is None else None))
            entry = LedgerEntry(
                seq=0,
                run_id="",
                unit=unit,
                mechanism=known,
                delta=rules.delta,
                epsilon_alone=alone,
                epsilon_total=total(account, rules.delta, rdp.epsilon),
                version="",
                created=now,
                previous_hash="",
                hash="",
                kind=kind,
                note=operation,
            )
            return self._write(entries, entry)

    def set_budget(
        self,
        epsilon: float,
        delta: float = DEFAULT_DELTA,
        unit: Unit = "pair",
        period: Period = "life",
    ) -> None:
        """Change the budget of `unit`. What was spent stays spent; the change is an entry.

        Raises:
            InvalidValueError: if epsilon is not in (0, 1000], delta not in (0, 0.01), or there
                is no such period.
        """
        try:
            wanted = Budget(epsilon=epsilon, delta=delta, period=period)
        except ValidationError as error:
            raise InvalidValueError(
                f"Epsilon {epsilon:g} with delta {delta:g} per {period} cannot be a budget.",
                "Epsilon must lie above 0 and be at most 1000, delta above 0 and below 0.01, and "
                f"the period must be one of {', '.join(PERIOD_MEANING)}.",
                "Choose values in these ranges.",
            ) from error
        with self._writing() as entries:
            if wanted != self.rules(unit):
                self._write(entries, self._act(entries, unit, "budget", budget=wanted))

    def reset(self, unit: Unit, reason: str) -> LedgerEntry:
        """Let the account of `unit` count from nothing again (see `accounts.RESET_MEANING`).

        Raises:
            InvalidValueError: if no reason is given.
        """
        if not reason.strip():
            raise InvalidValueError(
                "The account was not reset.",
                "A reset stays in the ledger with its reason, and none was given.",
                "Say why earlier releases no longer matter.",
            )
        with self._writing() as entries:
            return self._write(entries, self._act(entries, unit, "reset", note=reason.strip()))

    # Inside -------------------------------------------------------------------------------

    def _prove(
        self, entries: Sequence[LedgerEntry], unit: Unit, mechanism: Mechanism, delta: float
    ) -> _Proof:
        """What `mechanism` would cost after `entries`."""
        from xeno.privacy.accountant import proved_epsilon

        new = Spending(self._now(entries), mechanism)
        account = [*spendings(entries, unit), new]
        counted = [*self._counted(entries, unit), new]
        together = total(account, delta, proved_epsilon)
        budget_delta = self.rules(unit).delta
        same = delta == budget_delta and len(counted) == len(account)
        return _Proof(
            alone=proved_epsilon([mechanism], delta) if len(account) > 1 else together,
            total=together,
            spent=together if same else total(counted, budget_delta, proved_epsilon),
        )

    @staticmethod
    def _total(
        entries: Sequence[LedgerEntry], unit: Unit, delta: float, spent: Sequence[Spending]
    ) -> float:
        """The epsilon of `spent`, the whole account of `unit`: as the last entry says it, or by
        the light accountant."""
        said = [each for each in entries if each.unit in (unit, None) and each.kind != "budget"]
        if said and said[-1].delta == delta:
            return said[-1].epsilon_total
        return total(spent, delta, rdp.epsilon)

    def _read(self) -> list[LedgerEntry]:
        rows = self._profile.db.read("SELECT * FROM privacy_ledger ORDER BY seq")
        return [from_row(row) for row in rows]

    def _counted(self, entries: Sequence[LedgerEntry], unit: Unit) -> list[Spending]:
        start = period_start(self.rules(unit).period, self._now(entries))
        return [each for each in spendings(entries, unit) if each.created >= start]

    @staticmethod
    def _now(entries: Sequence[LedgerEntry]) -> float:
        """The time, which does not go back behind the last entry when the clock is changed."""
        return max(time.time(), entries[-1].created if entries else 0.0)

    def _catch_up(self) -> None:
        """Compare with the head, once for this object. A keyring that does not answer hides a
        restored backup from a reader; nothing can be written meanwhile."""
        if self._current:
            return
        with contextlib.suppress(LockedProfileError):
            # Most often the head is found as it should be, and nobody has to wait for a writer.
            self._current = self._knows(self._read(), self._keeper.read())
            if not self._current:
                with self._writing():
                    pass

    @contextlib.contextmanager
    def _writing(self) -> Iterator[list[LedgerEntry]]:
        """The verified entries, while no other process or thread writes any."""
        with files.locked(self._profile.paths.folder / "ledger.lock"):
            entries, head = self._read(), self._keeper.read()
            if not self._knows(entries, head):
                require_whole(entries)
                if head is None or (missing := missing_entry(entries, head)) is None:
                    self._keeper.write(Head.of(entries))
                else:
                    self._write(entries, missing)
                    entries = self._read()
            self._current = True
            yield entries

    @staticmethod
    def _knows(entries: Sequence[LedgerEntry], head: Head | None) -> bool:
        """Whether `head` is that of `entries`."""
        if head is None:
            return not entries
        return bool(entries) and entries[-1].hash == head.entry.hash

    def _act(
        self, entries: Sequence[LedgerEntry], unit: Unit, kind: Kind, **more: Any
    ) -> LedgerEntry:
        """An entry that releases nothing."""
        return LedgerEntry(
            seq=0,
            run_id="",
            unit=unit,
            mechanism=None,
            delta=self.rules(unit).delta,
            epsilon_alone=0.0,
            epsilon_total=0.0,
            version="",
            created=self._now(entries),
            previous_hash="",
            hash="",
            kind=kind,
            **more,
        )

    def _write(self, entries: Sequence[LedgerEntry], wanted: LedgerEntry) -> LedgerEntry:
        """Put `wanted` at the end of the chain: first into the head, then into the database."""
        require_whole(entries)
        entry = wanted
        if not entry.hash:
            last = entries[-1].hash if entries else FIRST_HASH
            entry = replace(wanted, seq=len(entries) + 1, previous_hash=last)
            entry = replace(entry, hash=entry.computed_hash())
        before = self._keeper.read()
        self._keeper.write(Head.of([*entries, entry]))
        try:
            row = to_row(entry)
            names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
            with self._profile.db.transaction() as connection:
                connection.execute(f"INSERT INTO privacy_ledger ({names}) VALUES ({places})", row)
        except BaseException:
            if before is not None:  # otherwise the entry counts, although nothing is released
                self._keeper.write(before)
            raise
        return entry


def dominating_gaussian(epsilon: float) -> Mechanism:
    """The Gaussian that reveals at least as much as any operation with pure `epsilon`.

    Randomised response is the worst of these (Kairouz, Oh and Viswanath 2015, arXiv 1311.0776);
    a Gaussian whose trade-off curve (Dong, Roth and Su 2019, arXiv 1905.02383) passes through
    the corner of randomised response's lies below it everywhere, being convex: Phi(-mu / 2) =
    1 / (1 + exp(epsilon)).

    Raises:
        InvalidValueError: if epsilon is not in (0, 30].
    """
    from statistics import NormalDist

    if not (math.isfinite(epsilon) and 0 < epsilon <= 30):
        raise InvalidValueError(
            f"Epsilon {epsilon!r} cannot be kept in the ledger.",
            "What an operation spends is a number above 0 and at most 30.",
            "Give the epsilon that its noise guarantees.",
        )
    mu = -2 * NormalDist().inv_cdf(1 / (1 + math.exp(epsilon)))
    return Mechanism(sample_rate=1.0, noise_multiplier=1 / mu, steps=1)


_NAMES: dict[Period, str] = {
    "life": "lifetime",
    "year": "yearly",
    "quarter": "quarterly",
    "month": "monthly",
}
