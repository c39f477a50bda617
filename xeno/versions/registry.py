"""The versions of a profile: an encrypted file and a signed row for each.

The file is on disk before its row is written, and gone before its row is: a crash leaves at
most a file that nobody refers to, or a row that can be deleted again. Light: torch is imported
only where tensors are made or handed out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import ValidationError

from xeno.errors import BudgetError, DamagedDataError, InvalidValueError, StorageFullError
from xeno.privacy.ledger import PrivacyLedger
from xeno.store import files
from xeno.store.database import Row
from xeno.store.profile import Profile
from xeno.versions import content
from xeno.versions.adapter import module_paths
from xeno.versions.container import read_encrypted, write_encrypted
from xeno.versions.manifest import Manifest, hash_of, sign, signed

if TYPE_CHECKING:
    import torch

__all__ = ["Manifest", "Registry", "State", "Version"]

State = Literal["candidate", "checked", "active", "retired", "rolled_back", "quarantined"]

_NUMBER = re.compile(r"v?([0-9]{1,9})")
_PREFIX = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True)
class Version:
    """One version. `gate` is the report of its last check, `bytes` the size of its file."""

    number: int
    address: str
    base_hash: str
    state: State
    created: float
    bytes: int
    description: str
    run_id: str | None
    manifest: Manifest
    gate: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What the user calls it, such as "v3"."""
        return f"v{self.number}"


