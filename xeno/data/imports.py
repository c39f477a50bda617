"""The imports of a profile, and taking one back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from xeno.errors import InvalidValueError
from xeno.store.database import Connection, Database, Row

_OWN = "(SELECT row_id FROM import_rows WHERE import_id = :id AND kind = '{kind}')"


@dataclass(frozen=True)
class Import:
    """One import. `counts`: how many of each kind were added. Times are Unix seconds;
    `undone` is None while it stands."""

    id: int
    file: str
    format: str
    created: float
    counts: Mapping[str, int]
    duplicates: int
    rejected: int
    mapping: Mapping[str, str]
    undone: float | None


@dataclass(frozen=True)
class Undone:
    """What the undoing did: `removed` rows are gone. A pair that a version learned from is
    `deactivated` instead, so that the version's account stays true; a conversation that went
    on after the import is `kept`."""

    removed: int
    deactivated: int
    kept: int


class Imports:
    """The imports of a profile."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def all(self, limit: int = 100, offset: int = 0) -> list[Import]:
        """The imports, the latest first."""
        rows = self._db.read(
            "SELECT * FROM imports ORDER BY id DESC LIMIT ? OFFSET ?", (limit, offset)
        )
        return [_import(row) for row in rows]

    def get(self, import_id: int) -> Import:
        """The import. Raises InvalidValueError if there is none."""
        row = self._db.one("SELECT * FROM imports WHERE id = ?", (import_id,))
        if row is None:
            raise InvalidValueError(
                f"There is no import {import_id}.",
                "Only imports that added something are kept.",
                "Choose one from the list of imports.",
            )
        return _import(row)

    def undo(self, import_id: int) -> Undone:
        """Remove exactly what the import added, and is still there. One transaction.

        Raises:
            InvalidValueError: there is no such import, or it is undone already.
        """
        with self._db.transaction() as connection:
            if self.get(import_id).undone is not None:
                raise InvalidValueError(
                    f"Import {import_id} is undone already.", "", "Import the file again instead."
                )
            used = f"id IN {_own('pair')} AND id IN (SELECT pair_id FROM version_pairs)"
            deactivated = _run(connection, f"UPDATE pairs SET active = 0 WHERE {used}", import_id)
            removed = _run(
                connection,
                f"DELETE FROM pairs WHERE id IN {_own('pair')} "
                "AND id NOT IN (SELECT pair_id FROM version_pairs)",
                import_id,
            )
            grown = (
                "EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id AND "
                "created >= (SELECT created FROM imports WHERE id = :id) "
                "AND json_extract(metadata, '$.file') IS NULL)"
            )
            there = _run(
                connection,
                f"UPDATE conversations SET updated = updated WHERE id IN {_own('conversation')}",
                import_id,
            )
            gone = _run(
                connection,
                f"DELETE FROM conversations WHERE id IN {_own('conversation')} AND NOT {grown}",
                import_id,
            )
            removed += gone
            # A setting or a memory that was changed since is the user's own.
            unchanged = "AND updated <= (SELECT created FROM imports WHERE id = :id)"
            for table, column, kind, condition in (
                ("examples", "id", "example", ""),
                ("intent_examples", "CAST(id AS TEXT)", "intent", ""),
                ("preferences", "key", "preference", unchanged),
                ("memories", "CAST(id AS TEXT)", "memory", unchanged),
            ):
                removed += _run(
                    connection,
                    f"DELETE FROM {table} WHERE {column} IN {_own(kind)} {condition}",
                    import_id,
                )
            connection.execute(
                "UPDATE imports SET undone = ? WHERE id = ?", (time.time(), import_id)
            )
            connection.execute("DELETE FROM import_rows WHERE import_id = ?", (import_id,))
        return Undone(removed, deactivated, there - gone)


def _own(kind: str) -> str:
    return _OWN.format(kind=kind)


def _run(connection: Connection, sql: str, import_id: int) -> int:
    return int(connection.execute(sql, {"id": import_id}).rowcount)


def _import(row: Row) -> Import:
    values = dict(row)
    for name in ("counts", "mapping"):
        values[name] = json.loads(values[name])
    return Import(**values)
