"""The conversations with the assistant, turn by turn."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from xeno.errors import InvalidValueError
from xeno.store.database import Database, Row


@dataclass(frozen=True)
class Conversation:
    """A conversation. Times are Unix seconds."""

    id: str
    title: str
    created: float
    updated: float


@dataclass(frozen=True)
class StoredMessage:
    """One turn. A reply knows what produced it: system prompt, version (None: base), base.

    A `superseded` reply was regenerated, or lost a choice: it is kept for feedback and is no
    longer part of the conversation that is sent.
    """

    id: str
    conversation_id: str
    position: int
    role: Literal["user", "assistant"]
    content: str
    created: float
    system_prompt: str | None = None
    version: str | None = None
    base_hash: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    superseded: bool = False


class Conversations:
    """The conversations of a profile."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, title: str) -> Conversation:
        """Begin a conversation."""
        now = time.time()
        made = Conversation(uuid.uuid4().hex, valid_text(title, "title"), now, now)
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO conversations (id, title, created, updated) VALUES (?, ?, ?, ?)",
                (made.id, made.title, now, now),
            )
        return made

    def all(self, search: str | None = None, limit: int = 200) -> list[Conversation]:
        """The conversations, last used first; `search` looks in titles and in every turn."""
        where, params = "", []
        if search:
            pattern = like(search)
            where = (
                "WHERE title LIKE ? ESCAPE '\\' OR id IN "
                "(SELECT conversation_id FROM messages WHERE content LIKE ? ESCAPE '\\') "
            )
            params = [pattern, pattern]
        rows = self._db.read(
            f"SELECT * FROM conversations {where}ORDER BY updated DESC, rowid DESC LIMIT ?",
            [*params, limit],
        )
        return [Conversation(**dict(row)) for row in rows]

    def get(self, conversation_id: str) -> Conversation:
        """The conversation. Raises InvalidValueError if there is none."""
        row = self._db.one("SELECT * FROM conversations WHERE id = ?", (conversation_id,))
        if row is None:
            raise InvalidValueError(
                f"There is no conversation {conversation_id!r}.",
                "It was deleted, or belongs to another profile.",
                "Choose one from the list of conversations.",
            )
        return Conversation(**dict(row))

    def with_id(self, beginning: str) -> str:
        """The id that begins so. Raises InvalidValueError unless there is exactly one."""
        rows = self._db.read(
            "SELECT id FROM conversations WHERE substr(id, 1, ?) = ? LIMIT 2",
            (len(beginning), beginning),
        )
        if len(rows) != 1 or not beginning:
            raise InvalidValueError(
                f"There is no single conversation {beginning!r}.",
                "Several ids begin so." if rows else "No id begins so.",
                "See 'xeno conversations' for the ids.",
            )
        return str(rows[0]["id"])

    def find(self, text: str, limit: int = 50) -> list[StoredMessage]:
        """The turns that hold `text`, whatever the case of its ASCII letters, newest first."""
        rows = self._db.read(
            "SELECT * FROM messages WHERE superseded = 0 AND content LIKE ? ESCAPE '\\' "
            "ORDER BY created DESC, position DESC LIMIT ?",
            (like(text), limit),
        )
        return [_message(row) for row in rows]

    def rename(self, conversation_id: str, title: str) -> None:
        """Give the conversation another title."""
        self.get(conversation_id)
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE conversations SET title = ? WHERE id = ?",
                (valid_text(title, "title"), conversation_id),
            )

    def delete(self, conversation_id: str) -> None:
        """Delete the conversation with its turns and their feedback; its pairs stay."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))

    def messages(self, conversation_id: str, superseded: bool = False) -> list[StoredMessage]:
        """The turns in their order; with `superseded` also the replies that were replaced."""
        rows = self._db.read(
            "SELECT * FROM messages WHERE conversation_id = ? AND superseded <= ? "
            "ORDER BY position",
            (conversation_id, int(superseded)),
        )
        return [_message(row) for row in rows]

    def latest_reply(self) -> str | None:
        """The id of the latest reply of all conversations, None before the first."""
        row = self._db.one(
            "SELECT id FROM messages WHERE role = 'assistant' AND superseded = 0 "
            "ORDER BY created DESC, position DESC LIMIT 1"
        )
        return None if row is None else str(row["id"])

    def replies_beside(self, message_id: str) -> list[StoredMessage]:
        """All replies to the turn that the reply `message_id` answers, itself among them, the
        oldest first. More than one where it was regenerated.

        Raises:
            InvalidValueError: there is no such message.
        """
        message = self.message(message_id)
        turns = self.messages(message.conversation_id, superseded=True)
        questions = [turn.position for turn in turns if turn.role == "user"]
        asked = max((p for p in questions if p < message.position), default=-1)
        following = min((p for p in questions if p > message.position), default=len(turns))
        return [
            turn for turn in turns if turn.role == "assistant" and asked < turn.position < following
        ]

    def message(self, message_id: str) -> StoredMessage:
        """The turn. Raises InvalidValueError if there is none."""
        row = self._db.one("SELECT * FROM messages WHERE id = ?", (message_id,))
        if row is None:
            raise InvalidValueError(
                f"There is no message {message_id!r}.",
                "It was deleted, or belongs to another profile.",
                "Choose a message of a conversation that is there.",
            )
        return _message(row)

    def add_message(
        self,
        conversation_id: str,
        role: Literal["user", "assistant"],
        content: str,
        *,
        system_prompt: str | None = None,
        version: str | None = None,
        base_hash: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StoredMessage:
        """Append a turn.

        Raises:
            InvalidValueError: there is no such conversation, or the text is not valid Unicode.
        """
        valid_text(content, "message")
        now = time.time()
        with self._db.transaction() as connection:
            self.get(conversation_id)
            row = self._db.one(
                "SELECT coalesce(max(position), -1) + 1 AS next FROM messages "
                "WHERE conversation_id = ?",
                (conversation_id,),
            )
            message = StoredMessage(
                id=uuid.uuid4().hex,
                conversation_id=conversation_id,
                position=int(row["next"]) if row else 0,
                role=role,
                content=content,
                created=now,
                system_prompt=system_prompt,
                version=version,
                base_hash=base_hash,
                metadata=dict(metadata or {}),
            )
            connection.execute(
                "INSERT INTO messages (id, conversation_id, position, role, content, created, "
                "system_prompt, version, base_hash, metadata) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    message.id,
                    conversation_id,
                    message.position,
                    role,
                    content,
                    now,
                    system_prompt,
                    version,
                    base_hash,
                    json.dumps(message.metadata),
                ),
            )
            connection.execute(
                "UPDATE conversations SET updated = ? WHERE id = ?", (now, conversation_id)
            )
        return message

    def supersede(self, message_id: str, superseded: bool = True) -> None:
        """Take the reply out of the conversation that is sent, or put it back."""
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE messages SET superseded = ? WHERE id = ?", (int(superseded), message_id)
            )


def like(text: str) -> str:
    """The LIKE pattern (escape character backslash) that finds `text` anywhere."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"


def valid_text(text: str, name: str) -> str:
    """`text`, if it can be stored as Unicode. Raises InvalidValueError naming the field."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"The {name} is not valid Unicode text.",
            f"It has half a character pair at position {error.start}.",
            "Type or paste the text again.",
        ) from error
    return text


def _message(row: Row) -> StoredMessage:
    values = dict(row)
    values["metadata"] = json.loads(values["metadata"])
    values["superseded"] = bool(values["superseded"])
    return StoredMessage(**values)
