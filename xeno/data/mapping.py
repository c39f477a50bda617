"""Which column is the prompt, which the reply: said by the user, remembered, or guessed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from xeno.errors import InvalidValueError
from xeno.store.database import Database

FIELDS = (
    *("prompt", "chosen", "rejected", "completion", "label", "system", "group", "weight"),
    *("text", "intent", "messages", "source"),
)

# Column names as data sets use them, in small letters and joined by underscores.
_GUESSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "prompt": (
            *("prompt", "question", "query", "instruction", "input", "user", "user_message"),
            *("user_input", "context"),
        ),
        "chosen": (
            *("chosen", "preferred", "better", "best", "good", "accepted", "winner"),
            *("chosen_response", "response_chosen", "preferred_response", "better_answer"),
            *("good_answer", "preferred_answer", "chosen_answer", "better_response"),
        ),
        "rejected": (
            *("rejected", "dispreferred", "worse", "worst", "bad", "loser"),
            *("rejected_response", "response_rejected", "rejected_answer", "worse_answer"),
            *("bad_answer", "worse_response", "dispreferred_response"),
        ),
        "completion": (
            *("completion", "response", "answer", "reply", "output", "assistant"),
            *("best_answer", "assistant_message", "model_response", "bot_response"),
        ),
    }
)


def parse(texts: Iterable[str]) -> dict[str, str]:
    """The mapping in "field=column" texts, each of which may hold several with commas.

    Raises:
        InvalidValueError: a text is none, or its field is not one of `FIELDS`.
    """
    found: dict[str, str] = {}
    for part in (part for text in texts for part in text.split(",")):
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not (field and equals and column):
            raise InvalidValueError(
                f"{part!r} says no column.",
                "A mapping names a field and the column that holds it.",
                "Write for example prompt=question,chosen=good,rejected=bad.",
            )
        found[field] = column
    return checked(found)


def checked(mapping: Mapping[str, str]) -> dict[str, str]:
    """`mapping`, if its fields are known and no column stands for two of them."""
    unknown = sorted(set(mapping) - set(FIELDS))
    if unknown:
        raise InvalidValueError(
            f"There is no field {', '.join(unknown)}.",
            f"The fields are {', '.join(FIELDS)}.",
            "Name one of these on the left of each '='.",
        )
    if len(set(mapping.values())) < len(mapping):
        raise InvalidValueError(
            "One column cannot be two fields.", "", "Name another column for one of them."
        )
    return dict(mapping)


def mapped(record: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """`record` with its columns renamed to the fields they stand for; the others keep their
    names, except where that is now a field of its own."""
    columns = set(mapping.values())
    rest = {k: v for k, v in record.items() if k not in columns and k not in mapping}
    return rest | {field: record[column] for field, column in mapping.items() if column in record}


def guessed(columns: Collection[str]) -> dict[str, str]:
    """The mapping that the names of the columns suggest; empty if it would not be a record.

    With two replies they are a preference, with one an instruction.
    """
    simple = {_simple(column): column for column in columns}
    found: dict[str, str] = {}
    for field, names in _GUESSES.items():
        column = next((simple[name] for name in names if name in simple), None)
        if column is not None and column not in found.values():
            found[field] = column
    if "chosen" in found and "rejected" in found and "prompt" in found:
        found.pop("completion", None)
    elif "prompt" in found and "completion" in found:
        found = {field: found[field] for field in ("prompt", "completion")}
    else:
        return {}
    return found


def _simple(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", column.strip().lower()).strip("_")


class Mappings:
    """The mappings of a profile, remembered for files with the same columns."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def remembered(self, columns: Collection[str]) -> dict[str, str]:
        """What the user said of these columns, or nothing."""
        row = self._db.one(
            "SELECT mapping FROM import_mappings WHERE columns = ?", (_key(columns),)
        )
        return {} if row is None else dict(json.loads(row["mapping"]))

    def remember(self, columns: Collection[str], mapping: Mapping[str, str]) -> None:
        """Use `mapping` for every file with these columns from now on."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO import_mappings (columns, mapping, updated) VALUES (?, ?, ?) "
                "ON CONFLICT (columns) DO UPDATE SET mapping = excluded.mapping, "
                "updated = excluded.updated",
                (_key(columns), json.dumps(checked(mapping)), time.time()),
            )

    def all(self) -> list[tuple[tuple[str, ...], dict[str, str]]]:
        """Every (columns, mapping) that is remembered, the latest first."""
        rows = self._db.read("SELECT columns, mapping FROM import_mappings ORDER BY updated DESC")
        return [(tuple(json.loads(r["columns"])), json.loads(r["mapping"])) for r in rows]

    def forget(self, columns: Collection[str]) -> None:
        """Recognise files with these columns by themselves again."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM import_mappings WHERE columns = ?", (_key(columns),))


def _key(columns: Collection[str]) -> str:
    return json.dumps(sorted(columns))
