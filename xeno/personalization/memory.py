"""What the user wants remembered: facts, episodes and workflows, and what of it a reply gets.

Everything here was put in by the user, or by something the user started, and says so: each
memory has its source, its time, and how often a prompt had it. Nothing is kept by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xeno.errors import InvalidValueError
from xeno.personalization import memories as records
from xeno.personalization import relevance
from xeno.personalization.memories import Kind, Memory, Recalled, section
from xeno.store.profile import Profile
from xeno.store.user import OfUser

ENABLED = "memory.enabled"
BUDGET = "memory.budget"
DEFAULT_BUDGET = 800  # characters of the system prompt, about 200 tokens
LARGEST_BUDGET = 20_000
MOST_COMPARED = 500  # of the memories that match a message, those that match best


class ContextualMemory(OfUser):
    """What is remembered for `user_id`. Usable from any thread and from several processes.

    Args: see `OfUser`.
    """

    def __init__(self, user_id: str = "default", *, profile: Profile | None = None) -> None:
        super().__init__(user_id, profile=profile)
        self._db = self._profile.db

    # Facts, episodes, workflows ---------------------------------------------------------

    def store_fact(
        self,
        category: str,
        key: str,
        value: Any,
        *,
        importance: float = 0.5,
        source: str = "user",
        message_id: str | None = None,
    ) -> Memory:
        """Remember that `key` of `category` is `value`; an earlier value is replaced.

        Raises:
            InvalidValueError: an empty name, or a value that JSON cannot hold.
        """
        topic, name = records.checked_text(category, "category"), records.checked_text(key, "key")
        return self._store("fact", topic, name, value, {}, importance, source, message_id)

    def retrieve_fact(self, category: str, key: str) -> Any:
        """The value, or None where it is unknown."""
        found = self._named("fact", category, key)
        return None if found is None else found.content

    def store_episode(
        self,
        event_type: str,
        description: str,
        context: Mapping[str, Any] | None = None,
        *,
        importance: float = 0.5,
        source: str = "user",
        message_id: str | None = None,
    ) -> Memory:
        """Remember that something happened now. Every call is an episode of its own."""
        topic = records.checked_text(event_type, "event type")
        said = records.checked_text(description, "description", records.LONGEST_TEXT)
        return self._store(
            "episode", topic, "", said, dict(context or {}), importance, source, message_id
        )

    def retrieve_episodes(
        self, event_type: str | None = None, limit: int = 5
    ) -> list[dict[str, Any]]:
        """The last episodes, newest first: id, event_type, description, context, timestamp."""
        return [
            {
                "id": memory.id,
                "event_type": memory.topic,
                "description": memory.content,
                "context": dict(memory.context),
                "timestamp": memory.created,
            }
            for memory in self.all(kind="episode", topic=event_type, limit=limit)
        ]

    def store_workflow(
        self,
        name: str,
        steps: Sequence[str],
        *,
        importance: float = 0.5,
        source: str = "user",
        message_id: str | None = None,
    ) -> Memory:
        """Remember how something is done; earlier steps of the same name are replaced."""
        if isinstance(steps, str) or not steps:
            raise InvalidValueError("A workflow is a list of steps.", "", "Give at least one step.")
        kept = [records.checked_text(step, "step", records.LONGEST_TEXT) for step in steps]
        topic = records.checked_text(name, "workflow's name")
        return self._store("workflow", topic, "", kept, {}, importance, source, message_id)

    def retrieve_workflow(self, name: str) -> list[str] | None:
        """The steps, or None where there is no such workflow."""
        found = self._named("workflow", name, "")
        return None if found is None else list(found.content)

    # Looking through, editing, forgetting -----------------------------------------------

    def get(self, memory_id: int) -> Memory:
        """The memory. Raises InvalidValueError if there is none."""
        row = self._db.one("SELECT * FROM memories WHERE id = ?", (memory_id,))
        if row is None:
            raise InvalidValueError(
                f"There is no memory {memory_id}.",
                "It was forgotten, or belongs to another profile.",
                "Choose one from the list of memories.",
            )
        return records.from_row(row)

    def all(
        self,
        *,
        kind: Kind | None = None,
        topic: str | None = None,
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Memory]:
        """The memories, the last changed first. `search`: each word begins a word of it."""
        where, params = _where(kind, topic, search)
        order = "created" if kind == "episode" else "updated"
        rows = self._db.read(
            f"SELECT * FROM memories {where} ORDER BY {order} DESC, id DESC LIMIT ? OFFSET ?",
            [*params, -1 if limit is None else limit, offset],
        )
        return [records.from_row(row) for row in rows]

    def count(
        self, *, kind: Kind | None = None, topic: str | None = None, search: str | None = None
    ) -> int:
        """How many memories `all` would give without a limit."""
        where, params = _where(kind, topic, search)
        row = self._db.one(f"SELECT count(*) FROM memories {where}", params)
        return int(row[0]) if row else 0

    def topics(self) -> list[tuple[str, int]]:
        """The topics and how many memories each has, the largest first."""
        rows = self._db.read(
            "SELECT topic, count(*) AS n FROM memories GROUP BY topic ORDER BY n DESC, topic"
        )
        return [(row["topic"], row["n"]) for row in rows]

    def edit(
        self,
        memory_id: int,
        *,
        content: Any = None,
        importance: float | None = None,
        pinned: bool | None = None,
    ) -> Memory:
        """Change a memory and return it as it was; `restore` with that undoes the change."""
        with self._db.transaction() as connection:
            before = self.get(memory_id)
            changed = before
            if content is not None:
                changed = replace(changed, content=records.checked_content(before.kind, content))
                changed = replace(changed, text=records.text_of(changed), updated=time.time())
            if importance is not None:
                changed = replace(changed, importance=records.checked_share(importance))
            if pinned is not None:
                changed = replace(changed, pinned=pinned)
            records.write(connection, changed)
        return before

    def delete(self, memory_id: int) -> Memory:
        """Forget one memory and return what it was; `restore` brings it back."""
        with self._db.transaction() as connection:
            gone = self.get(memory_id)
            connection.execute("DELETE FROM memories WHERE id = ?", (memory_id,))
        return gone

    def about(self, topic: str) -> list[Memory]:
        """What `forget` would forget: the memories of `topic`, and those that speak of it."""
        phrase = " ".join(relevance.WORD.findall(topic.casefold()))
        rows = self._db.read(
            "SELECT * FROM memories WHERE topic = ? COLLATE NOCASE OR id IN "
            "(SELECT rowid FROM memory_index WHERE memory_index MATCH ?) ORDER BY updated DESC",
            (records.checked_text(topic, "topic"), f'"{phrase}"'),
        )
        return [records.from_row(row) for row in rows]

    def forget(self, topic: str) -> list[Memory]:
        """Forget everything that is `about` the topic. Returns what it was, for `restore`.

        Conversations that had a memory in their prompt keep it until they are deleted;
        `replies_with` counts them.
        """
        with self._db.transaction() as connection:
            gone = self.about(topic)
            connection.executemany(
                "DELETE FROM memories WHERE id = ?", [(memory.id,) for memory in gone]
            )
        return gone

    def restore(self, memories: Iterable[Memory]) -> None:
        """Bring back memories as they were: the undo of `edit`, `delete` and `forget`.

        A fact or workflow that was stored again meanwhile gives way to the one restored.
        """
        with self._db.transaction() as connection:
            for memory in memories:
                if memory.kind != "episode":
                    connection.execute(
                        "DELETE FROM memories WHERE kind = ? AND topic = ? AND name = ?",
                        (memory.kind, memory.topic, memory.name),
                    )
                records.write(connection, memory)

    def replies_with(self, memory_id: int) -> list[str]:
        """The ids of the replies that had the memory in their prompt, newest first."""
        rows = self._db.read(
            "SELECT id FROM messages WHERE role = 'assistant' AND EXISTS (SELECT 1 FROM "
            "json_each(metadata, '$.memories') WHERE json_extract(value, '$.id') = ?) "
            "ORDER BY created DESC",
            (memory_id,),
        )
        return [row["id"] for row in rows]

    # What a reply gets ------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether memories are brought into prompts. They are kept and shown either way."""
        return bool(self._profile.setting(ENABLED, True))

    def set_enabled(self, on: bool) -> None:
        self._profile.set_setting(ENABLED, bool(on))

    @property
    def budget(self) -> int:
        """How many characters of the system prompt memories may take."""
        return int(self._profile.setting(BUDGET, DEFAULT_BUDGET))

    def set_budget(self, characters: int) -> None:
        """Raises InvalidValueError outside 0 to 20,000."""
        if not 0 <= characters <= LARGEST_BUDGET:
            raise InvalidValueError(
                f"Memories cannot take {characters} characters of the prompt.",
                f"0 to {LARGEST_BUDGET:,} are allowed; 4 are about one token.",
                f"The usual number is {DEFAULT_BUDGET}.",
            )
        self._profile.set_setting(BUDGET, int(characters))

    def recall(self, message: str, limit: int = 20) -> list[Recalled]:
        """What bears on `message`, best first; the pinned ones come before all others."""
        pinned = [
            Recalled(records.from_row(row), 1.0, ())
            for row in self._db.read("SELECT * FROM memories WHERE pinned ORDER BY created, id")
        ]
        found = relevance.matches(self._db, relevance.words(message))
        weights = relevance.weights(found, self.count()) if any(found.values()) else {}
        # Recency and importance at most double a score: what has less than half the relevance of
        # the last one shown cannot take its place.
        best = sorted(weights, key=lambda memory_id: weights[memory_id], reverse=True)
        if len(best) > limit:
            least = relevance.score(weights[best[limit - 1]], 0.0, 0.0)
            best = [i for i in best if relevance.score(weights[i], 1.0, 1.0) >= least]
        best = best[:MOST_COMPARED]
        holders = {word: set(ids) for word, ids in found.items()}
        marks, now = ",".join("?" * len(best)), time.time()
        scored = []
        for row in self._db.read(f"SELECT * FROM memories WHERE id IN ({marks})", best):
            memory = records.from_row(row)
            if memory.pinned:
                continue
            recent = relevance.recency(memory.kind, memory.updated, now)
            value = relevance.score(weights[memory.id], recent, memory.importance)
            shared = tuple(word for word, ids in holders.items() if memory.id in ids)
            scored.append(Recalled(memory, value, shared))
        scored.sort(key=lambda r: (-r.score, -r.memory.id))
        return (pinned + scored)[:limit]

    def chosen_for(
        self,
        message: str,
        *,
        kept: Sequence[int] = (),
        budget: int | None = None,
        measure: Callable[[str], int] = len,
    ) -> list[Memory]:
        """The memories that go into the prompt of `message`; none while memory is off.

        Args:
            kept: ids that the reply before this had. A message that brings nothing of its own
                ("shorter, please") keeps them: it goes on with what was spoken of.
            budget: in units of `measure`; None is the `budget` of the profile, in characters.
            measure: the size of a text, for example in tokens of the model.
        """
        if not self.enabled:
            return []
        limit = self.budget if budget is None else budget
        found = [recalled.memory for recalled in self.recall(message)]
        if kept and all(memory.pinned for memory in found):
            marks = ",".join("?" * len(kept))
            rows = self._db.read(f"SELECT * FROM memories WHERE id IN ({marks})", list(kept))
            earlier = {memory.id: memory for memory in map(records.from_row, rows)}
            there = {memory.id for memory in found}
            found += [earlier[i] for i in kept if i in earlier and i not in there]
        chosen: list[Memory] = []
        for memory in found:
            if measure(section([*chosen, memory])) <= limit:
                chosen.append(memory)
        return chosen

    def mark_used(self, memory_ids: Sequence[int]) -> None:
        """Note that a prompt had these memories just now."""
        if memory_ids:
            with self._db.transaction() as connection:
                connection.executemany(
                    "UPDATE memories SET used = ?, uses = uses + 1 WHERE id = ?",
                    [(time.time(), memory_id) for memory_id in memory_ids],
                )

    def _named(self, kind: Kind, topic: str, name: str) -> Memory | None:
        row = self._db.one(
            "SELECT * FROM memories WHERE kind = ? AND topic = ? AND name = ?",
            (kind, " ".join(topic.split()), " ".join(name.split())),
        )
        return None if row is None else records.from_row(row)

    def _store(
        self,
        kind: Kind,
        topic: str,
        name: str,
        content: Any,
        context: dict[str, Any],
        importance: float,
        source: str,
        message_id: str | None,
    ) -> Memory:
        now = time.time()
        with self._db.transaction() as connection:
            known = self._named(kind, topic, name) if kind != "episode" else None
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'memories'")
            last = row.fetchone()
            memory = Memory(
                id=known.id if known else (last[0] if last else 0) + 1,
                kind=kind,
                topic=topic,
                name=name,
                content=records.checked_content(kind, content),
                context=records.as_json(context, "context"),
                text="",
                source=records.checked_text(source, "source"),
                message_id=message_id,
                importance=records.checked_share(importance),
                pinned=known.pinned if known else False,
                created=known.created if known else now,
                updated=now,
                used=known.used if known else None,
                uses=known.uses if known else 0,
            )
            memory = replace(memory, text=records.text_of(memory))
            records.write(connection, memory)
        return memory


def _where(kind: str | None, topic: str | None, search: str | None) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    params: list[Any] = []
    if kind is not None:
        conditions.append("kind = ?")
        params.append(kind)
    if topic is not None:
        conditions.append("topic = ?")
        params.append(" ".join(topic.split()))
    wanted = relevance.WORD.findall(search.casefold()) if search else []
    if wanted:
        conditions.append("id IN (SELECT rowid FROM memory_index WHERE memory_index MATCH ?)")
        params.append(" AND ".join(f'"{word}"*' for word in wanted))
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), params
