"""The versions of one model as they are kept: a sealed file and a signed row for each.

The file is on disk before its row is written; a delete hides the row and leaves the file until
`purge`. A crash leaves at most a file that nobody refers to, or a row that can be purged again.
What a version is (an adapter, a classifier) is the business of the callers.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from xeno.errors import DamagedDataError, InvalidValueError, StorageFullError
from xeno.store import files
from xeno.store.database import Row
from xeno.store.profile import Profile
from xeno.versions import in_chat
from xeno.versions.container import read_encrypted, write_encrypted
from xeno.versions.manifest import hash_of, sign, signed
from xeno.versions.naming import meanings, next_number, semantic_number, valid_tag

ASSISTANT = "assistant"
"""The model whose versions are adapters, and whose active version answers in the chat."""

_LISTED = 8


class SignedManifest(Protocol):
    """What is needed of a manifest to keep it."""

    @property
    def address(self) -> str: ...
    @property
    def parent(self) -> str | None: ...
    @property
    def data_hash(self) -> str | None: ...
    @property
    def created(self) -> float: ...
    def canonical(self) -> bytes: ...


class Records:
    """The versions of `model` in `profile`."""

    def __init__(self, profile: Profile, model: str = ASSISTANT) -> None:
        self.profile = profile
        self.db = profile.db
        self.model = model

    # Reading ----------------------------------------------------------------------------

    def rows(self, *, deleted: bool = False) -> list[Row]:
        """The rows, the newest first: those that are there, or those that can be restored."""
        which = "deleted IS NOT NULL AND purged IS NULL" if deleted else "deleted IS NULL"
        return self.db.read(
            f"SELECT * FROM versions WHERE model = ? AND {which} ORDER BY number DESC",
            (self.model,),
        )

    def row(self, ref: int | str, *, deleted: bool = False) -> Row:
        """The row of the version called `ref`: a number, "v3", "v1.2.0", a tag, a content
        address or 6 or more of its first digits.

        Args:
            deleted: look among those that can be restored instead.

        Raises:
            InvalidValueError: if there is none, or more than one, saying which there are.
        """
        text = str(ref).strip().lower()
        which = "deleted IS NOT NULL AND purged IS NULL" if deleted else "deleted IS NULL"
        found: list[Row] = []
        for condition, values in meanings(text, self.model):
            found = self.db.read(
                f"SELECT * FROM versions WHERE model = ? AND {which} AND {condition} LIMIT 2",
                (self.model, *values),
            )
            if found:
                break
        if len(found) != 1:
            raise self._unknown(ref, bool(found), which)
        return found[0]

    def tags(self) -> dict[str, tuple[str, ...]]:
        """The tags by content address, in alphabetical order."""
        found: dict[str, tuple[str, ...]] = {}
        for row in self.db.read(
            "SELECT tag, address FROM version_tags WHERE model = ? ORDER BY tag", (self.model,)
        ):
            found[row["address"]] = (*found.get(row["address"], ()), row["tag"])
        return found

    def open(self, row: Row) -> bytes:
        """The content of a version, its file, manifest and signature verified.

        Raises:
            DamagedDataError: if any part is not as it was released; names which.
        """
        fresh = self.db.one("SELECT * FROM versions WHERE address = ?", (row["address"],))
        label = f"v{row['number']}"
        if fresh is None:
            raise InvalidValueError(f"{label} is gone.", "It was deleted just now.")
        if hash_of(fresh["manifest"].encode()) != fresh["manifest_hash"]:
            raise damaged(label, "its manifest was changed")
        if not signed(self.profile.key, fresh["manifest_hash"], fresh["signature"]):
            raise damaged(label, "its signature is not this profile's")
        return read_encrypted(
            self.file(row["address"]), self.profile.key.adapters, self._associated(row["address"])
        )

    def file(self, address: str) -> Path:
        """Where the content of a version lies, sealed."""
        return self.profile.paths.versions / f"{address}.xeno"

    # Writing ----------------------------------------------------------------------------

    def add(
        self,
        plain: bytes,
        manifest: SignedManifest,
        base: str,
        description: str = "",
        *,
        run_id: str | None = None,
        pair_ids: Sequence[str] = (),
    ) -> None:
        """Keep a version. One that is there already stays as it is; a deleted one comes back,
        and a file that was damaged is mended.

        Raises:
            StorageFullError: if it cannot be written; then there is no version.
        """
        address, path = manifest.address, self.file(manifest.address)
        files.private_folder(self.profile.paths.versions)
        canonical = manifest.canonical()
        manifest_hash = hash_of(canonical)
        with self.db.transaction() as connection:
            # Inside, so that no purge comes between the file and its row.
            write_encrypted(
                path, plain, self.profile.key.adapters, self._associated(manifest.address)
            )
            known = connection.execute(
                "UPDATE versions SET deleted = NULL, purged = NULL WHERE address = ?", (address,)
            )
            if known.rowcount == 0:
                values: dict[str, Any] = {
                    "model": self.model,
                    "number": next_number(connection, self.model),
                    **semantic_number(
                        connection, self.model, base, manifest.parent, manifest.data_hash
                    ),
                    "address": address,
                    "run_id": run_id,
                    "base_hash": base,
                    "parent": manifest.parent,
                    "state": "candidate",
                    "description": description,
                    "created": manifest.created,
                    "bytes": path.stat().st_size,
                    "manifest": canonical.decode("ascii"),
                    "manifest_hash": manifest_hash,
                    "signature": sign(self.profile.key, manifest_hash),
                }
                connection.execute(
                    f"INSERT INTO versions ({', '.join(values)}) "
                    f"VALUES ({', '.join('?' * len(values))})",
                    tuple(values.values()),
                )
            connection.executemany(
                "INSERT OR IGNORE INTO version_pairs (address, pair_id) VALUES (?, ?)",
                [(address, pair_id) for pair_id in pair_ids],
            )

    def describe(self, ref: int | str, text: str) -> None:
        """Give a version another description."""
        address = self.row(ref)["address"]
        with self.db.transaction() as connection:
            connection.execute(
                "UPDATE versions SET description = ? WHERE address = ?", (text.strip(), address)
            )

    def tag(self, ref: int | str, tag: str) -> None:
        """Name a version `tag`; a version that had the tag loses it.

        Raises:
            InvalidValueError: if there is no such version, or the tag reads as something else.
        """
        name, address = valid_tag(tag), self.row(ref)["address"]
        with self.db.transaction() as connection:
            connection.execute(
                "INSERT INTO version_tags (model, tag, address) VALUES (?, ?, ?) "
                "ON CONFLICT (model, tag) DO UPDATE SET address = excluded.address",
                (self.model, name, address),
            )

    def untag(self, tag: str) -> None:
        """Take a tag away.

        Raises:
            InvalidValueError: if no version has it.
        """
        with self.db.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM version_tags WHERE model = ? AND tag = ?",
                (self.model, tag.strip().lower()),
            )
        if gone.rowcount == 0:
            known = sorted(tag for tags in self.tags().values() for tag in tags)
            raise InvalidValueError(
                f"No version is tagged {tag!r}.", f"The tags are: {', '.join(known) or 'none'}."
            )

    def delete(self, ref: int | str) -> Row:
        """Hide a version; until it is purged, `restore` brings it back. What it spent of the
        privacy budget stays spent.

        Raises:
            InvalidValueError: if there is no such version, or it answers now: everywhere, as the
                canary, or in the test in the chat, which would have nothing to compare without it.
        """
        row = self.row(ref)
        with self.db.transaction() as connection:
            test = in_chat.going(self.db)
            if test is not None and row["address"] in test.variants:
                raise InvalidValueError(
                    f"v{row['number']} was not deleted.",
                    f"The test {test.name!r} goes on in the chat, and it answers there.",
                    f"End it first: xeno ab end {test.name}.",
                )
            gone = connection.execute(
                "UPDATE versions SET deleted = ? WHERE address = ? "
                "AND state NOT IN ('active', 'canary')",
                (time.time(), row["address"]),
            )
            if gone.rowcount == 0:
                raise InvalidValueError(
                    f"v{row['number']} was not deleted.",
                    "It is the active version, or the canary: it is in use now.",
                    "Roll back or deploy another version first.",
                )
        return row

    def restore(self, ref: int | str) -> Row:
        """Bring a deleted version back as it was.

        Raises:
            InvalidValueError: if no such version was deleted, or it is purged.
        """
        row = self.row(ref, deleted=True)
        with self.db.transaction() as connection:
            connection.execute(
                "UPDATE versions SET deleted = NULL WHERE address = ? AND purged IS NULL",
                (row["address"],),
            )
        return row

    def purge(self, address: str) -> None:
        """Remove the file of a deleted version for good. Its row stays for the lineage: which
        pairs it learned from, and what came from it.

        Raises:
            StorageFullError: if the file cannot be removed; the version can then be restored.
        """
        with self.db.transaction() as connection:
            gone = connection.execute(
                "UPDATE versions SET purged = ? WHERE address = ? AND deleted IS NOT NULL",
                (time.time(), address),
            )
            if gone.rowcount:
                connection.execute("DELETE FROM version_tags WHERE address = ?", (address,))
                # Before the commit: a crash leaves a row that can be purged again, never a
                # file that the user believes to be gone.
                with _removing(f"{address[:12]} was not removed."):
                    self.file(address).unlink(missing_ok=True)

    def _associated(self, address: str) -> bytes:
        kind = b"xeno adapter " if self.model == ASSISTANT else b"xeno artefact "
        return kind + address.encode("ascii")

    def _unknown(self, ref: int | str, several: bool, which: str) -> InvalidValueError:
        known = self.db.read(
            f"SELECT number, address FROM versions WHERE model = ? AND {which} "
            "ORDER BY number DESC LIMIT ?",
            (self.model, _LISTED + 1),
        )
        listed = ", ".join(f"v{row['number']} ({row['address'][:12]})" for row in known[:_LISTED])
        more = " and earlier ones" if len(known) > _LISTED else ""
        return InvalidValueError(
            f"{ref!r} names {'more than one version' if several else 'no version'}.",
            f"The versions are: {listed or 'none yet'}{more}.",
            "Use a label such as 'v1', or more of the address." if known else "Make one first.",
        )


def damaged(label: str, why: str) -> DamagedDataError:
    """That a version is not what was released."""
    return DamagedDataError(
        f"Version {label} is damaged.",
        f"What is stored is not what was released: {why}.",
        "Restore the profile from a backup, or delete the version and use another.",
    )


def read_json(row: Row, column: str) -> dict[str, Any]:
    """The JSON object in a column of a version's row."""
    try:
        found = json.loads(row[column])
    except ValueError as error:
        raise damaged(f"v{row['number']}", "its row cannot be read") from error
    if not isinstance(found, dict):
        raise damaged(f"v{row['number']}", "its row cannot be read")
    return found


@contextlib.contextmanager
def _removing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFullError(
            what,
            f"Its file cannot be removed ({error.strerror or error}).",
            "Check the permissions of the profile's folder, and try again.",
        ) from error
