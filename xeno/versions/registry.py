"""The versions of the assistant: adapters, kept in the registry of all models, with their
manifests and what they cost. Light: torch is imported only where tensors are made or handed out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from xeno.errors import BudgetError, InvalidValueError
from xeno.privacy.ledger import PrivacyLedger
from xeno.store.database import Row
from xeno.store.profile import Profile
from xeno.versions import content
from xeno.versions.adapter import module_paths
from xeno.versions.lifecycle import State
from xeno.versions.manifest import Manifest
from xeno.versions.records import ASSISTANT, Records, damaged, read_json
from xeno.versions.retention import tidy

if TYPE_CHECKING:
    import torch

__all__ = ["Manifest", "Registry", "State", "Version"]


@dataclass(frozen=True)
class Version:
    """One version. `gate` is the report of its last check, `bytes` the size of its file,
    `deleted` since when it waits to be purged, None where it does not."""

    number: int
    semantic: str
    address: str
    base_hash: str
    state: State
    created: float
    bytes: int
    description: str
    run_id: str | None
    manifest: Manifest
    gate: Mapping[str, Any]
    tags: tuple[str, ...] = ()
    deleted: float | None = None

    @property
    def label(self) -> str:
        """What the user calls it, such as "v3"."""
        return f"v{self.number}"


class Registry:
    """The versions of `profile`."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._db = profile.db
        self.records = Records(profile, ASSISTANT)

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
        self.records.add(
            plain,
            manifest,
            manifest.base_hash,
            description,
            run_id=manifest.run_id,
            pair_ids=manifest.pair_ids,
        )
        tidy(self._profile)
        return self.get(manifest.address)

    def all(self, *, deleted: bool = False) -> list[Version]:
        """All versions, the newest first; `deleted`: those that can be restored instead."""
        tags = self.records.tags()
        return [_version(row, tags) for row in self.records.rows(deleted=deleted)]

    def get(self, ref: int | str) -> Version:
        """The version called `ref`: a number, "v3", "v1.2.0", a tag, a content address or 6 or
        more of its first digits.

        Raises:
            InvalidValueError: if there is none, or more than one, saying which there are.
        """
        return _version(self.records.row(ref), self.records.tags())

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
        row = self.records.row(ref)
        version = _version(row, self.records.tags())
        plain, manifest = self.records.open(row), version.manifest
        if (manifest.address, manifest.base_hash) != (version.address, version.base_hash):
            raise damaged(version.label, "its manifest is another version's")
        if content.address_of(plain, manifest.adapter, version.base_hash) != version.address:
            raise damaged(version.label, "its content has another address")
        return plain, version

    def delete(self, ref: int | str) -> Version:
        """Hide a version; for 7 days `restore` brings it back (`xeno.versions.retention`).

        Raises:
            InvalidValueError: if there is no such version, or it answers now.
        """
        return _version(self.records.delete(ref), {})

    def restore(self, ref: int | str) -> Version:
        """Bring a deleted version back as it was.

        Raises:
            InvalidValueError: if no such version was deleted, or it was purged.
        """
        return self.get(self.records.restore(ref)["address"])

    def pair_versions(self, pair_id: str) -> list[Version]:
        """The versions that learned from a pair, and those that came from them."""
        rows = self._db.read(
            "WITH RECURSIVE touched(address) AS ("
            "  SELECT address FROM version_pairs WHERE pair_id = ?"
            "  UNION SELECT versions.address FROM versions JOIN touched"
            "    ON versions.parent = touched.address) "
            "SELECT * FROM versions WHERE address IN touched AND model = ? AND deleted IS NULL "
            "ORDER BY number",
            (pair_id, ASSISTANT),
        )
        tags = self.records.tags()
        return [_version(row, tags) for row in rows]

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


def _version(row: Row, tags: Mapping[str, tuple[str, ...]]) -> Version:
    try:
        manifest = Manifest.model_validate_json(row["manifest"])
    except ValidationError as error:
        raise damaged(f"v{row['number']}", "its manifest cannot be read") from error
    return Version(
        number=row["number"],
        semantic=f"v{row['major']}.{row['minor']}.{row['patch']}",
        address=row["address"],
        base_hash=row["base_hash"],
        state=row["state"],
        created=row["created"],
        bytes=row["bytes"],
        description=row["description"],
        run_id=row["run_id"],
        manifest=manifest,
        gate=read_json(row, "gate"),
        tags=tags.get(row["address"], ()),
        deleted=row["deleted"],
    )
