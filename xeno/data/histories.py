"""Reading the exported histories of other chat programs. Pure.

ChatGPT's conversations.json: conversations whose messages form a tree, `mapping`, of which
`current_node` is the last one shown. Open WebUI: a tree too (`history.messages`, `currentId`),
in exported chats and, as `snapshot`, in exported feedback. Claude: a plain list,
`chat_messages`. Each is read as far as its documentation, or what the programs write, says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage

_DEEPEST = 10_000


@dataclass(frozen=True)
class Turn:
    """One turn. `created` in Unix seconds, None where the file does not say; a reply may know
    the `system_prompt` it followed."""

    role: Literal["system", "user", "assistant"]
    content: str
    created: float | None = None
    system_prompt: str | None = None


@dataclass(frozen=True)
class History:
    """A conversation as it was shown, the user's and the assistant's turns in turn."""

    title: str
    created: float | None
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class RatedReply:
    """A reply that was rated in Open WebUI, with the replies beside it.

    `rivals` answered the same turn; a model that is rated well was preferred to them.
    """

    prompt: tuple[ChatMessage, ...]
    reply: str
    good: bool
    rivals: tuple[str, ...]
    reason: str
    chat: str


def chatgpt(record: Mapping[str, Any]) -> History:
    """One conversation of ChatGPT's conversations.json.

    Raises:
        InvalidValueError: it holds nothing that was said.
    """
    nodes = _object(record.get("mapping"), "mapping")
    last = record.get("current_node")
    if not isinstance(last, str) or last not in nodes:
        # Older exports leave it out: the newest of the nodes without children was shown last.
        leaves = [
            (_time(_part(node, "message").get("create_time")) or 0.0, name)
            for name, node in nodes.items()
            if isinstance(node, dict) and not node.get("children")
        ]
        if not leaves:
            raise InvalidValueError("the conversation has no last message")
        last = max(leaves)[1]
    turns = []
    for node in _path(nodes, last, "parent"):
        message = _part(node, "message")
        role = _part(message, "author").get("role")
        hidden = _part(message, "metadata").get("is_visually_hidden_from_conversation")
        elsewhere = message.get("recipient") not in (None, "all")  # what it said to a tool
        content = _part(message, "content")
        if role not in ("user", "assistant", "system") or hidden or elsewhere:
            continue
        if content.get("content_type") not in (None, "text", "multimodal_text"):
            continue
        parts = content.get("parts")
        texts = [p for p in parts if isinstance(p, str)] if isinstance(parts, list) else []
        text = "\n\n".join(part for part in texts if part.strip())
        turns.append(Turn(role, text, _time(message.get("create_time"))))
    return _history(record.get("title"), record.get("create_time"), turns)


def claude(record: Mapping[str, Any]) -> History:
    """One conversation of Claude's conversations.json."""
    turns = []
    for message in record["chat_messages"] if isinstance(record["chat_messages"], list) else ():
        role = {"human": "user", "assistant": "assistant"}.get(_text(_part(message).get("sender")))
        if role == "user" or role == "assistant":
            text = _text(message.get("text")) or _blocks(message.get("content"))
            turns.append(Turn(role, text, _time(message.get("created_at"))))  # type: ignore[arg-type]
    return _history(record.get("name"), record.get("created_at"), turns)


def open_webui(record: Mapping[str, Any]) -> History:
    """One chat of Open WebUI: {"chat": {"history": ...}}, or what `chat` holds."""
    chat = _part(record, "chat") or record
    nodes, last = _webui_tree(chat)
    turns = [
        Turn(role, _text(node.get("content")), _time(node.get("timestamp")))
        for node in _path(nodes, last, "parentId")
        if (role := node.get("role")) in ("user", "assistant", "system")
    ]
    created = record.get("created_at", chat.get("timestamp"))
    return _history(record.get("title", chat.get("title")), created, turns)


