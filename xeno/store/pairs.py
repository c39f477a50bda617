"""The preference pairs: what the user likes better, in the form training wants it."""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.store.conversations import like, valid_text
from xeno.store.database import Connection, Database, Row

FeedbackType = Literal["correction", "choice", "import"]


@dataclass(frozen=True)
class Pair:
    """For `prompt`, `chosen` is better than `rejected`.

    Pairs with the same `group_id` are held out together. `confidence` (0 to 1): how sure it is
    that this is the user's preference. `quality` (0 to 1): how much the pair can teach;
    `quality_notes` says why it is less than 1. An inactive pair is kept and not trained on.
    """

    id: str
    user_id: str
    group_id: str
    prompt: tuple[ChatMessage, ...]
    chosen: str
    rejected: str
    confidence: float
    quality: float
    quality_notes: tuple[str, ...]
    feedback_type: FeedbackType
    created: float
    active: bool = True
    weight: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of prompt, chosen and rejected: the same pair is stored once."""
        content = [[[m.role, m.content] for m in self.prompt], self.chosen, self.rejected]
        return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()


def new_pair(
    user_id: str,
    prompt: Sequence[ChatMessage],
    chosen: str,
    rejected: str,
    *,
    feedback_type: FeedbackType,
    confidence: float,
    quality: float,
    quality_notes: Sequence[str] = (),
    group_id: str | None = None,
    weight: float = 1.0,
    metadata: Mapping[str, Any] | None = None,
) -> Pair:
    """A pair that can be trained on.

    Without `group_id` all pairs with this prompt form a group.

    Raises:
        InvalidValueError: an empty or invalid text, identical replies, a prompt that does not
            end with the user's turn, a number out of range.
    """
    check_texts(prompt, chosen, rejected)
    _check_number("confidence", confidence, 1.0)
    _check_number("quality", quality, 1.0)
    check_weight(weight)
    return Pair(
        id=uuid.uuid4().hex,
        user_id=user_id,
        group_id=valid_text(group_id, "group") if group_id else prompt_group(prompt),
        prompt=tuple(prompt),
        chosen=chosen,
        rejected=rejected,
        confidence=confidence,
        quality=quality,
        quality_notes=tuple(quality_notes),
        feedback_type=feedback_type,
        created=time.time(),
        weight=weight,
        metadata=dict(metadata or {}),
    )


_COLUMNS = tuple(each.name for each in fields(Pair))


class Pairs:
    """The pairs of a profile. The same prompt, chosen and rejected is stored once."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, pair: Pair) -> bool:
        """Store `pair`. False if the same pair is already there; then nothing changes."""
        with self._db.transaction() as connection:
            return _insert(connection, pair)

    def add_many(self, pairs: Iterable[Pair]) -> tuple[int, int]:
        """Store all in one transaction: (how many were added, how many were there already)."""
        added = duplicates = 0
        with self._db.transaction() as connection:
            for pair in pairs:
                if _insert(connection, pair):
                    added += 1
                else:
                    duplicates += 1
        return added, duplicates

    def get(self, pair_id: str) -> Pair:
        """The pair. Raises InvalidValueError if there is none."""
        row = self._db.one("SELECT * FROM pairs WHERE id = ?", (pair_id,))
        if row is None:
            raise InvalidValueError(
                f"There is no pair {pair_id!r}.",
                "It was deleted, or belongs to another profile.",
                "Choose one from the list of pairs.",
            )
        return pair_from(row)

    def same_as(self, pair: Pair) -> Pair | None:
        """The stored pair with the content of `pair`, if any."""
        row = self._db.one("SELECT * FROM pairs WHERE fingerprint = ?", (pair.fingerprint,))
        return None if row is None else pair_from(row)

    def all(
        self,
        limit: int | None = None,
        offset: int = 0,
        search: str | None = None,
        active: bool | None = None,
        newest_first: bool = False,
    ) -> list[Pair]:
        """The pairs in the order they were made; `search` looks in all three texts."""
        where, params = _where(search, active)
        order = "DESC" if newest_first else "ASC"
        rows = self._db.read(
            f"SELECT * FROM pairs {where} ORDER BY created {order}, rowid {order} LIMIT ? OFFSET ?",
            [*params, -1 if limit is None else limit, offset],
        )
        return [pair_from(row) for row in rows]

    def count(self, active: bool | None = None, search: str | None = None) -> int:
        """How many pairs there are, all or only the active (inactive) ones."""
        where, params = _where(search, active)
        row = self._db.one(f"SELECT count(*) FROM pairs {where}", params)
        return int(row[0]) if row else 0

    def set_active(self, pair_id: str, active: bool) -> None:
        """Let training use the pair, or not."""
        with self._db.transaction() as connection:
            connection.execute("UPDATE pairs SET active = ? WHERE id = ?", (int(active), pair_id))

    def delete(self, pair_id: str) -> None:
        """Delete the pair; versions trained on it keep its id in their manifest."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM pairs WHERE id = ?", (pair_id,))


def _insert(connection: Connection, pair: Pair) -> bool:
    cursor = connection.execute(
        "INSERT INTO pairs (id, user_id, fingerprint, group_id, prompt, chosen, rejected, "
        "confidence, quality, quality_notes, feedback_type, created, active, weight, metadata) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO NOTHING",
        (
            pair.id,
            pair.user_id,
            pair.fingerprint,
            pair.group_id,
            # Not escaped, so that a search finds every script.
            json.dumps([m.model_dump() for m in pair.prompt], ensure_ascii=False),
            pair.chosen,
            pair.rejected,
            pair.confidence,
            pair.quality,
            json.dumps(list(pair.quality_notes)),
            pair.feedback_type,
            pair.created,
            int(pair.active),
            pair.weight,
            json.dumps(dict(pair.metadata)),
        ),
    )
    return cursor.rowcount == 1


def pair_from(row: Row) -> Pair:
    """The pair in a row with all columns of the table, whatever others it has."""
    values = {name: row[name] for name in _COLUMNS}
    values["prompt"] = tuple(ChatMessage(**turn) for turn in json.loads(values["prompt"]))
    values["quality_notes"] = tuple(json.loads(values["quality_notes"]))
    values["metadata"] = json.loads(values["metadata"])
    values["active"] = bool(values["active"])
    return Pair(**values)


def _where(search: str | None, active: bool | None) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    params: list[Any] = []
    if active is not None:
        conditions.append("active = ?")
        params.append(int(active))
    if search:
        texts = ("prompt", "chosen", "rejected")
        conditions.append("(" + " OR ".join(f"{f} LIKE ? ESCAPE '\\'" for f in texts) + ")")
        params += [like(search)] * 3
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), params


def check_texts(prompt: Sequence[ChatMessage], chosen: str, rejected: str) -> None:
    """Raise InvalidValueError if these cannot be the texts of a pair; see `new_pair`."""
    for name, text in (("chosen reply", chosen), ("rejected reply", rejected)):
        if not valid_text(text, name).strip():
            raise InvalidValueError(f"The {name} is empty.", "", "Write what the reply should be.")
    if chosen.strip() == rejected.strip():
        raise InvalidValueError(
            "The chosen and the rejected reply are identical.",
            "There is nothing to learn from two equal replies.",
            "Change the text first.",
        )
    for turn in prompt:
        valid_text(turn.content, "prompt")
    if not prompt or prompt[-1].role != "user" or not prompt[-1].content.strip():
        raise InvalidValueError("The prompt does not end with something that the user said.")
    if any(turn.role == "system" for turn in prompt[1:]):
        raise InvalidValueError("The prompt has a system turn after its beginning.")


def check_weight(weight: float) -> None:
    """Raise InvalidValueError unless `weight` is a number from 0 upwards."""
    _check_number("weight", weight, math.inf)


def _check_number(name: str, value: float, highest: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= highest):
        raise InvalidValueError(f"The {name} {value!r} is out of range.")


def prompt_group(prompt: Sequence[ChatMessage]) -> str:
    """The group of everything with this prompt."""
    content = json.dumps([[turn.role, turn.content] for turn in prompt])
    return "prompt:" + hashlib.sha256(content.encode("ascii")).hexdigest()[:32]
