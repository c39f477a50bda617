"""Recognising what a record is by its fields, and reading it. Pure.

A record becomes one item or several: a preference, an example (instruction, rated reply or
chat), a named intent, a conversation, a setting of the user, a memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xeno.data import histories
from xeno.data.histories import History, Turn
from xeno.data.rows import (
    PreferenceRow,
    messages,
    other_fields,
    preference_row,
    transcript,
    truth,
)
from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.store.examples import BAD, GOOD, ExampleKind

Notes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class ExampleRow:
    """An example as a file says it; `source` is "" where the record names none."""

    kind: ExampleKind
    prompt: tuple[ChatMessage, ...]
    reply: str
    label: str | None = None
    source: str = ""
    fields: Notes = field(default_factory=dict)
    active: bool = True


@dataclass(frozen=True)
class IntentRow:
    """A text and what its author wants; "unknown" is outside of everything named."""

    text: str
    intent: str
    reply: str = ""
    fields: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class SettingRow:
    """A preference of the user, as `PersonalizationEngine.update_preference` takes it."""

    key: str
    value: str


@dataclass(frozen=True)
class MemoryRow:
    """A fact (topic, name, any JSON value), an episode (topic, a text) or a workflow (topic,
    a list of steps)."""

    kind: str
    topic: str
    name: str
    content: Any
    context: Mapping[str, Any] = field(default_factory=dict)
    importance: float = 0.5
    pinned: bool = False
    created: float | None = None


Item = PreferenceRow | ExampleRow | IntentRow | SettingRow | MemoryRow | History

_REPLIES = ("completion", "response", "output", "reply", "answer")
_TEXTS = ("text", "utterance", "sentence")
_INTENTS = ("intent", "category", "label")
_RATINGS = ("label", "kto_tag")
_OUTSIDE = ("oos", "out_of_scope", "out-of-scope")
_MEMORIES = ("fact", "episode", "workflow")


def read(value: object, section: str = "") -> tuple[str, list[Item]]:
    """The name of a record's form and what it holds.

    Args:
        section: the member of the file's object that held the record, if one did.

    Raises:
        InvalidValueError: it is of no known form, or of one and incomplete; `what` says which.
    """
    if isinstance(value, list):
        return "intent", [_named_text(value, section)]
    if not isinstance(value, dict):
        raise InvalidValueError("it is not an object with named fields")
    for name, has, reader in _FORMS:
        if has(value):
            return name, reader(value)
    shown = ", ".join(sorted(map(str, value))[:8]) or "none"
    raise InvalidValueError(f"its fields are of no known form ({shown})")


def known(value: object) -> bool:
    """Whether a record is of a known form, complete or not."""
    return isinstance(value, dict) and any(has(value) for _, has, _ in _FORMS)


def members(value: object) -> list[tuple[str, object]] | None:
    """The (section, record) pairs of an object that only holds lists of records."""
    if not isinstance(value, dict) or known(value):
        return None
    lists = [(str(name), held) for name, held in value.items() if isinstance(held, list)]
    if not lists or not all(isinstance(v, dict | list) for _, held in lists for v in held):
        return None
    return [(name, each) for name, held in lists for each in held]


# Forms ------------------------------------------------------------------------------------


def _preference(record: dict[str, Any]) -> list[Item]:
    return [preference_row(record)]


def _chatgpt(record: dict[str, Any]) -> list[Item]:
    return [histories.chatgpt(record)]


def _claude(record: dict[str, Any]) -> list[Item]:
    return [histories.claude(record)]


def _open_webui(record: dict[str, Any]) -> list[Item]:
    return [histories.open_webui(record)]


def _open_webui_rating(record: dict[str, Any]) -> list[Item]:
    rated = histories.open_webui_rating(record)
    fields: Notes = {"reason": rated.reason} if rated.reason else {}
    if rated.rivals:
        return [
            PreferenceRow(
                prompt=rated.prompt,
                chosen=rated.reply if rated.good else rival,
                rejected=rival if rated.good else rated.reply,
                group=rated.chat or None,
                weight=1.0,
                fields=fields,
            )
            for rival in rated.rivals
        ]
    label = GOOD if rated.good else BAD
    return [ExampleRow("unpaired", rated.prompt, rated.reply, label, "Open WebUI", fields)]


def _unpaired(record: dict[str, Any]) -> list[Item]:
    name = next(name for name in _RATINGS if record.get(name) is not None)
    label = GOOD if truth(record[name], name, default=False) else BAD
    prompt, reply = _answered(record)
    return [_example("unpaired", prompt, reply, label, record)]


def _instruction(record: dict[str, Any]) -> list[Item]:
    """Alpaca: the instruction, its input under it, earlier rounds before it."""
    turns: list[ChatMessage] = []
    for round_ in record.get("history") or []:
        if not (isinstance(round_, list) and len(round_) == 2):
            raise InvalidValueError("history is no list of rounds with a question and an answer")
        turns.append(ChatMessage(role="user", content=_text(round_[0], "history")))
        turns.append(ChatMessage(role="assistant", content=_text(round_[1], "history")))
    parts = [_text(record[n], n) for n in ("instruction", "input") if record.get(n) is not None]
    question = "\n\n".join(part for part in parts if part.strip())
    turns.append(ChatMessage(role="user", content=question))
    reply = _text(record.get("output"), "output")
    return [_example("instruction", _with_system(record, tuple(turns)), reply, None, record)]


def _completion(record: dict[str, Any]) -> list[Item]:
    prompt, reply = _answered(record)
    return [_example("instruction", prompt, reply, None, record)]


def _chat(record: dict[str, Any]) -> list[Item]:
    prompt, reply = _answered(record)
    return [_example("chat", prompt, reply, None, record)]


def _conversation(record: dict[str, Any]) -> list[Item]:
    """A conversation as the program itself exports it: titled, with the time of every turn."""
    value = record["messages"]
    turns = tuple(
        Turn(
            turn.role,
            turn.content,
            _number(given.get("created")),
            prompt if isinstance(prompt := given.get("system_prompt"), str) else None,
        )
        for turn, given in zip(messages(value, "messages"), value, strict=True)
    )
    if not turns:
        raise InvalidValueError("messages is empty")
    return [History(_text(record["title"], "title"), _number(record.get("created")), turns)]


def _intent(record: dict[str, Any]) -> list[Item]:
    text_name = next(name for name in _TEXTS if record.get(name) is not None)
    name = next(name for name in _INTENTS if record.get(name) is not None)
    text, intent = _text(record[text_name], text_name), _text(record[name], name)
    if not text.strip() or not intent.strip():
        raise InvalidValueError("the text or its intent is empty")
    return [_intent_row(text, intent, record.get("reply"), other_fields(record, {text_name, name}))]


def _named_text(value: list[Any], section: str) -> Item:
    """A text and its intent in a list, as lists of examples with splits are written."""
    if len(value) != 2 or not all(isinstance(part, str) and part.strip() for part in value):
        raise InvalidValueError("it is not a text and its intent")
    return _intent_row(value[0], value[1], None, {"split": section} if section else {})


def _intent_row(text: str, intent: str, reply: object, fields: Notes) -> IntentRow:
    intent = " ".join(intent.split())
    if intent.lower() in _OUTSIDE:
        fields, intent = {**fields, "label": intent}, "unknown"
    return IntentRow(text, intent, reply if isinstance(reply, str) else "", fields)


def _setting(record: dict[str, Any]) -> list[Item]:
    value = _text(record.get("value"), "value")
    return [SettingRow(_text(record["preference"], "preference"), value)]


def _memory(record: dict[str, Any]) -> list[Item]:
    """A memory; in a table its content and context are written as JSON."""
    kind, topic = _text(record["memory"], "memory"), _text(record.get("topic"), "topic")
    content, context = _json(record.get("content")), _json(record.get("context") or {})
    if kind not in _MEMORIES:
        raise InvalidValueError(f"there is no memory of the kind {kind!r}")
    if content is None or not isinstance(context, dict):
        raise InvalidValueError("the memory has no content, or a context that is no object")
    if kind == "episode" and not isinstance(content, str):
        raise InvalidValueError("an episode is a text")
    if kind == "workflow" and not (
        isinstance(content, list) and all(isinstance(step, str) for step in content)
    ):
        raise InvalidValueError("a workflow is a list of steps")
    importance = _number(record.get("importance"))
    return [
        MemoryRow(
            kind=kind,
            topic=topic,
            name=str(record.get("name") or ""),
            content=content,
            context=context,
            importance=0.5 if importance is None else importance,
            pinned=truth(record.get("pinned"), "pinned", default=False),
            created=_number(record.get("created")),
        )
    ]


def _has(*names: str) -> Callable[[dict[str, Any]], bool]:
    return lambda record: all(record.get(name) is not None for name in names)


def _has_reply(record: dict[str, Any]) -> bool:
    return any(name in record for name in ("messages", "conversations", "conversation")) or (
        "prompt" in record and any(name in record for name in _REPLIES)
    )


# From the most telling fields to the least: the first form that fits is the record's.
_FORMS: tuple[
    tuple[str, Callable[[dict[str, Any]], bool], Callable[[dict[str, Any]], list[Item]]], ...
] = (
    ("preference", lambda r: "chosen" in r or "rejected" in r, _preference),
    ("ChatGPT history", lambda r: isinstance(r.get("mapping"), dict), _chatgpt),
    ("Claude history", lambda r: isinstance(r.get("chat_messages"), list), _claude),
    ("Open WebUI feedback", _has("data", "meta", "snapshot"), _open_webui_rating),
    (
        "Open WebUI history",
        lambda r: any(
            isinstance(each, dict) and isinstance(each.get("history"), dict)
            for each in (r, r.get("chat"))
        ),
        _open_webui,
    ),
    ("conversation", _has("title", "messages"), _conversation),
    (
        "unpaired",
        lambda r: any(r.get(name) is not None for name in _RATINGS) and _has_reply(r),
        _unpaired,
    ),
    ("Alpaca", lambda r: "instruction" in r and "output" in r, _instruction),
    ("chat", lambda r: "prompt" not in r and _has_reply(r), _chat),
    ("instruction", lambda r: "prompt" in r and _has_reply(r), _completion),
    ("setting", _has("preference", "value"), _setting),
    ("memory", _has("memory", "topic"), _memory),
    (
        "intent",
        lambda r: (
            any(r.get(n) is not None for n in _TEXTS)
            and any(r.get(n) is not None for n in _INTENTS)
        ),
        _intent,
    ),
)


# Parts of records -------------------------------------------------------------------------


def _answered(record: Mapping[str, Any]) -> tuple[tuple[ChatMessage, ...], str]:
    """The turns before the last reply, and that reply."""
    reply = next((record[name] for name in _REPLIES if record.get(name) is not None), None)
    name = next(
        (n for n in ("prompt", "messages", "conversations", "conversation") if record.get(n)), ""
    )
    if not name:
        raise InvalidValueError("prompt is missing")
    said = record[name]
    turns: tuple[ChatMessage, ...]
    if isinstance(said, str):
        turns = (ChatMessage(role="user", content=said),)
        if name != "prompt" or reply is None:
            turns = transcript(said) or turns
    else:
        turns = messages(said, name)
    if isinstance(reply, str):
        turns = (*turns, ChatMessage(role="assistant", content=reply))
    elif reply is not None:
        turns = (*turns, *messages([reply] if isinstance(reply, dict) else reply, "completion"))
    if not turns or turns[-1].role != "assistant":
        raise InvalidValueError("it does not end with a reply of the assistant")
    if not turns[-1].content.strip():
        raise InvalidValueError("the reply is empty")
    return _with_system(record, turns[:-1]), turns[-1].content


def _with_system(
    record: Mapping[str, Any], turns: tuple[ChatMessage, ...]
) -> tuple[ChatMessage, ...]:
    system = record.get("system")
    if isinstance(system, str) and system.strip() and turns and turns[0].role != "system":
        return (ChatMessage(role="system", content=system), *turns)
    return turns


def _example(
    kind: ExampleKind,
    prompt: tuple[ChatMessage, ...],
    reply: str,
    label: str | None,
    record: Mapping[str, Any],
) -> ExampleRow:
    own = {
        *("prompt", "messages", "conversations", "conversation", "system", "history", "active"),
        *("instruction", "input", "source", *_REPLIES, *_RATINGS),
    }
    source = record.get("source")
    return ExampleRow(
        kind=kind,
        prompt=prompt,
        reply=reply,
        label=label,
        source=source if isinstance(source, str) else "",
        fields=other_fields(record, own),
        active=truth(record.get("active"), "active", default=True),
    )


def _text(value: object, name: str) -> str:
    if isinstance(value, bool | int | float):  # a table may hold numbers where texts are meant
        return str(value)
    if not isinstance(value, str):
        raise InvalidValueError(f"{name} is {'missing' if value is None else 'no text'}")
    return value


def _number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        return None
    return float(value)


def _json(value: object) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