class Registry:
    """The versions of `profile`."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._db = profile.db

    def release(
        self, tensors: Mapping[str, torch.Tensor], manifest: Manifest, description: str = ""
    ) -> Version:
        """Make a version of an adapter; the version that is there if it was released before.

        Args:
            tensors: A and B under PEFT's names, float32.
            manifest: with the address that `content_address` gives for the tensors.

        Raises:
            InvalidValueError: if tensors and manifest do not belong together.
            BudgetError: if a private adapter is not in the privacy ledger.
            StorageFullError: if it cannot be written; then there is no version.
        """
        module_paths(tensors, manifest.adapter)
        plain = content.canonical_bytes(tensors)
        if content.address_of(plain, manifest.adapter, manifest.base_hash) != manifest.address:
            raise InvalidValueError(
                "The version was not released.",
                "Its manifest names another content address than its tensors have.",
                "This is a fault of the program that made it; nothing was stored.",
            )
        if manifest.private:
            self._require_ledger(manifest)
        self._require_run(manifest)
        # Also where the version is known: a file that was damaged since is thereby mended.
        files.private_folder(self._profile.paths.versions)
        path = self._file(manifest.address)
        write_encrypted(path, plain, self._profile.key.adapters, _associated(manifest.address))
        canonical = manifest.canonical()
        manifest_hash = hash_of(canonical)
        with self._db.transaction() as connection:
            if not self._has(manifest.address):  # ON CONFLICT would use up a number
                connection.execute(
                    "INSERT INTO versions (address, run_id, base_hash, parent, state, "
                    "description, created, bytes, manifest, manifest_hash, signature) "
                    "VALUES (?, ?, ?, ?, 'candidate', ?, ?, ?, ?, ?, ?)",
                    (
                        manifest.address,
                        manifest.run_id,
                        manifest.base_hash,
                        manifest.parent,
                        description,
                        manifest.created,
                        path.stat().st_size,
                        canonical.decode("ascii"),
                        manifest_hash,
                        sign(self._profile.key, manifest_hash),
                    ),
                )
            connection.executemany(
                "INSERT OR IGNORE INTO version_pairs (address, pair_id) VALUES (?, ?)",
                [(manifest.address, pair_id) for pair_id in manifest.pair_ids],
            )
        return self.get(manifest.address)

    def all(self) -> list[Version]:
        """All versions, the newest first."""
        return [
            _version(row) for row in self._db.read("SELECT * FROM versions ORDER BY number DESC")
        ]

    def get(self, ref: int | str) -> Version:
        """The version called `ref`: a number, "v3", a content address or 6 or more of its first
        digits.

        Raises:
            InvalidValueError: if there is none, or more than one, saying which there are.
        """
        text = str(ref).strip().lower()
        found: list[Row] = []
        if number := _NUMBER.fullmatch(text):
            found = self._db.read("SELECT * FROM versions WHERE number = ?", (int(number[1]),))
        if not found and _PREFIX.fullmatch(text):
            found = self._db.read(
                "SELECT * FROM versions WHERE substr(address, 1, ?) = ?", (len(text), text)
            )
        if len(found) != 1:
            known = ", ".join(f"{each.label} ({each.address[:12]})" for each in self.all())
            raise InvalidValueError(
                f"{ref!r} names {'more than one version' if found else 'no version'}.",
                f"The versions are: {known or 'none yet'}.",
                "Use a label such as 'v1', or more of the address."
                if known
                else "Train one first.",
            )
        return _version(found[0])

    def load(self, ref: int | str) -> tuple[dict[str, torch.Tensor], Version]:
        """A version's tensors, verified: file, address, manifest and signature.

        Raises:
            InvalidValueError: if there is no such version.
            DamagedDataError: if any part is not as it was released.
        """
        plain, version = self.open(ref)
        return content.read_tensors(plain), version

    def open(self, ref: int | str) -> tuple[bytes, Version]:
        """As `load`, but the canonical bytes (safetensors), without torch."""
        version = self.get(ref)
        self._verify_manifest(version)
        path = self._file(version.address)
        plain = read_encrypted(path, self._profile.key.adapters, _associated(version.address))
        address = content.address_of(plain, version.manifest.adapter, version.base_hash)
        if address != version.address:
            raise _damaged(version.label, "its content has another address")
        return plain, version

    def delete(self, ref: int | str) -> None:
        """Remove a version and its file. What it spent of the privacy budget stays spent.

        Raises:
            InvalidValueError: if there is no such version, or it is active.
            StorageFullError: if its file cannot be removed; nothing was changed.
        """
        version = self.get(ref)
        with self._db.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM versions WHERE address = ? AND state <> 'active'", (version.address,)
            )
            if gone.rowcount == 0 and self._has(version.address):
                raise InvalidValueError(
                    f"{version.label} was not deleted.",
                    "It is the active version: it answers in the chat now.",
                    "Roll back or deploy another version first.",
                )
            # Before the commit: a crash leaves a row that can be deleted again, never an
            # adapter that the user believes to be gone.
            self._remove_file(version)

    def pair_versions(self, pair_id: str) -> list[Version]:
        """The versions that learned from a pair, and those that came from them."""
        rows = self._db.read(
            "WITH RECURSIVE touched(address) AS ("
            "  SELECT address FROM version_pairs WHERE pair_id = ?"
            "  UNION SELECT versions.address FROM versions JOIN touched"
            "    ON versions.parent = touched.address) "
            "SELECT * FROM versions WHERE address IN touched ORDER BY number",
            (pair_id,),
        )
        return [_version(row) for row in rows]

    def _file(self, address: str) -> Path:
        return self._profile.paths.versions / f"{address}.xeno"

    def _remove_file(self, version: Version) -> None:
        try:
            self._file(version.address).unlink(missing_ok=True)
        except OSError as error:
            raise StorageFullError(
                f"{version.label} was not deleted.",
                f"Its file cannot be removed ({error.strerror or error}).",
                "Check the permissions of the profile's folder, and try again.",
            ) from error

    def _has(self, address: str) -> bool:
        return self._db.one("SELECT 1 FROM versions WHERE address = ?", (address,)) is not None

    def _require_ledger(self, manifest: Manifest) -> None:
        if manifest.epsilon is None or manifest.delta is None or manifest.unit is None:
            raise InvalidValueError(
                "The version was not released.",
                "It is called private, but its manifest does not state the guarantee.",
                "This is a fault of the program that made it; nothing was stored.",
            )
        if PrivacyLedger(self._profile).entry_for(manifest.address) is None:
            raise BudgetError(
                "The private version was not released.",
                "What it costs does not stand in the privacy ledger.",
                "Train it again; the ledger is written before a version is released.",
            )

    def _require_run(self, manifest: Manifest) -> None:
        if manifest.run_id is None:
            return
        if self._db.one("SELECT 1 FROM runs WHERE id = ?", (manifest.run_id,)) is None:
            raise InvalidValueError(
                "The version was not released.",
                f"There is no run {manifest.run_id!r} in this profile.",
                "Release it in the profile that trained it.",
            )

    def _verify_manifest(self, version: Version) -> None:
        row = self._db.one("SELECT * FROM versions WHERE address = ?", (version.address,))
        if row is None:
            raise InvalidValueError(f"{version.label} is gone.", "It was deleted just now.")
        manifest = version.manifest
        if hash_of(row["manifest"].encode()) != row["manifest_hash"]:
            raise _damaged(version.label, "its manifest was changed")
        if not signed(self._profile.key, row["manifest_hash"], row["signature"]):
            raise _damaged(version.label, "its signature is not this profile's")
        if (manifest.address, manifest.base_hash) != (version.address, version.base_hash):
            raise _damaged(version.label, "its manifest is another version's")


def _associated(address: str) -> bytes:
    return b"xeno adapter " + address.encode("ascii")


def _version(row: Row) -> Version:
    label = f"v{row['number']}"
    try:
        manifest = Manifest.model_validate_json(row["manifest"])
        gate = json.loads(row["gate"])
    except (ValidationError, ValueError) as error:
        raise _damaged(label, "its manifest cannot be read") from error
    if row["state"] not in get_args(State) or not isinstance(gate, dict):
        raise _damaged(label, "its row cannot be read")
    return Version(
        number=row["number"],
        address=row["address"],
        base_hash=row["base_hash"],
        state=row["state"],
        created=row["created"],
        bytes=row["bytes"],
        description=row["description"],
        run_id=row["run_id"],
        manifest=manifest,
        gate=gate,
    )


def _damaged(label: str, why: str) -> DamagedDataError:
    return DamagedDataError(
        f"Version {label} is damaged.",
        f"What is stored is not what was released: {why}.",
        "Restore the profile from a backup, or delete the version and use another.",
    )
