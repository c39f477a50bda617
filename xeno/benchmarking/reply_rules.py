"""Rules that say from a reply's text alone how it is written.

The starter model's training texts are composed with these phrases and within these bands of
words, its benchmark and the demonstration judge replies by them: one definition for all
three. Pure: no model, no storage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

# Words per reply, list markers not counted, both ends included. The bands do not overlap:
# the composer keeps every training reply inside its own.
BRIEF_WORDS = (1, 30)
MEDIUM_WORDS = (31, 68)
DETAILED_WORDS = (69, 105)
BANDS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"brief": BRIEF_WORDS, "medium": MEDIUM_WORDS, "detailed": DETAILED_WORDS}
)

# What a reply of a style opens with. The first three of each are short enough for a brief reply.
OPENERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "professional": (
            "Key points follow.",
            "In summary:",
            "The essentials are these.",
            "Here is a concise overview.",
            "The following points are recommended.",
            "Here are the main considerations.",
        ),
        "casual": (
            "Sure thing.",
            "Here's the gist.",
            "Okay, let's go.",
            "Okay, here's the short of it.",
            "No worries, here's how it goes.",
            "Yeah, let's sort that out.",
        ),
        "friendly": (
            "Happy to help.",
            "Glad you asked.",
            "Of course, with pleasure.",
            "Happy to help with that.",
            "I am glad you asked about this.",
            "What a nice question, let me help.",
        ),
        "technical": (
            "Technically speaking:",
            "Technical summary:",
            "In technical terms:",
            "From a technical point of view:",
            "Here is the technical background.",
            "Seen technically, it works like this.",
        ),
    }
)
SHORT_OPENERS = 3

# What a reply of a tone closes with; a neutral one closes with nothing.
CLOSERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "formal": (
            "Please proceed with care.",
            "I remain at your service.",
            "Kindly consider these points.",
            "Your diligence is appreciated.",
            "Please accept this advice.",
        ),
        "neutral": (),
        "friendly": (
            "You can do this!",
            "Have fun with it!",
            "I believe in you!",
            "Enjoy every step!",
            "Good luck, my friend!",
        ),
        "humorous": (
            "Even my toaster agrees.",
            "No robots were harmed.",
            "Snacks improve the odds.",
            "Cape sold separately.",
            "Applause is optional.",
            "Blame the cat otherwise.",
            "Your sofa can wait, it is patient.",
            "If it fails, call it modern art.",
            "I would do it myself, but I have no hands.",
            "My grandmother's calculator told me so.",
            "Victory dances are allowed afterwards.",
            "Ducks manage it, more or less.",
        ),
    }
)
SHORT_CLOSER_WORDS = 5

_LIST_MARKER = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-*\u2022][ \t]+\S", re.MULTILINE)
_NUMBER = re.compile(r"^[ \t]*\d+[.)][ \t]+\S", re.MULTILINE)
_BULLET_LINE = re.compile(r"^[ \t]*[-*\u2022](.*)$", re.MULTILINE)
_WORD = re.compile(r"[^\W_]+(?:['\u2019.,-][^\W_]+)*")


def words(text: str) -> list[str]:
    """The words of `text` in lower case; list markers and punctuation are left out."""
    return _WORD.findall(_LIST_MARKER.sub("", text).lower())


def word_count(text: str) -> int:
    """How many words `text` has, list markers not counted."""
    return len(words(text))


def detail_of(text: str) -> str:
    """The detail level whose band of words `text` falls into (longer than all: detailed)."""
    count = word_count(text)
    for level in ("brief", "medium"):
        if count <= BANDS[level][1]:
            return level
    return "detailed"


def format_of(text: str) -> str:
    """The response format of `text`: two list lines of a kind make it a list of that kind."""
    if len(_BULLET.findall(text)) >= 2:
        return "bullet_points"
    if len(_NUMBER.findall(text)) >= 2:
        return "structured"
    return "conversational"


def is_brief_bullets(text: str) -> bool:
    """Whether `text` is a short bulleted list: at least two bullets, each of two words or more,
    within the brief band."""
    bullets = _BULLET_LINE.findall(text)
    return (
        format_of(text) == "bullet_points"
        and detail_of(text) == "brief"
        and all(word_count(bullet) >= 2 for bullet in bullets)
    )


def repeated_4grams(text: str) -> float:
    """The share of runs of four words that occurred before in the same `text` (0 to 1)."""
    run = words(text)
    grams = [tuple(run[i : i + 4]) for i in range(len(run) - 3)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def has_style(text: str, style: str) -> bool:
    """Whether `text` carries one of the openers of the communication style `style`."""
    return _has_phrase(text, OPENERS[style])


def has_tone(text: str, tone: str) -> bool:
    """Whether `text` carries a closer of `tone`; for `neutral`, whether it carries none at all."""
    if tone == "neutral":
        return not any(_has_phrase(text, closers) for closers in CLOSERS.values())
    return _has_phrase(text, CLOSERS[tone])


def _has_phrase(text: str, phrases: tuple[str, ...]) -> bool:
    flat = " ".join(text.lower().replace("\u2019", "'").split())
    return any(phrase.lower() in flat for phrase in phrases)
