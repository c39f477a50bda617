"""Examples that are not preference pairs: instructions, rated replies, chats."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.store.conversations import like, valid_text
from xeno.store.database import Database, Row

ExampleKind = Literal["instruction", "unpaired", "chat"]
KINDS: tuple[str, ...] = get_args(ExampleKind)
GOOD, BAD = "good", "bad"


@dataclass(frozen=True)
class Example:
    """One example.

    `instruction` and `chat`: to `prompt` the `reply` is given. `unpaired`: the same, and
    `label` ("good" or "bad") says how the reply was. `source` says where it came from. An
    inactive example is kept and not learned from.
    """

    id: str
    kind: ExampleKind
    prompt: tuple[ChatMessage, ...]
    reply: str
    label: str | None
    source: str
    created: float
    active: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the example says: the same one is stored once."""
        content = [self.kind, [[m.role, m.content] for m in self.prompt], self.reply, self.label]
        return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()


def new_example(
    kind: ExampleKind,
    prompt: Sequence[ChatMessage],
    reply: str,
    label: str | None = None,
    *,
    source: str,
    active: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> Example:
    """An example that can be learned from.

    Raises:
        InvalidValueError: a missing or invalid text, a label that the kind does not have, a
            prompt that does not end with the user's turn.
    """
    for turn in prompt:
        valid_text(turn.content, "prompt")
    if not prompt or prompt[-1].role != "user" or not prompt[-1].content.strip():
        raise InvalidValueError("The prompt does not end with something that the user said.")
    if any(turn.role == "system" for turn in prompt[1:]):
        raise InvalidValueError("The prompt has a system turn after its beginning.")
    if not valid_text(reply, "reply").strip():
        raise InvalidValueError("The reply is empty.")
    if kind == "unpaired" and label not in (GOOD, BAD):
        raise InvalidValueError(f"The label {label!r} is neither good nor bad.")
    if kind != "unpaired" and label is not None:
        raise InvalidValueError(f"An example of the kind {kind} has no label.")
    return Example(
        id=uuid.uuid4().hex,
        kind=kind,
        prompt=tuple(prompt),
        reply=reply,
        label=label,
        source=valid_text(source, "source"),
        created=time.time(),
        active=active,
        metadata=dict(metadata or {}),
    )


class Examples:
    """The examples of a profile. The same example is stored once."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, example: Example) -> bool:
        """Store `example`. False if the same one is already there; then nothing changes."""
        with self._db.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO examples (id, fingerprint, kind, prompt, reply, label, source, "
                "created, active, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (fingerprint) DO NOTHING",
                (
                    example.id,
                    example.fingerprint,
                    example.kind,
                    json.dumps([m.model_dump() for m in example.prompt], ensure_ascii=False),
                    example.reply,
                    example.label,
                    example.source,
                    example.created,
                    int(example.active),
                    json.dumps(dict(example.metadata)),
                ),
            )
            return cursor.rowcount == 1

    def get(self, example_id: str) -> Example:
        """The example. Raises InvalidValueError if there is none."""
        row = self._db.one("SELECT * FROM examples WHERE id = ?", (example_id,))
        if row is None:
            raise InvalidValueError(
                f"There is no example {example_id!r}.",
                "It was deleted, or belongs to another profile.",
                "Choose one from the list of examples.",
            )
        return _example(row)

    def known(self, example: Example) -> bool:
        """Whether an example that says the same is stored."""
        found = self._db.one("SELECT 1 FROM examples WHERE fingerprint = ?", (example.fingerprint,))
        return found is not None

    def all(
        self,
        kind: ExampleKind | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        search: str | None = None,
        active: bool | None = None,
    ) -> list[Example]:
        """The examples in the order they came; `search` looks in prompt and reply."""
        where, params = _where(kind, search, active)
        rows = self._db.read(
            f"SELECT * FROM examples {where} ORDER BY created, rowid LIMIT ? OFFSET ?",
            [*params, -1 if limit is None else limit, offset],
        )
        return [_example(row) for row in rows]

    def count(
        self,
        kind: ExampleKind | None = None,
        *,
        search: str | None = None,
        active: bool | None = None,
    ) -> int:
        """How many there are of these."""
        where, params = _where(kind, search, active)
        row = self._db.one(f"SELECT count(*) FROM examples {where}", params)
        return int(row[0]) if row else 0

    def conversations(self) -> dict[str, str]:
        """The conversation of each example that is a reply in one, by the example's id."""
        rows = self._db.read(
            "SELECT examples.id, messages.conversation_id FROM examples "
            "JOIN messages ON messages.id = examples.id"
        )
        return {row["id"]: row["conversation_id"] for row in rows}

    def set_active(self, example_id: str, active: bool) -> None:
        """Learn from the example, or not."""
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE examples SET active = ? WHERE id = ?", (int(active), example_id)
            )

    def delete(self, example_id: str) -> None:
        """Delete the example."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM examples WHERE id = ?", (example_id,))


def _example(row: Row) -> Example:
    values = dict(row)
    del values["fingerprint"]
    values["prompt"] = tuple(ChatMessage(**turn) for turn in json.loads(values["prompt"]))
    values["metadata"] = json.loads(values["metadata"])
    values["active"] = bool(values["active"])
    return Example(**values)


def _where(
    kind: ExampleKind | None, search: str | None, active: bool | None
) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    params: list[Any] = []
    if kind is not None:
        conditions.append("kind = ?")
        params.append(kind)
    if active is not None:
        conditions.append("active = ?")
        params.append(int(active))
    if search:
        fields = ("prompt", "reply")
        conditions.append("(" + " OR ".join(f"{f} LIKE ? ESCAPE '\\'" for f in fields) + ")")
        params += [like(search)] * 2
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), params
