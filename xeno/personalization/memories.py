"""One thing remembered: what it holds, how it is said in one line, how it is stored."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xeno.errors import InvalidValueError
from xeno.store.conversations import valid_text
from xeno.store.database import Connection, Row

Kind = Literal["fact", "episode", "workflow"]

LONGEST_LINE = 400  # characters of one memory in the prompt
LONGEST_TEXT = 100_000
HEADING = "What you remember about the user:"


@dataclass(frozen=True)
class Memory:
    """One thing remembered.

    Attributes:
        topic: a fact's category, an episode's type, a workflow's name.
        name: a fact's key, otherwise empty.
        content: a fact's value (anything JSON can hold), a description, or a list of steps.
        text: one line that says all of it: searched, and said in the prompt.
        source: who or what it came from: "user", or what the caller named.
        message_id: the message it came from, if any.
        importance: 0 to 1.
        pinned: whether every prompt has it.
        created, updated, used: Unix seconds; `used` is when a prompt last had it.
    """

    id: int
    kind: Kind
    topic: str
    name: str
    content: Any
    context: Mapping[str, Any]
    text: str
    source: str
    message_id: str | None
    importance: float
    pinned: bool
    created: float
    updated: float
    used: float | None = None
    uses: int = 0

    @property
    def line(self) -> str:
        """`text` as the prompt says it: one line, the day of an episode, no endless ones."""
        day = time.strftime("%Y-%m-%d ", time.localtime(self.created))
        line = (day if self.kind == "episode" else "") + self.text
        return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1].rstrip() + "…"


@dataclass(frozen=True)
class Recalled:
    """A memory found for a message: its score (0 to 1) and the words that both have."""

    memory: Memory
    score: float
    words: tuple[str, ...]


def system_prompt(prefix: str, memories: Sequence[Memory]) -> str:
    """What is said before the turns: how to answer (`prefix`), then what is remembered."""
    return "\n\n".join(part for part in (prefix, section(memories)) if part)


def section(memories: Sequence[Memory]) -> str:
    """The part of the system prompt that says `memories`; empty without any."""
    if not memories:
        return ""
    return "\n".join([HEADING, *(f"- {memory.line}" for memory in memories)])


def text_of(memory: Memory) -> str:
    topic = memory.topic.replace("_", " ")
    if memory.kind == "fact":
        said = f"{topic}, {memory.name.replace('_', ' ')}: {_said(memory.content)}"
    elif memory.kind == "workflow":
        said = f"how the user does {topic}: {'; '.join(memory.content)}"
    else:
        around = [f"{key.replace('_', ' ')}: {_said(v)}" for key, v in memory.context.items()]
        said = f"{topic}: {memory.content}" + (f" ({'; '.join(around)})" if around else "")
    return " ".join(said.split())


def _said(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)


def checked_content(kind: Kind, content: Any) -> Any:
    if kind == "workflow":
        if isinstance(content, str) or not content:
            raise InvalidValueError("A workflow is a list of steps.", "", "Give at least one step.")
        return [checked_text(step, "step", LONGEST_TEXT) for step in content]
    if kind == "episode":
        return checked_text(content, "description", LONGEST_TEXT)
    return as_json(content, "value")


def as_json(value: Any, what: str) -> Any:
    """`value` as it will be read again."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(
            f"This {what} cannot be remembered.",
            f"It cannot be written as JSON ({error}).",
            "Use text, numbers, yes or no, and lists or mappings of these.",
        ) from error
    if value is None or len(valid_text(text, what)) > LONGEST_TEXT:
        raise InvalidValueError(
            f"This {what} cannot be remembered.",
            "It is nothing." if value is None else f"It is longer than {LONGEST_TEXT:,}.",
            "Give a shorter text." if value is not None else "Delete the memory instead.",
        )
    return json.loads(text)


def checked_text(text: str, what: str, longest: int = 500) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InvalidValueError(f"The {what} is empty.", "", f"Say the {what}.")
    kept = " ".join(valid_text(text, what).split()) if longest <= 500 else text.strip()
    if len(valid_text(kept, what)) > longest:
        raise InvalidValueError(
            f"The {what} is too long.", f"At most {longest:,} characters are kept.", "Shorten it."
        )
    return kept


def checked_share(value: float) -> float:
    if not 0 <= value <= 1:
        raise InvalidValueError(
            f"The importance {value!r} is out of range.", "It is a number from 0 to 1.", ""
        )
    return float(value)


def from_row(row: Row) -> Memory:
    values = dict(row)
    values["content"] = json.loads(values["content"])
    values["context"] = json.loads(values["context"])
    values["pinned"] = bool(values["pinned"])
    return Memory(**values)


def write(connection: Connection, memory: Memory) -> None:
    connection.execute(
        "INSERT INTO memories (id, kind, topic, name, content, context, text, source, message_id, "
        "importance, pinned, created, updated, used, uses) VALUES (?, ?, ?, ?, ?, ?, ?, ?, "
        "(SELECT id FROM messages WHERE id = ?), ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "content = excluded.content, context = excluded.context, text = excluded.text, "
        "source = excluded.source, message_id = excluded.message_id, "
        "importance = excluded.importance, pinned = excluded.pinned, updated = excluded.updated",
        (
            memory.id,
            memory.kind,
            memory.topic,
            memory.name,
            json.dumps(memory.content, ensure_ascii=False),
            json.dumps(dict(memory.context), ensure_ascii=False),
            memory.text,
            memory.source,
            memory.message_id,
            memory.importance,
            int(memory.pinned),
            memory.created,
            memory.updated,
            memory.used,
            memory.uses,
        ),
    )
