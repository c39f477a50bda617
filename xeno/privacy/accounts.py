"""From the entries of the ledger to what an account has spent, now and over its life. Light.

Entries compose: the total is the epsilon of all noisy steps together, which is less than the
sum of the epsilons.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from xeno.privacy.entries import Account, Budget, LedgerEntry, Period, Unit
from xeno.privacy.rdp import Mechanism

UNITS: tuple[Unit, ...] = get_args(Unit)

PERIOD_MEANING: dict[Period, str] = {
    "life": "The budget holds for all versions together, for as long as the profile exists.",
    "month": "The budget is granted anew each calendar month.",
    "quarter": "The budget is granted anew each calendar quarter.",
    "year": "The budget is granted anew each calendar year.",
}
PERIOD_WARNING = (
    "A period limits how fast privacy is spent, not how much: somebody who has the versions of "
    "several periods learns what all of them together reveal, which is the lifetime total."
)
RESET_MEANING = (
    "A reset lets the budget count from nothing again. It takes nothing back: what earlier "
    "versions reveal stays revealed, the lifetime total goes on counting it, and the reset stays "
    "in the ledger for good. It makes sense when all earlier versions are deleted and nobody "
    "else has them, or when the pairs were replaced by others."
)

_AT_MOST = 4
"""Sampled mechanisms that a compact account may hold: it must fit into a keyring's entry."""
_DIGITS = 5

Prove = Callable[[Sequence[Mechanism], float], float]


@dataclass(frozen=True)
class Spending:
    """One release in an account. `declared` is the epsilon of a pure operation of a script."""

    created: float
    mechanism: Mechanism
    declared: float | None = None


def spendings(entries: Iterable[LedgerEntry], unit: Unit, *, life: bool = False) -> list[Spending]:
    """What counts against the budget of `unit`, oldest first; over all resets if `life`."""
    found: list[Spending] = []
    for entry in entries:
        if entry.accounts is not None:
            account = entry.accounts.get(unit, Account())
            known = account.life if life else account.spent
            found = [Spending(entry.created, mechanism) for mechanism in known]
        elif entry.unit != unit:
            continue
        elif entry.kind == "reset" and not life:
            found = []
        elif entry.mechanism is not None:
            declared = entry.epsilon_alone if entry.kind == "declared" else None
            found.append(Spending(entry.created, entry.mechanism, declared))
    return found


def total(spent: Sequence[Spending], delta: float, prove: Prove) -> float:
    """The epsilon of all of `spent` together at `delta`, proved by `prove`.

    The least of two bounds that both hold: every release as the Gaussian it is or is dominated
    by, and the pure operations added up beside the rest (basic composition).
    """
    composed = prove([each.mechanism for each in spent], delta) if spent else 0.0
    declared = [each.declared for each in spent if each.declared is not None]
    if not declared:
        return composed
    rest = [each.mechanism for each in spent if each.declared is None]
    return min(composed, sum(declared) + (prove(rest, delta) if rest else 0.0))


def budget_of(entries: Iterable[LedgerEntry], unit: Unit) -> Budget | None:
    """The budget of `unit` as the ledger last set it; None where it never did."""
    found: Budget | None = None
    for entry in entries:
        if entry.accounts is not None:
            found = entry.accounts.get(unit, Account()).budget
        elif entry.kind == "budget" and entry.unit == unit:
            found = entry.budget
    return found


def accounts_of(entries: Sequence[LedgerEntry]) -> dict[Unit, Account]:
    """The accounts in few words, each mechanism at least as costly as what it stands for."""
    found: dict[Unit, Account] = {}
    for unit in UNITS:
        account = Account(
            spent=compact([each.mechanism for each in spendings(entries, unit)]),
            life=compact([each.mechanism for each in spendings(entries, unit, life=True)]),
            budget=budget_of(entries, unit),
        )
        if account != Account():
            found[unit] = account
    return found


def both(one: Account, other: Account) -> Account:
    """An account that has spent what `one` and `other` have, with the smaller of their budgets."""
    budgets = [each.budget for each in (one, other) if each.budget is not None]
    return Account(
        spent=compact([*one.spent, *other.spent]),
        life=compact([*one.life, *other.life]),
        budget=min(budgets, key=lambda each: each.epsilon) if budgets else None,
    )


def compact(mechanisms: Sequence[Mechanism], at_most: int = _AT_MOST) -> tuple[Mechanism, ...]:
    """At most `at_most` sampled mechanisms and one full one that cost at least as much.

    Full batches compose exactly: one Gaussian with the sum of steps / sigma^2. Of the sampled
    ones, the two that are most alike become one with the larger rate, the smaller noise and
    the steps of both, until few are left: more is sampled and less is hidden, so it dominates.
    """
    squares = sum(m.steps / m.noise_multiplier**2 for m in mechanisms if m.sample_rate == 1)
    full = [_mechanism(1.0, 1 / math.sqrt(squares), 1)] if squares else []
    sampled: list[Mechanism] = []
    for each in mechanisms:
        if each.sample_rate < 1:
            _merge(sampled, _mechanism(each.sample_rate, each.noise_multiplier, each.steps))
    while len(sampled) > at_most:
        alike = min(
            ((a, b) for i, a in enumerate(sampled) for b in sampled[:i]),
            key=lambda pair: _distance(*pair),
        )
        for each in alike:
            sampled.remove(each)
        rate = max(each.sample_rate for each in alike)
        noise = min(each.noise_multiplier for each in alike)
        _merge(sampled, _mechanism(rate, noise, sum(each.steps for each in alike)))
    return (*full, *sorted(sampled, key=lambda m: (m.sample_rate, m.noise_multiplier)))


def period_start(period: Period, now: float) -> float:
    """Unix seconds at which the calendar period (UTC) of `now` began; minus infinity for life."""
    if period == "life":
        return -math.inf
    date = datetime.datetime.fromtimestamp(now, datetime.UTC)
    month = {"month": date.month, "quarter": 3 * ((date.month - 1) // 3) + 1, "year": 1}[period]
    return datetime.datetime(date.year, month, 1, tzinfo=datetime.UTC).timestamp()


def _merge(sampled: list[Mechanism], new: Mechanism) -> None:
    """Add `new`, or its steps to those of an equal one."""
    for i, known in enumerate(sampled):
        if (known.sample_rate, known.noise_multiplier) == (new.sample_rate, new.noise_multiplier):
            sampled[i] = known.model_copy(update={"steps": known.steps + new.steps})
            return
    sampled.append(new)


def _mechanism(rate: float, noise: float, steps: int) -> Mechanism:
    """The mechanism with few digits, rounded to the costly side."""
    return Mechanism(
        sample_rate=min(1.0, _rounded(rate, math.ceil)),
        noise_multiplier=_rounded(noise, math.floor),
        steps=steps,
    )


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    digits = _DIGITS - 1 - math.floor(math.log10(value))
    scaled = value * 10.0**digits
    near = round(scaled)
    # A number that already has few digits stays as it is: 0.3 is not rounded to 0.30001.
    whole = near if math.isclose(scaled, near, rel_tol=1e-12) else towards(scaled)
    return float(f"{whole}e{-digits}")


def _distance(one: Mechanism, other: Mechanism) -> float:
    rates = abs(math.log(one.sample_rate / other.sample_rate))
    return rates + abs(math.log(one.noise_multiplier / other.noise_multiplier))
