"""Storing what a file says, each thing in its table, once; and telling what is there already."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from xeno.data.forms import ExampleRow, IntentRow, Item, MemoryRow, SettingRow
from xeno.data.histories import History
from xeno.data.rows import PreferenceRow
from xeno.feedback.quality import assess
from xeno.personalization.preferences import normalised
from xeno.store.conversations import valid_text
from xeno.store.examples import Example, Examples, new_example
from xeno.store.pairs import Pair, Pairs, new_pair
from xeno.store.profile import Profile

if TYPE_CHECKING:
    from xeno.personalization.memory import ContextualMemory

Kind = Literal["pair", "example", "intent", "conversation", "preference", "memory"]
Storable = Pair | Example | IntentRow | History | SettingRow | MemoryRow


def storable(profile: Profile, item: Item, file: str, line: int) -> Storable:
    """`item` as it would be stored.

    Raises:
        InvalidValueError: it cannot be stored; `what` is the reason.
    """
    if isinstance(item, PreferenceRow):
        return _pair(profile.name, item, file, line)
    if isinstance(item, ExampleRow):
        return new_example(
            item.kind,
            item.prompt,
            item.reply,
            item.label,
            source=item.source or file,
            active=item.active,
            metadata={"file": file, "line": line, "fields": dict(item.fields)},
        )
    if isinstance(item, IntentRow):
        for text, name in ((item.text, "text"), (item.intent, "intent"), (item.reply, "reply")):
            valid_text(text, name)
    elif isinstance(item, History):
        valid_text(item.title, "title")
        for turn in item.turns:
            valid_text(turn.content, "message")
            valid_text(turn.system_prompt or "", "system prompt")
    elif isinstance(item, SettingRow):
        return SettingRow(*normalised(item.key, item.value))
    return item


def kind_of(thing: Storable) -> Kind:
    """The family of tables a thing belongs to."""
    if isinstance(thing, Pair):
        return "pair"
    if isinstance(thing, Example):
        return "example"
    if isinstance(thing, IntentRow):
        return "intent"
    if isinstance(thing, History):
        return "conversation"
    return "preference" if isinstance(thing, SettingRow) else "memory"


def name_of(thing: Storable) -> str:
    """How a thing is counted: its kind, and for an example which kind of example."""
    return thing.kind if isinstance(thing, Example) else kind_of(thing)


class Writer:
    """Stores things in a profile; use it inside one transaction."""

    def __init__(self, profile: Profile, file: str) -> None:
        self._profile = profile
        self._db = profile.db
        self._pairs, self._examples = Pairs(profile.db), Examples(profile.db)
        self._file = file

    def known(self, thing: Storable) -> bool:
        """Whether it is stored already; then `add` changes nothing."""
        if isinstance(thing, Pair):
            return self._pairs.same_as(thing) is not None
        if isinstance(thing, Example):
            return self._examples.known(thing)
        if isinstance(thing, IntentRow):
            return self._there("SELECT 1 FROM intent_examples WHERE input = ?", thing.text)
        if isinstance(thing, History):
            return self._there("SELECT 1 FROM conversations WHERE id = ?", _history_id(thing))
        if isinstance(thing, SettingRow):
            return self._there("SELECT 1 FROM preferences WHERE key = ?", thing.key)
        return self._memory_known(thing)

    def add(self, thing: Storable) -> str | None:
        """Store it: the id of its row, or None if it is known already."""
        if isinstance(thing, Pair):
            return thing.id if self._pairs.add(thing) else None
        if isinstance(thing, Example):
            return thing.id if self._examples.add(thing) else None
        if self.known(thing):
            return None
        if isinstance(thing, IntentRow):
            return self._add_intent(thing)
        if isinstance(thing, History):
            return self._add_history(thing)
        if isinstance(thing, SettingRow):
            with self._db.transaction() as connection:
                connection.execute(
                    "INSERT INTO preferences (key, value, updated) VALUES (?, ?, ?)",
                    (thing.key, thing.value, time.time()),
                )
            return thing.key
        return self._add_memory(thing)

    def _there(self, sql: str, value: str) -> bool:
        return self._db.one(sql, (value,)) is not None

    def _add_intent(self, row: IntentRow) -> str:
        with self._db.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO intent_examples (input, output, intent, context, created) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    row.text,
                    row.reply,
                    row.intent,
                    json.dumps({**row.fields, "intent": row.intent, "source": self._file}),
                    time.time(),
                ),
            )
        return str(cursor.lastrowid)

    def _add_history(self, history: History) -> str:
        identity = _history_id(history)
        times = [turn.created for turn in history.turns if turn.created is not None]
        created = history.created or (times[0] if times else time.time())
        system = None
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO conversations (id, title, created, updated) VALUES (?, ?, ?, ?)",
                (identity, history.title, created, max([created, *times])),
            )
            position, at = 0, created
            for turn in history.turns:
                if turn.role == "system":
                    system = turn.content
                    continue
                at = turn.created if turn.created is not None else at
                connection.execute(
                    "INSERT INTO messages (id, conversation_id, position, role, content, created, "
                    "system_prompt, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        uuid.uuid4().hex,
                        identity,
                        position,
                        turn.role,
                        turn.content,
                        at,
                        (turn.system_prompt or system) if turn.role == "assistant" else None,
                        json.dumps({"file": self._file}),
                    ),
                )
                position += 1
        return identity

    def _memory_known(self, row: MemoryRow) -> bool:
        memory = self._memory()
        if row.kind == "fact":
            return memory.retrieve_fact(row.topic, row.name) is not None
        if row.kind == "workflow":
            return memory.retrieve_workflow(row.topic) is not None
        found = memory.all(kind="episode", topic=row.topic)
        return any(m.content == row.content and m.context == row.context for m in found)

    def _add_memory(self, row: MemoryRow) -> str:
        memory = self._memory()
        if row.kind == "fact":
            kept = memory.store_fact(
                row.topic, row.name, row.content, importance=row.importance, source=self._file
            )
        elif row.kind == "workflow":
            kept = memory.store_workflow(
                row.topic, row.content, importance=row.importance, source=self._file
            )
        else:
            kept = memory.store_episode(
                row.topic, row.content, row.context, importance=row.importance, source=self._file
            )
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE memories SET pinned = ?, created = coalesce(?, created) WHERE id = ?",
                (int(row.pinned), row.created, kept.id),
            )
        return str(kept.id)

    def _memory(self) -> ContextualMemory:
        from xeno.personalization.memory import ContextualMemory

        return ContextualMemory(self._profile.name, profile=self._profile)


def _pair(user_id: str, row: PreferenceRow, file: str, line: int) -> Pair:
    quality = assess(row.prompt, row.chosen, row.rejected, "import")
    metadata: Mapping[str, object] = {"file": file, "line": line, "fields": dict(row.fields)}
    pair = new_pair(
        user_id,
        row.prompt,
        row.chosen,
        row.rejected,
        feedback_type="import",
        confidence=quality.confidence,
        quality=quality.score,
        quality_notes=quality.notes,
        group_id=row.group,
        weight=row.weight,
        metadata=metadata,
    )
    return pair if row.active else replace(pair, active=False)


def _history_id(history: History) -> str:
    """The same conversation has the same id, so that it is stored once."""
    content = [history.title, history.created, [[t.role, t.content] for t in history.turns]]
    return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()[:32]
