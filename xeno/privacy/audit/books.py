"""Do the records agree? Every private version has its entry, written first, with its numbers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xeno.errors import DamagedDataError
from xeno.privacy.ledger import PrivacyLedger
from xeno.words import count

if TYPE_CHECKING:
    from xeno.privacy.entries import LedgerEntry
    from xeno.store.profile import Profile


@dataclass(frozen=True)
class Check:
    """One thing that must hold, and what was found."""

    name: str
    passed: bool
    said: str


def check_books(profile: Profile) -> list[Check]:
    """Hold the private versions of `profile` against its ledger and its runs."""
    ledger = PrivacyLedger(profile)
    try:
        ledger.verify()
    except DamagedDataError as error:
        return [Check("chain", False, f"{error.what} {error.why}")]
    entries: dict[str, list[LedgerEntry]] = {}
    for entry in ledger.entries():
        if entry.version:
            entries.setdefault(entry.version, []).append(entry)
    rows = profile.db.read(
        "SELECT 'v' || number AS label, address, versions.created, manifest, runs.metrics "
        "FROM versions LEFT JOIN runs ON runs.id = versions.run_id "
        "WHERE model = 'assistant' AND manifest ->> 'private' ORDER BY number"
    )
    wrong = [
        f"{row['label']} {fault}"
        for row in rows
        if (fault := _fault(row, entries.get(row["address"], [])))
    ]
    said = " ".join(wrong) or f"{len(rows)} private versions agree with the ledger."
    return [Check("chain", True, "The chain of entries is whole."), Check("books", not wrong, said)]


def _fault(row: Any, entries: list[LedgerEntry]) -> str:
    """What is wrong with one version; empty if nothing is."""
    manifest = json.loads(row["manifest"])
    mechanism = manifest.get("mechanism") or {}
    if not entries:
        return "has no entry in the ledger."
    if max(entry.created for entry in entries) > row["created"]:
        return "was released before its entry was written."
    if any(entry.unit != manifest["unit"] for entry in entries):
        return "is accounted under another unit than it claims."
    first = entries[0].mechanism
    named = ("sample_rate", "noise_multiplier", "steps")
    if first is None or any(getattr(first, name) != mechanism.get(name) for name in named):
        return "was made by another mechanism than the ledger says."
    steps = json.loads(row["metrics"] or "{}").get("steps")
    accounted = sum(entry.mechanism.steps for entry in entries if entry.mechanism)
    if steps is not None and steps != accounted:
        return f"took {count(int(steps), 'step')}, and {accounted} are accounted."
    units = first.sample_rate * len(manifest["pair_ids"])
    # Conversations are fewer than pairs; more than all pairs at that rate cannot be expected.
    if mechanism.get("expected_batch_size", 0.0) > max(1.0, units) * (1 + 1e-9):
        return "took larger batches than are accounted."
    return "" if math.isfinite(first.noise_multiplier) else "has no noise."
