"""Evidence of the user's taste, as it is kept: what was done, and what it says of each value.

The words themselves stay where they are (messages, pairs, interactions); deleting them deletes
the evidence. Nothing here decides what may be learned: `learning` does.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from xeno.errors import InvalidValueError
from xeno.personalization.beliefs import Observation
from xeno.personalization.likelihoods import Effect
from xeno.personalization.preferences import EXPERTISE_PREFIX
from xeno.store.conversations import StoredMessage
from xeno.store.database import Database, Row

Kind = Literal["message", "rating", "thumb", "correction", "choice"]

SIGNALS: Mapping[str, str] = MappingProxyType(
    {
        "writing": "how you write, and what you ask about",
        "rating": "stars and thumbs",
        "correction": "what you change in a reply",
        "choice": "which of two replies you take",
    }
)
SIGNAL_OF: Mapping[Kind, str] = MappingProxyType(
    {
        "message": "writing",
        "rating": "rating",
        "thumb": "rating",
        "correction": "correction",
        "choice": "choice",
    }
)
REMEMBERED = 150  # pieces of evidence per belief that still count: 0.96 ** 150 = 0.002


@dataclass(frozen=True)
class Evidence:
    """One thing the user did, and what it did to one belief.

    Attributes:
        text: the user's own message or correction, or the reply they judged.
        reason: what was seen in it, a sentence.
        favours: the value that gained most by it; `moved`: how much probability moved (0 to 1).
        counted: False where it was undone, or its kind of signal is off.
    """

    id: str
    kind: Kind
    dimension: str
    created: float
    message_id: str | None
    pair_id: str | None
    interaction_id: str | None
    text: str
    reason: str
    favours: str
    moved: float
    counted: bool
    undone: bool


class EvidenceStore:
    """The evidence of a profile. Every write is one transaction."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock

    def keep(self, kind: Kind, effects: Sequence[Effect], **source: str | None) -> None:
        """Store a piece of evidence; it takes the place of an earlier one on the same reply."""
        with self._db.transaction() as connection:
            message_id = source.get("message_id")
            if message_id is not None:
                connection.execute(
                    "DELETE FROM learning_evidence WHERE message_id = ? AND kind = ?",
                    (message_id, kind),
                )
            if not effects:
                return
            cursor = connection.execute(
                "INSERT INTO learning_evidence (id, kind, message_id, pair_id, interaction_id, "
                "created) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    uuid.uuid4().hex,
                    kind,
                    message_id,
                    source.get("pair_id"),
                    source.get("interaction_id"),
                    self._clock(),
                ),
            )
            connection.executemany(
                "INSERT INTO learning_effects (dimension, evidence, log_likelihoods, reason) "
                "VALUES (?, ?, ?, ?)",
                [
                    (
                        effect.dimension,
                        cursor.lastrowid,
                        json.dumps([round(x, 6) for x in effect.log_likelihoods]),
                        effect.reason,
                    )
                    for effect in _one_each(effects)
                ],
            )

    def forget_pair(self, pair_id: str) -> None:
        """Delete what the pair taught."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM learning_evidence WHERE pair_id = ?", (pair_id,))

    def add_interaction(
        self, query: str, response: str, context: Mapping[str, Any], stars: int | None
    ) -> str:
        """Keep an exchange that happened elsewhere; its id."""
        made = uuid.uuid4().hex
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO interactions (id, query, response, context, feedback, created) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (made, query, response, json.dumps(dict(context)), stars, self._clock()),
            )
        return made

    def counted(self, dimension: str, kinds: Sequence[Kind]) -> list[Row]:
        """The latest evidence of these kinds that is not undone, oldest first."""
        rows = self._db.read(
            "SELECT f.log_likelihoods, e.created FROM learning_effects f "
            "JOIN learning_evidence e ON e.seq = f.evidence "
            f"WHERE f.dimension = ? AND e.undone = 0 AND e.kind IN ({_marks(kinds)}) "
            "ORDER BY f.evidence DESC LIMIT ?",
            (dimension, *kinds, REMEMBERED),
        )
        return rows[::-1]

    def rows(self, dimension: str, kinds: Sequence[Kind]) -> list[dict[str, Any]]:
        """All evidence, oldest first; its `counted` says whether `counted` has it."""
        rows = [
            dict(row)
            for row in self._db.read(
                "SELECT e.*, f.log_likelihoods, f.reason FROM learning_effects f "
                "JOIN learning_evidence e ON e.seq = f.evidence WHERE f.dimension = ? "
                "ORDER BY f.evidence",
                (dimension,),
            )
        ]
        left = REMEMBERED
        for row in reversed(rows):
            row["counted"] = left > 0 and not row["undone"] and row["kind"] in kinds
            left -= row["counted"]
        return rows

    def topics(self) -> list[str]:
        """The topics with evidence of the user's level in them, the latest first."""
        rows = self._db.read(
            "SELECT dimension FROM learning_effects WHERE dimension >= ? AND dimension < ? "
            "GROUP BY dimension ORDER BY max(evidence) DESC",
            (EXPERTISE_PREFIX, EXPERTISE_PREFIX[:-1] + "/"),
        )
        return [row["dimension"].removeprefix(EXPERTISE_PREFIX) for row in rows]

    def text(self, row: Mapping[str, Any]) -> str:
        """The very words of the evidence, where they are still there."""
        if row["pair_id"] and row["kind"] == "correction":
            found = self._db.one("SELECT chosen AS t FROM pairs WHERE id = ?", (row["pair_id"],))
        elif row["message_id"]:
            found = self._db.one(
                "SELECT content AS t FROM messages WHERE id = ?", (row["message_id"],)
            )
        else:
            column = "query" if row["kind"] == "message" else "response"
            found = self._db.one(
                f"SELECT {column} AS t FROM interactions WHERE id = ?", (row["interaction_id"],)
            )
        return str(found["t"]) if found else ""

    def question_of(self, reply: StoredMessage) -> str:
        row = self._db.one(
            "SELECT content FROM messages WHERE conversation_id = ? AND role = 'user' "
            "AND position < ? ORDER BY position DESC LIMIT 1",
            (reply.conversation_id, reply.position),
        )
        return str(row["content"]) if row else ""

    def delete(self, dimension: str | None) -> None:
        """Delete the evidence of one belief, or all of it and every interaction."""
        with self._db.transaction() as connection:
            if dimension is None:
                connection.execute("DELETE FROM learning_evidence")
                connection.execute("DELETE FROM interactions")
                return
            connection.execute("DELETE FROM learning_effects WHERE dimension = ?", (dimension,))
            connection.execute(
                "DELETE FROM learning_evidence WHERE seq NOT IN "
                "(SELECT evidence FROM learning_effects)"
            )

    def set_undone(self, evidence_id: str, undone: bool) -> None:
        """Leave a piece of evidence out, or count it again; InvalidValueError for an unknown."""
        with self._db.transaction() as connection:
            changed = connection.execute(
                "UPDATE learning_evidence SET undone = ? WHERE id = ?", (int(undone), evidence_id)
            ).rowcount
        if not changed:
            raise InvalidValueError(
                f"There is no evidence {evidence_id!r}.", "", "See 'xeno beliefs why'."
            )


def _one_each(effects: Sequence[Effect]) -> list[Effect]:
    """At most one effect per preference: what one act says twice is said once, added up."""
    joined: dict[str, Effect] = {}
    for effect in effects:
        known = joined.get(effect.dimension)
        if known is not None:
            both = zip(known.log_likelihoods, effect.log_likelihoods, strict=True)
            sums = [a + b for a, b in both]
            top = max(sums)
            effect = Effect(
                effect.dimension, tuple(s - top for s in sums), f"{known.reason} {effect.reason}"
            )
        joined[effect.dimension] = effect
    return list(joined.values())


def observation(row: Row | Mapping[str, Any]) -> Observation:
    """A row as the filter takes it."""
    return Observation(tuple(json.loads(row["log_likelihoods"])), float(row["created"]))


def _marks(items: Sequence[object]) -> str:
    return ", ".join("?" for _ in items)
