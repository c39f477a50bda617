"""Reading one record of a preference file as prompt, chosen and rejected. Pure.

Understood without being told: the standard and the conversational form of preference data
(`prompt`, `chosen`, `rejected`, each a text or a list of messages), the implicit prompt (both
replies contain the conversation so far), transcripts ("Human: ... Assistant: ..."), and the
ShareGPT form (`conversations` with `from` and `value`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage

_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_OWN_FIELDS = {"prompt", "chosen", "rejected", "conversations", "conversation", "system"}
_GROUP_FIELDS = ("group", "group_id")
_LONGEST_NOTE = 200
_REASONS = ("reason", "reasoning", "explanation")
_LONGEST_REASON = 4000


@dataclass(frozen=True)
class PreferenceRow:
    """What a record says. `fields` are its other short values, kept as they are."""

    prompt: tuple[ChatMessage, ...]
    chosen: str
    rejected: str
    group: str | None
    weight: float
    fields: Mapping[str, str | int | float | bool]
    active: bool = True


def preference_row(record: object) -> PreferenceRow:
    """The preference in a decoded JSON record.

    Raises:
        InvalidValueError: it holds none; `what` is the reason.
    """
    if not isinstance(record, dict):
        raise InvalidValueError("it is not an object with chosen and rejected")
    missing = [name for name in ("chosen", "rejected") if record.get(name) is None]
    if missing:
        unpaired = "; it is unpaired feedback" if "label" in record else ""
        verb = "is" if len(missing) == 1 else "are"
        raise InvalidValueError(f"{' and '.join(missing)} {verb} missing{unpaired}")
    before = _prompt(record)
    chosen = _completed(before, record["chosen"], "chosen")
    rejected = _completed(before, record["rejected"], "rejected")
    prompt = _common_start(chosen, rejected)
    good, bad = chosen[len(prompt) :], rejected[len(prompt) :]
    if not good and not bad:
        raise InvalidValueError("chosen and rejected are identical")
    if [turn.role for turn in good] != ["assistant"] or [t.role for t in bad] != ["assistant"]:
        raise InvalidValueError("chosen and rejected do not differ in exactly one reply")
    if not prompt:
        raise InvalidValueError("prompt is missing")
    system = record.get("system")
    if isinstance(system, str) and system.strip() and prompt[0].role != "system":
        prompt = (ChatMessage(role="system", content=system), *prompt)
    return PreferenceRow(
        prompt=prompt,
        chosen=good[0].content,
        rejected=bad[0].content,
        group=_group(record),
        weight=_weight(record.get("weight", 1.0)),
        fields=other_fields(record, _OWN_FIELDS | set(_GROUP_FIELDS) | {"weight", "active"}),
        active=truth(record.get("active"), "active", default=True),
    )


def _prompt(record: Mapping[str, Any]) -> tuple[ChatMessage, ...]:
    """The explicit prompt, or nothing where the replies carry it."""
    for name in ("prompt", "conversations", "conversation"):
        value = record.get(name)
        if value is None:
            continue
        if isinstance(value, str):
            if not value.strip():
                raise InvalidValueError("prompt is empty")
            return transcript(value.removesuffix("\n\nAssistant:")) or (
                ChatMessage(role="user", content=value),
            )
        turns = messages(value, name)
        if not turns:
            raise InvalidValueError("prompt is empty")
        return turns
    return ()


def _completed(
    before: tuple[ChatMessage, ...], value: object, name: str
) -> tuple[ChatMessage, ...]:
    """The whole conversation that ends with this reply."""
    if isinstance(value, str):
        if not value.strip():
            raise InvalidValueError(f"{name} is empty")
        whole = transcript(value)
        if len(whole) > 1 and (not before or whole[: len(before)] == before):
            return whole
        return (*before, ChatMessage(role="assistant", content=value))
    turns = messages([value] if isinstance(value, dict) else value, name)
    if not turns:
        raise InvalidValueError(f"{name} is empty")
    if turns[-1].role != "assistant":
        raise InvalidValueError(f"{name} does not end with a reply of the assistant")
    if not turns[-1].content.strip():
        raise InvalidValueError(f"{name} is empty")
    # Many files repeat the prompt at the beginning of both replies.
    repeats = len(turns) > len(before) and turns[: len(before)] == before
    return turns if repeats else (*before, *turns)


def messages(value: object, name: str) -> tuple[ChatMessage, ...]:
    """The turns of a list of messages, in the form of OpenAI or of ShareGPT.

    Raises:
        InvalidValueError: it is none, or has a role or a content that is not understood.
    """
    if not isinstance(value, list):
        raise InvalidValueError(f"{name} is neither text nor a list of messages")
    return tuple(_message(turn, name) for turn in value)


def _message(turn: object, name: str) -> ChatMessage:
    if not isinstance(turn, dict):
        raise InvalidValueError(f"{name} has a message that is not an object")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role.strip().lower() not in _ROLES:
        raise InvalidValueError(f"{name} has a message of the unknown role {_shown(role)}")
    if not isinstance(content, str):
        raise InvalidValueError(f"{name} has a message without text")
    return ChatMessage(role=_ROLES[role.strip().lower()], content=content)


def transcript(text: str) -> tuple[ChatMessage, ...]:
    """The turns of "\\n\\nHuman: ...\\n\\nAssistant: ...", or nothing if `text` is none."""
    if not text.startswith(("Human:", "\n", " ", "\t", "\r")):  # most texts are none
        return ()
    parts = _SPEAKER.split(text)
    if len(parts) < 3 or parts[0].strip() or parts[1] != "Human":
        return ()
    return tuple(
        ChatMessage(role="user" if speaker == "Human" else "assistant", content=said.strip())
        for speaker, said in zip(parts[1::2], parts[2::2], strict=True)
    )


def _common_start(
    first: tuple[ChatMessage, ...], second: tuple[ChatMessage, ...]
) -> tuple[ChatMessage, ...]:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return first[:count]


def _group(record: Mapping[str, Any]) -> str | None:
    for name in _GROUP_FIELDS:
        value = record.get(name)
        if isinstance(value, str | int) and str(value).strip():
            return str(value)
    return None


def _weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise InvalidValueError(f"weight is {_shown(value)} and not a number from 0 up")
    return float(value)


def truth(value: object, name: str, *, default: bool) -> bool:
    """A yes or no as files write it; `default` where there is none."""
    if value is None:
        return default
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    written = value.strip().lower() if isinstance(value, str) else ""
    if written in ("true", "yes", "1", "1.0"):
        return True
    if written in ("false", "no", "0", "0.0"):
        return False
    raise InvalidValueError(f"{name} is {_shown(value)} and neither true nor false")


def other_fields(
    record: Mapping[str, Any], own: Collection[str]
) -> dict[str, str | int | float | bool]:
    """The short values of a record that have no place of their own; reasons may be long."""
    return {
        name: value
        for name, value in record.items()
        if name not in own
        and isinstance(value, str | int | float)
        and value == value  # JSON cannot hold what is not a number
        and len(name) <= _LONGEST_NOTE
        and len(str(value)) <= (_LONGEST_REASON if name in _REASONS else _LONGEST_NOTE)
    }


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
