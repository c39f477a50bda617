"""The head of the ledger, kept beside the key: a restored backup gives nothing back.

The head is the last entry in full, and the accounts up to it in few mechanisms. It is written
before the entry itself. Whoever finds it compares:

    the ledger ends with the head's entry      all is well
    the ledger goes on after it                it was written by hand or the head was lost: write it
    only the head's entry is missing           a crash before it was written, or a backup made just
                                               before: write it now
    more is missing                            an older backup was restored: its accounts are
                                               replaced by what the head remembers
    the ledger has other entries instead       two copies were used: what both spent is counted

So a crash can count privacy that nobody saw released, never the other way round.
"""

from __future__ import annotations

import base64
import secrets
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from xeno.errors import DamagedDataError
from xeno.privacy.accounts import accounts_of, both
from xeno.privacy.entries import FIRST_HASH, Account, LedgerEntry, Unit
from xeno.store import beside_key
from xeno.store.profile import Profile

NAME = "ledger.head"
_PURPOSE = b"xeno privacy ledger head"


@dataclass(frozen=True)
class Head:
    """The last entry, and the accounts with it."""

    entry: LedgerEntry
    accounts: dict[Unit, Account]

    @classmethod
    def of(cls, entries: Sequence[LedgerEntry]) -> Head:
        """The head of a ledger with at least one entry."""
        return cls(entries[-1], accounts_of(entries))


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    entry: dict[str, Any]
    accounts: dict[Unit, Account]


class HeadKeeper:
    """Reads and writes the head of `profile`'s ledger, encrypted under a subkey of its key."""

    def __init__(self, profile: Profile) -> None:
        self._paths = profile.paths
        self._key = profile.key

    def read(self) -> Head | None:
        """The head; None where none was ever kept.

        Raises:
            DamagedDataError: if it is not what was written.
            LockedProfileError: if the keyring does not answer.
        """
        from cryptography.exceptions import InvalidTag

        text = beside_key.kept(self._paths, NAME)
        if text is None:
            return None
        try:
            sealed = base64.b64decode(text, validate=True)
            plain = zlib.decompress(self._cipher().decrypt(sealed[:12], sealed[12:], _PURPOSE))
            stored = _Stored.model_validate_json(plain)
            return Head(LedgerEntry.of(stored.entry), stored.accounts)
        except (InvalidTag, ValidationError, ValueError, KeyError, zlib.error) as error:
            raise DamagedDataError(
                "What is kept beside the key about the privacy ledger is damaged.",
                "It does not open with this profile's key, so a restored backup cannot be told "
                "from the latest state.",
                f"Remove {NAME!r} from where the key is kept, if nothing was restored.",
            ) from error

    def write(self, head: Head) -> None:
        """Keep `head`. Raises LockedProfileError or StorageFullError if it cannot be kept."""
        stored = _Stored(entry=head.entry.values(), accounts=head.accounts)
        plain = zlib.compress(stored.model_dump_json(exclude_defaults=True).encode(), 9)
        nonce = secrets.token_bytes(12)
        sealed = nonce + self._cipher().encrypt(nonce, plain, _PURPOSE)
        beside_key.keep(self._paths, NAME, base64.b64encode(sealed).decode("ascii"))

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key.subkey("ledger"))


def missing_entry(entries: Sequence[LedgerEntry], head: Head) -> LedgerEntry | None:
    """The entry with which `entries` catch up with `head`; None where they know it already."""
    if any(entry.hash == head.entry.hash for entry in entries):
        return None
    last = entries[-1].hash if entries else FIRST_HASH
    if head.entry.previous_hash == last and head.entry.seq == len(entries) + 1:
        return head.entry
    accounts, note = head.accounts, _RESTORED.format(head.entry.seq - len(entries))
    if len(entries) >= head.entry.seq:
        mine, note = accounts_of(entries), _DIVERGED
        accounts = {
            unit: both(mine.get(unit, Account()), accounts.get(unit, Account()))
            for unit in {*mine, *accounts}
        }
    unsealed = LedgerEntry(
        seq=len(entries) + 1,
        run_id="",
        unit=None,
        mechanism=None,
        delta=0.0,
        epsilon_alone=0.0,
        epsilon_total=0.0,
        version="",
        created=max(time.time(), entries[-1].created if entries else 0.0),
        previous_hash=last,
        hash="",
        kind="remembered",
        accounts=accounts,
        note=note,
    )
    return replace(unsealed, hash=unsealed.computed_hash())


_RESTORED = (
    "An older copy of this profile was restored, in which {} entries are missing. What they "
    "spent is remembered beside the key and counts."
)
_DIVERGED = "Two copies of this profile were used side by side. What either of them spent counts."
