"""How versions are called: numbers, semantic numbers, tags and addresses, and what a name means."""

from __future__ import annotations

import re
from typing import Any

from xeno.errors import InvalidValueError
from xeno.store.database import Connection

_NUMBER = re.compile(r"v?([0-9]{1,9})")
_SEMANTIC = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})")
_ADDRESS = re.compile(r"[0-9a-f]{6,64}")
_TAG = re.compile(r"[a-z][a-z0-9_.-]{0,39}")
_RESERVED = frozenset({"base", "active", "latest", "previous", "canary"})


def meanings(text: str, model: str) -> list[tuple[str, tuple[Any, ...]]]:
    """What `text` may mean, as conditions on a row, the first that is met counts."""
    found: list[tuple[str, tuple[Any, ...]]] = []
    if number := _NUMBER.fullmatch(text):
        found.append(("number = ?", (int(number[1]),)))
    if parts := _SEMANTIC.fullmatch(text):
        found.append(("(major, minor, patch) = (?, ?, ?)", tuple(map(int, parts.groups()))))
    if _TAG.fullmatch(text):
        tagged = "address IN (SELECT address FROM version_tags WHERE model = ? AND tag = ?)"
        found.append((tagged, (model, text)))
    if _ADDRESS.fullmatch(text):
        found.append(("substr(address, 1, ?) = ?", (len(text), text)))
    return found


def valid_tag(tag: str) -> str:
    """`tag` as it is kept.

    Raises:
        InvalidValueError: if it is no name, or reads as something else.
    """
    name = tag.strip().lower()
    other = _NUMBER.fullmatch(name) or _SEMANTIC.fullmatch(name) or _ADDRESS.fullmatch(name)
    if not _TAG.fullmatch(name) or other or name in _RESERVED:
        raise InvalidValueError(
            f"{tag!r} cannot be a tag.",
            "It reads as a version's number or address, or has a meaning of its own."
            if other or name in _RESERVED
            else "A tag begins with a letter and has at most 40 letters, digits, '.', '_' or '-'.",
            "Choose a name such as 'best' or 'before-holidays'.",
        )
    return name


def next_number(connection: Connection, model: str) -> int:
    """The number of the next version of `model`; none is given twice."""
    row = connection.execute(
        "INSERT INTO versioned_models (name, number) VALUES (?, 1) "
        "ON CONFLICT (name) DO UPDATE SET number = number + 1 RETURNING number",
        (model,),
    ).fetchone()
    return int(row["number"])


def semantic_number(
    connection: Connection, model: str, base: str, parent: str | None, data_hash: str | None
) -> dict[str, int]:
    """The semantic number of the next version of `model`: each base has a major number of its
    own, each training takes the next minor one, and what continues its parent on the same data
    the next patch of that."""

    def most(column: str, where: str, values: tuple[Any, ...]) -> int | None:
        row = connection.execute(
            f"SELECT max({column}) AS most FROM versions WHERE model = ? {where}", (model, *values)
        ).fetchone()
        return None if row["most"] is None else int(row["most"])

    continued = connection.execute(
        "SELECT major, minor FROM versions WHERE model = ? AND base_hash = ? AND address = ? "
        "AND manifest ->> 'data_hash' = ?",
        (model, base, parent, data_hash),
    ).fetchone()
    if continued is not None:
        place = (continued["major"], continued["minor"])
        patch = most("patch", "AND (major, minor) = (?, ?)", place)
        return {"major": place[0], "minor": place[1], "patch": (patch or 0) + 1}
    major = most("major", "AND base_hash = ?", (base,)) or (most("major", "", ()) or 0) + 1
    minor = most("minor", "AND major = ?", (major,))
    return {"major": major, "minor": 0 if minor is None else minor + 1, "patch": 0}
