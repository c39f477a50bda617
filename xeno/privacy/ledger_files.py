"""The ledger as a file: the same rows as CSV and as JSON."""

from __future__ import annotations

import csv
import datetime
import io
import json
from typing import Any, Literal

from xeno.privacy.accounts import UNITS
from xeno.privacy.entries import LedgerEntry
from xeno.privacy.ledger import PrivacyLedger

Format = Literal["csv", "json"]

COLUMNS = (
    *("seq", "kind", "time", "unit", "run", "version"),
    *("sample_rate", "noise_multiplier", "steps", "delta", "epsilon_alone", "epsilon_total"),
    *("budget_epsilon", "budget_delta", "budget_period", "note", "previous_hash", "hash"),
)


def row_of(entry: LedgerEntry) -> dict[str, Any]:
    """The columns of one entry; what does not apply is None. Times are ISO 8601 in UTC."""
    released = entry.mechanism is not None
    mechanism, budget = entry.mechanism, entry.budget
    created = datetime.datetime.fromtimestamp(entry.created, datetime.UTC)
    return {
        "seq": entry.seq,
        "kind": entry.kind,
        "time": created.isoformat(timespec="microseconds"),
        "unit": entry.unit,
        "run": entry.run_id or None,
        "version": entry.version or None,
        "sample_rate": mechanism.sample_rate if mechanism else None,
        "noise_multiplier": mechanism.noise_multiplier if mechanism else None,
        "steps": mechanism.steps if mechanism else None,
        "delta": entry.delta if released else None,
        "epsilon_alone": entry.epsilon_alone if released else None,
        "epsilon_total": entry.epsilon_total if released else None,
        "budget_epsilon": budget.epsilon if budget else None,
        "budget_delta": budget.delta if budget else None,
        "budget_period": budget.period if budget else None,
        "note": entry.note or None,
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }


def account_of(ledger: PrivacyLedger, unit: Any) -> dict[str, Any]:
    """What the account of `unit` has spent, and what it may."""
    rules = ledger.rules(unit)
    return {
        "unit": unit,
        "spent": ledger.spent(unit),
        "lifetime": ledger.lifetime(unit),
        "budget": rules.epsilon,
        "delta": rules.delta,
        "period": rules.period,
    }


def written(ledger: PrivacyLedger, form: Format) -> str:
    """The whole ledger as the text of a file. JSON also states the accounts.

    Raises:
        DamagedDataError: if the chain is broken.
    """
    entries = ledger.entries()
    ledger.verify()
    rows = [row_of(entry) for entry in entries]
    if form == "json":
        accounts = [account_of(ledger, unit) for unit in UNITS]
        return json.dumps({"accounts": accounts, "entries": rows}, indent=1) + "\n"
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
