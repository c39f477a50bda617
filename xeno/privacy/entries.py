"""What stands in the privacy ledger: its entries, how they are chained, and the budget's form.

Each entry is hashed with its predecessor's hash, so that none can be changed, taken from the
middle or put in without a trace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from xeno.errors import DamagedDataError
from xeno.privacy.budget import DEFAULT_DELTA, DEFAULT_LIFETIME_EPSILON
from xeno.privacy.rdp import Mechanism

Unit = Literal["pair", "conversation", "client"]
"""What one guarantee hides: one pair, all pairs of one conversation, all of one client."""

Kind = Literal["run", "round", "operation", "declared", "budget", "reset", "remembered"]
"""What an entry records.

run, round: a release of noisy steps, by a training run or in a federated round.
operation: something a script did with noise that is known.
declared: something a script did, of which only its pure epsilon is known; its mechanism is the
    Gaussian that reveals at least as much.
budget: a change of the budget.
reset: the account counts from nothing again; what was revealed stays revealed.
remembered: a restored backup was found; the accounts are what was kept beside the key.
"""

Period = Literal["life", "year", "quarter", "month"]

FIRST_HASH = "0" * 64
"""What the first entry has for its predecessor's hash."""


class Budget(BaseModel):
    """How much an account may spend in each period; calendar periods are those of UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: float = Field(default=DEFAULT_LIFETIME_EPSILON, gt=0, le=1000)
    delta: float = Field(default=DEFAULT_DELTA, gt=0, lt=1e-2)
    period: Period = "life"


class Account(BaseModel):
    """All that one unit's account has spent, in few mechanisms that cost at least as much.

    Attributes:
        spent: since the last reset, which counts against the budget.
        life: over all resets.
        budget: as last set; None where it never was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spent: tuple[Mechanism, ...] = ()
    life: tuple[Mechanism, ...] = ()
    budget: Budget | None = None


Accounts = Mapping[Unit, Account]
_ACCOUNTS: TypeAdapter[dict[Unit, Account]] = TypeAdapter(dict[Unit, Account])


@dataclass(frozen=True)
class LedgerEntry:
    """One line of the ledger.

    Attributes:
        unit: whose account it is; None where it states all of them.
        mechanism: what was released; None where nothing was.
        epsilon_alone, epsilon_total: of this entry, and of its account with it, at `delta`.
        version: the content address of what was released; empty where nothing was.
        created: Unix seconds, never before the previous entry's.
    """

    seq: int
    run_id: str
    unit: Unit | None
    mechanism: Mechanism | None
    delta: float
    epsilon_alone: float
    epsilon_total: float
    version: str
    created: float
    previous_hash: str
    hash: str
    kind: Kind = "run"
    budget: Budget | None = None
    accounts: Accounts | None = None
    note: str = ""

    def computed_hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON of all fields but the hash itself.

        The fields that the first release did not have are left out where they say nothing, so
        that its entries keep their hashes.
        """
        values = self.values()
        del values["hash"]
        for name, nothing in _LATER.items():
            if values[name] == nothing:
                del values[name]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def values(self) -> dict[str, Any]:
        """The fields by name, as JSON can hold them."""
        found: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        found["mechanism"] = None if self.mechanism is None else self.mechanism.model_dump()
        found["budget"] = None if self.budget is None else self.budget.model_dump()
        if self.accounts is not None:
            found["accounts"] = _ACCOUNTS.dump_python(dict(self.accounts), mode="json")
        return found

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> LedgerEntry:
        """The entry that `values` gave. Raises ValueError for what cannot be one."""
        found = {each.name: values[each.name] for each in fields(cls)}
        if found["mechanism"] is not None:
            found["mechanism"] = Mechanism.model_validate(found["mechanism"])
        if found["budget"] is not None:
            found["budget"] = Budget.model_validate(found["budget"])
        if found["accounts"] is not None:
            found["accounts"] = _ACCOUNTS.validate_python(found["accounts"])
        return cls(**found)


_LATER: dict[str, Any] = {"kind": "run", "budget": None, "accounts": None, "note": ""}
_JSON = ("mechanism", "budget", "accounts")


def to_row(entry: LedgerEntry) -> dict[str, Any]:
    """The columns of `entry`."""
    values = entry.values()
    return values | {
        name: None if values[name] is None else json.dumps(values[name]) for name in _JSON
    }


def from_row(row: Any) -> LedgerEntry:
    """The entry in a row of the table."""
    values = {name: row[name] for name in LedgerEntry.__dataclass_fields__}
    return LedgerEntry.of(
        values
        | {name: None if values[name] is None else json.loads(values[name]) for name in _JSON}
    )


def require_whole(entries: Sequence[LedgerEntry]) -> None:
    """Check that no entry was changed, removed from the middle or put in.

    Raises:
        DamagedDataError: naming the first entry that does not fit.
    """
    previous = FIRST_HASH
    for number, entry in enumerate(entries, start=1):
        intact = entry.seq == number and entry.previous_hash == previous
        if not intact or entry.hash != entry.computed_hash():
            raise DamagedDataError(
                f"The privacy ledger is damaged at entry {number}.",
                "The entry does not fit the hash chain, so the spent budget is not known.",
                "Restore the profile from a backup, or start a profile of its own.",
            )
        previous = entry.hash
