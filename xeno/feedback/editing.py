"""Changing pairs in a way that can be taken back: every edit goes through a journal.

One call is one batch, whether it changes one pair or all; `undo` takes back the last batch and
`redo` brings it back, until something else is edited. The journal keeps the earlier texts, in
the same encrypted database; `forget` empties it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.feedback import personal_data
from xeno.feedback.quality import assess
from xeno.store.database import Connection, Database, Row
from xeno.store.pairs import Pair, Pairs, check_texts, check_weight, pair_from

Action = Literal["activate", "deactivate", "weight", "edit", "redact", "keep", "delete"]
PERSONAL_DATA = ("personal_data", "secret")
_TEXTS = {"fingerprint", "prompt", "chosen", "rejected"}


@dataclass(frozen=True)
class Edit:
    """One batch of the journal: what was done to how many pairs, and whether it is undone."""

    batch: int
    action: Action
    pairs: int
    created: float
    undone: bool


@dataclass(frozen=True)
class Redaction:
    """What became of the pairs that were to be redacted.

    `off` are pairs that hold nothing any more without what was redacted, or would equal another
    pair: they are left as they were and switched off. `clean` held nothing to redact.
    """

    redacted: tuple[str, ...]
    off: tuple[str, ...]
    clean: tuple[str, ...]


class PairEditor:
    """Edits the pairs of a profile. Every call is one transaction and one batch."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def set_active(self, pair_ids: Sequence[str], active: bool) -> int:
        """Let training use the pairs, or not; how many that changed."""
        action: Action = "activate" if active else "deactivate"
        return self._edit_all(action, pair_ids, lambda row: {"active": int(active)})

    def set_weight(self, pair_ids: Sequence[str], weight: float) -> int:
        """How much the pairs count in training: 0 (nothing) upwards, 1 is usual.

        Raises:
            InvalidValueError: the weight is negative or no number.
        """
        check_weight(weight)
        return self._edit_all("weight", pair_ids, lambda row: {"weight": float(weight)})

    def edit(
        self,
        pair_id: str,
        *,
        prompt: Sequence[ChatMessage] | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
    ) -> Pair:
        """Change the texts of a pair; what is None stays. Its quality is judged again.

        Raises:
            InvalidValueError: there is no such pair, it could not be learned from like this, or
                another pair has these texts already.
        """
        pair = Pairs(self._db).get(pair_id)
        changed = replace(
            pair,
            prompt=pair.prompt if prompt is None else tuple(prompt),
            chosen=pair.chosen if chosen is None else chosen.strip(),
            rejected=pair.rejected if rejected is None else rejected.strip(),
        )
        self._refuse_unusable(changed)
        self._edit_all("edit", [pair_id], lambda row: _texts(changed))
        return Pairs(self._db).get(pair_id)

    def redact(self, pair_ids: Sequence[str], region: str | None = None) -> Redaction:
        """Replace secrets and personal data in all texts of the pairs, as in "[email]".

        Args:
            region: see `personal_data.find`.
        """
        redacted, off, clean = [], [], []

        def change(row: Row) -> Mapping[str, Any]:
            pair = pair_from(row)
            without = _redacted(pair, region)
            if without == pair:
                clean.append(pair.id)
                return {}
            try:
                self._refuse_unusable(without)
            except InvalidValueError:
                off.append(pair.id)
                return {"active": 0}
            redacted.append(pair.id)
            return _texts(without)

        self._edit_all("redact", pair_ids, change)
        return Redaction(tuple(redacted), tuple(off), tuple(clean))

    def keep(self, pair_ids: Sequence[str], kinds: Sequence[str] = PERSONAL_DATA) -> int:
        """The user has seen these kinds of finding and wants the pairs as they are.

        The findings stay listed and no longer cost anything. How many pairs that changed.
        """

        def change(row: Row) -> Mapping[str, Any]:
            metadata = json.loads(row["metadata"])
            kept = sorted({*metadata.get("kept", ()), *kinds})
            return {"metadata": json.dumps({**metadata, "kept": kept})}

        return self._edit_all("keep", pair_ids, change)

    def delete(self, pair_ids: Sequence[str]) -> int:
        """Delete the pairs; how many there were. Versions that learned from them stay."""
        return self._edit_all("delete", pair_ids, lambda row: None)

    def undo(self) -> Edit | None:
        """Take back the last batch that is not undone; None if there is none.

        Raises:
            InvalidValueError: a deleted pair cannot come back, because an equal one was stored
                since; nothing is changed.
        """
        return self._travel(undo=True)

    def redo(self) -> Edit | None:
        """Do again the batch that was undone last; None if there is none."""
        return self._travel(undo=False)

    def history(self, limit: int = 100, offset: int = 0) -> list[Edit]:
        """The batches of the journal, the last one first."""
        rows = self._db.read(
            "SELECT batch, action, count(*) AS pairs, max(created) AS created, "
            "max(undone) IS NOT NULL AS undone FROM pair_edits "
            "GROUP BY batch ORDER BY batch DESC LIMIT ? OFFSET ?",
            (limit, offset),
        )
        return [_edit(row) for row in rows]

    def forget(self) -> int:
        """Empty the journal: earlier texts are gone for good. How many batches it had."""
        with self._db.transaction() as connection:
            row = connection.execute("SELECT count(DISTINCT batch) FROM pair_edits").fetchone()
            connection.execute("DELETE FROM pair_edits")
        return int(row[0])

    def _edit_all(
        self,
        action: Action,
        pair_ids: Sequence[str],
        change: Callable[[Row], Mapping[str, Any] | None],
    ) -> int:
        """Set the columns that `change` gives for every pair; None deletes it."""
        done = 0
        with self._db.transaction() as connection:
            row = connection.execute(
                "SELECT coalesce(max(batch), 0) + 1 FROM pair_edits"
            ).fetchone()
            batch, now = int(row[0]), time.time()
            for pair_id in dict.fromkeys(pair_ids):
                found = connection.execute(
                    "SELECT * FROM pairs WHERE id = ?", (pair_id,)
                ).fetchone()
                if found is None:
                    continue
                after = change(found)
                if after is None:
                    before = dict(found)
                    connection.execute("DELETE FROM pairs WHERE id = ?", (pair_id,))
                else:
                    after = {name: v for name, v in after.items() if found[name] != v}
                    if not after:
                        continue
                    before = {name: found[name] for name in after}
                    _set(connection, pair_id, after)
                if not done:  # what was undone before cannot be done again after this
                    connection.execute("DELETE FROM pair_edits WHERE undone IS NOT NULL")
                connection.execute(
                    "INSERT INTO pair_edits (batch, action, pair_id, before, after, created) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (batch, action, pair_id, json.dumps(before), _json(after), now),
                )
                done += 1
        return done

    def _travel(self, *, undo: bool) -> Edit | None:
        last = "max(batch)" if undo else "min(batch)"
        where = "undone IS NULL" if undo else "undone IS NOT NULL"
        with self._db.transaction() as connection:
            row = connection.execute(f"SELECT {last} FROM pair_edits WHERE {where}").fetchone()
            if row[0] is None:
                return None
            batch = int(row[0])
            way = "DESC" if undo else "ASC"
            edits = connection.execute(
                f"SELECT * FROM pair_edits WHERE batch = ? ORDER BY seq {way}", (batch,)
            ).fetchall()
            for edit in edits:
                if edit["after"] is None:
                    if undo:
                        self._restore(connection, json.loads(edit["before"]))
                    else:
                        connection.execute("DELETE FROM pairs WHERE id = ?", (edit["pair_id"],))
                else:
                    columns = json.loads(edit["before" if undo else "after"])
                    self._refuse_double(columns.get("fingerprint"), edit["pair_id"])
                    _set(connection, edit["pair_id"], columns)
            connection.execute(
                "UPDATE pair_edits SET undone = ? WHERE batch = ?",
                (time.time() if undo else None, batch),
            )
            found = connection.execute(
                "SELECT batch, action, count(*) AS pairs, max(created) AS created, "
                "max(undone) IS NOT NULL AS undone FROM pair_edits WHERE batch = ?",
                (batch,),
            ).fetchone()
        return _edit(found)

    def _restore(self, connection: Connection, columns: Mapping[str, Any]) -> None:
        self._refuse_double(columns["fingerprint"], columns["id"])
        names = ", ".join(columns)
        places = ", ".join("?" * len(columns))
        connection.execute(
            f"INSERT OR IGNORE INTO pairs ({names}) VALUES ({places})", tuple(columns.values())
        )

    def _refuse_unusable(self, pair: Pair) -> None:
        check_texts(pair.prompt, pair.chosen, pair.rejected)
        self._refuse_double(pair.fingerprint, pair.id)

    def _refuse_double(self, fingerprint: str | None, pair_id: str) -> None:
        row = self._db.one(
            "SELECT id FROM pairs WHERE fingerprint = ? AND id != ?", (fingerprint, pair_id)
        )
        if row is not None:
            raise InvalidValueError(
                "There is another pair with these texts.",
                f"It is the pair {row['id'][:8]}; the same pair is stored once.",
                "Delete one of the two.",
            )


