"""What came in from a file, in the words that the terminal and the window show."""

from __future__ import annotations

from collections.abc import Mapping

from xeno.data.forms import IntentRow, MemoryRow, SettingRow
from xeno.data.histories import History
from xeno.data.writing import Storable
from xeno.store.examples import Example
from xeno.store.pairs import Pair
from xeno.words import count

KIND_NAMES: Mapping[str, tuple[str, str]] = {
    "pair": ("pair", "pairs"),
    "instruction": ("instruction", "instructions"),
    "unpaired": ("rated reply", "rated replies"),
    "chat": ("chat", "chats"),
    "intent": ("intent example", "intent examples"),
    "conversation": ("conversation", "conversations"),
    "preference": ("preference", "preferences"),
    "memory": ("memory", "memories"),
}


def things(counts: Mapping[str, int]) -> str:
    """What was stored, in words: '30 pairs and 2 chats'."""
    words = [count(n, *KIND_NAMES.get(kind, (kind, ""))) for kind, n in counts.items() if n]
    return " and ".join(words) if words else "Nothing"


def texts(thing: Storable) -> tuple[str, str, str]:
    """A thing in three texts: what was asked, what was said, and what stands beside it."""
    if isinstance(thing, Pair):
        return thing.prompt[-1].content, thing.chosen, f"rejected: {thing.rejected}"
    if isinstance(thing, Example):
        return thing.prompt[-1].content, thing.reply, thing.label or ""
    if isinstance(thing, IntentRow):
        return thing.text, thing.reply, thing.intent
    if isinstance(thing, History):
        said = next((turn.content for turn in thing.turns if turn.role == "assistant"), "")
        return thing.title, said, count(len(thing.turns), "turn")
    if isinstance(thing, SettingRow):
        return thing.key, thing.value, ""
    assert isinstance(thing, MemoryRow)
    return f"{thing.topic} {thing.name}".strip(), str(thing.content), thing.kind