def open_webui_rating(record: Mapping[str, Any]) -> RatedReply:
    """One entry of Open WebUI's feedback export.

    Raises:
        InvalidValueError: it is not rated, or has no snapshot of the chat.
    """
    data, meta = _part(record, "data"), _part(record, "meta")
    rating = data.get("rating")
    if isinstance(rating, str) and rating.strip() in ("1", "-1"):
        rating = int(rating)
    if isinstance(rating, bool) or rating not in (1, -1):
        raise InvalidValueError("it has no rating of 1 or -1")
    snapshot = _part(record, "snapshot")
    chat = _part(snapshot, "chat")
    holder = next((each for each in (chat, snapshot) if _part(each, "history")), None)
    if holder is None and _part(chat, "chat"):
        holder = _part(chat, "chat")
    if holder is None:
        raise InvalidValueError("it has no snapshot of the chat")
    nodes, _ = _webui_tree(holder)
    rated = meta.get("message_id")
    node = nodes.get(rated) if isinstance(rated, str) else None
    if not isinstance(node, dict) or node.get("role") != "assistant":
        raise InvalidValueError("the rated reply is not in the snapshot")
    before = _path(nodes, _text(node.get("parentId")), "parentId")
    turns = _alternating(
        [
            Turn(role, _text(each.get("content")))
            for each in before
            if (role := each.get("role")) in ("user", "assistant", "system")
        ]
    )
    system = _text(_part(holder, "params").get("system"))
    if system.strip() and not (turns and turns[0].role == "system"):
        turns = (Turn("system", system), *turns)
    rivals = tuple(
        _text(other.get("content"))
        for name, other in nodes.items()
        if isinstance(other, dict)
        and name != rated
        and other.get("role") == "assistant"
        and other.get("parentId") == node.get("parentId")
        and _named(other, data.get("sibling_model_ids"))
    )
    return RatedReply(
        prompt=tuple(ChatMessage(role=turn.role, content=turn.content) for turn in turns),
        reply=_text(node.get("content")),
        good=rating == 1,
        rivals=tuple(rival for rival in rivals if rival.strip()),
        reason="; ".join(_text(data.get(name)) for name in ("reason", "comment") if data.get(name)),
        chat=_text(meta.get("chat_id")),
    )


def _named(node: Mapping[str, Any], models: object) -> bool:
    """Whether the rating compared this reply: its model is among those it names."""
    return isinstance(models, list) and node.get("model") in models


def _webui_tree(chat: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    history = _part(chat, "history")
    messages = history.get("messages")
    if isinstance(messages, list):
        messages = {_text(_part(each).get("id")): each for each in messages}
    nodes = _object(messages, "history.messages")
    return nodes, _text(history.get("currentId")) or next(reversed(nodes), "")


def _path(nodes: Mapping[str, Any], last: str, parent: str) -> list[Mapping[str, Any]]:
    """The nodes from the root to `last`."""
    path: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    name: object = last
    while isinstance(name, str) and name in nodes and name not in seen and len(seen) < _DEEPEST:
        seen.add(name)
        node = _part(nodes[name])
        path.append(node)
        name = node.get(parent)
    return path[::-1]


def _history(title: object, created: object, turns: list[Turn]) -> History:
    kept = _alternating(turns)
    if not any(turn.role == "user" for turn in kept):
        raise InvalidValueError("the conversation has no turn of the user")
    first = next(turn.content for turn in kept if turn.role == "user")
    name = _text(title).strip() or " ".join(first.split())[:60]
    return History(name, _time(created), kept)


def _alternating(turns: list[Turn]) -> tuple[Turn, ...]:
    """The turns that say something; what one side says in several pieces becomes one turn."""
    kept: list[Turn] = []
    for turn in turns:
        if not turn.content.strip() or (turn.role == "system" and kept):
            continue
        if kept and kept[-1].role == turn.role:
            before = kept.pop()
            turn = Turn(turn.role, f"{before.content}\n\n{turn.content}", before.created)
        kept.append(turn)
    return tuple(kept)


def _blocks(value: object) -> str:
    texts = [_text(_part(block).get("text")) for block in value] if isinstance(value, list) else []
    return "\n\n".join(text for text in texts if text.strip())


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise InvalidValueError(f"{name} holds no messages")
    return value


def _part(value: object, name: str | None = None) -> Mapping[str, Any]:
    """`value`, or its member `name`, if it is an object, otherwise an empty one."""
    found = value.get(name) if name is not None and isinstance(value, dict) else value
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _time(value: object) -> float | None:
    """Unix seconds from seconds, milliseconds, or an ISO date."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e14:
        return None
    return float(value) / 1000 if value > 1e11 else float(value)