def _texts(pair: Pair) -> dict[str, Any]:
    """The columns that follow from a pair's texts."""
    quality = assess(pair.prompt, pair.chosen, pair.rejected, pair.feedback_type)
    return {
        "fingerprint": pair.fingerprint,
        "prompt": json.dumps([m.model_dump() for m in pair.prompt], ensure_ascii=False),
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "confidence": quality.confidence,
        "quality": quality.score,
        "quality_notes": json.dumps(list(quality.notes)),
    }


def _redacted(pair: Pair, region: str | None) -> Pair:
    def clean(text: str) -> str:
        return personal_data.redacted(text, personal_data.find(text, region))

    prompt = tuple(ChatMessage(role=m.role, content=clean(m.content)) for m in pair.prompt)
    return replace(pair, prompt=prompt, chosen=clean(pair.chosen), rejected=clean(pair.rejected))


def _set(connection: Connection, pair_id: str, columns: Mapping[str, Any]) -> None:
    """Change columns of a pair. What the doctor said of other texts is forgotten."""
    assigned = ", ".join(f"{name} = ?" for name in columns)
    connection.execute(f"UPDATE pairs SET {assigned} WHERE id = ?", (*columns.values(), pair_id))
    if _TEXTS.intersection(columns) or "metadata" in columns:
        connection.execute("DELETE FROM pair_checks WHERE pair_id = ?", (pair_id,))
        connection.execute("DELETE FROM pair_findings WHERE pair_id = ?", (pair_id,))


def _json(values: Mapping[str, Any] | None) -> str | None:
    return None if values is None else json.dumps(dict(values))


def _edit(row: Row) -> Edit:
    return Edit(
        batch=row["batch"],
        action=row["action"],
        pairs=row["pairs"],
        created=row["created"],
        undone=bool(row["undone"]),
    )
