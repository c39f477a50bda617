"""Where versions come from: the pairs that made them, and which version they continued.

Rows of purged versions stay (`records.purge`), so that a pair leads to its versions also where
one in between is gone. Light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xeno.store.database import Database
from xeno.versions.registry import Version

_UPWARDS = (
    "WITH RECURSIVE line(address, depth) AS (SELECT ?, 0 UNION "
    "SELECT versions.parent, depth + 1 FROM versions JOIN line USING (address) "
    "WHERE versions.parent IS NOT NULL AND depth < 10000) "
)
_DOWNWARDS = (
    "WITH RECURSIVE line(address, depth) AS (SELECT ?, 0 UNION "
    "SELECT versions.address, depth + 1 FROM versions JOIN line "
    "ON versions.parent = line.address WHERE depth < 10000) "
)


@dataclass(frozen=True)
class Branch:
    """A version in the tree of parents: `depth` 0 has no parent that is there."""

    version: Version
    depth: int


def ancestors(db: Database, address: str) -> list[str]:
    """Content addresses of what the version continued, its parent first."""
    rows = db.read(_UPWARDS + "SELECT address FROM line WHERE depth > 0 ORDER BY depth", (address,))
    return [str(row["address"]) for row in rows]


def descendants(db: Database, address: str) -> list[str]:
    """Content addresses of all that continued the version, or one that did."""
    rows = db.read(
        _DOWNWARDS + "SELECT DISTINCT line.address FROM line JOIN versions USING (address) "
        "WHERE depth > 0 ORDER BY versions.number",
        (address,),
    )
    return [str(row["address"]) for row in rows]


def pairs_of(db: Database, address: str) -> set[str]:
    """Ids of the pairs that the version learned from itself."""
    rows = db.read("SELECT pair_id FROM version_pairs WHERE address = ?", (address,))
    return {str(row["pair_id"]) for row in rows}


def pairs_behind(db: Database, address: str) -> set[str]:
    """Ids of the pairs that the version, or anything it continued, learned from."""
    rows = db.read(
        _UPWARDS + "SELECT DISTINCT pair_id FROM version_pairs WHERE address IN "
        "(SELECT address FROM line)",
        (address,),
    )
    return {str(row["pair_id"]) for row in rows}


def tree(versions: Sequence[Version]) -> list[Branch]:
    """`versions` as a tree, parents before their children, siblings in the order of numbers."""
    there = {each.address for each in versions}
    children: dict[str | None, list[Version]] = {}
    for each in sorted(versions, key=lambda version: version.number):
        parent = each.manifest.parent
        children.setdefault(parent if parent in there else None, []).append(each)
    found: list[Branch] = []
    waiting = [(each, 0) for each in reversed(children.get(None, []))]
    while waiting:
        version, depth = waiting.pop()
        found.append(Branch(version, depth))
        waiting += [(each, depth + 1) for each in reversed(children.get(version.address, []))]
    return found
