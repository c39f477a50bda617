"""The preferences a user can set, and the system prompt they give (features P1 and P2).

Pure: no storage. The prompt is built from the preferences and from nothing else, so the
user can read it before it is sent, and the starter model was trained on exactly this text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from xeno.errors import InvalidValueError

COMMUNICATION_STYLES = ("professional", "casual", "friendly", "technical")
DETAIL_LEVELS = ("brief", "medium", "detailed")
RESPONSE_FORMATS = ("conversational", "structured", "bullet_points")
TONES = ("formal", "neutral", "friendly", "humorous")
EXPERTISE_LEVELS = ("beginner", "intermediate", "advanced", "expert")

ALLOWED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "communication_style": COMMUNICATION_STYLES,
        "detail_level": DETAIL_LEVELS,
        "response_format": RESPONSE_FORMATS,
        "tone": TONES,
    }
)
EXPERTISE_PREFIX = "expertise_level."

_DETAIL_SENTENCES = {
    "brief": "Give brief answers.",
    "medium": "Give answers of medium length.",
    "detailed": "Give detailed explanations with examples.",
}
_FORMAT_SENTENCES = {
    "conversational": "Write in plain conversational sentences.",
    "structured": "Write structured answers with numbered steps.",
    "bullet_points": "Write in bullet points.",
}
_MANNER = re.compile(
    rf"with a ({'|'.join(COMMUNICATION_STYLES)}) style and a ({'|'.join(TONES)}) tone\."
)
_TOPIC = re.compile(r"[^\W_][\w +#./-]{0,47}")


@dataclass(frozen=True)
class Preferences:
    """How the user likes to be answered.

    `expertise` maps a topic (lower case, at most 48 characters) to an expertise level.
    """

    communication_style: str = "friendly"
    detail_level: str = "medium"
    response_format: str = "conversational"
    tone: str = "neutral"
    expertise: Mapping[str, str] = field(default_factory=dict)

    def updated(self, key: str, value: str) -> Preferences:
        """A copy with `key` set to `value`; see `normalised` for what is allowed."""
        key, value = normalised(key, value)
        if key.startswith(EXPERTISE_PREFIX):
            topic = key.removeprefix(EXPERTISE_PREFIX)
            return replace(self, expertise={**self.expertise, topic: value})
        changed: dict[str, str] = {key: value}
        return replace(self, **changed)  # type: ignore[arg-type]

    def without_expertise(self, topic: str) -> Preferences:
        """A copy that says nothing about the user's level in `topic`."""
        kept = {name: level for name, level in self.expertise.items() if name != topic}
        return replace(self, expertise=kept)

    def items(self) -> list[tuple[str, str]]:
        """All (key, value) pairs, expertise as `expertise_level.<topic>`."""
        fixed = [(key, str(getattr(self, key))) for key in ALLOWED]
        return fixed + [(EXPERTISE_PREFIX + t, v) for t, v in sorted(self.expertise.items())]


def normalised(key: str, value: str) -> tuple[str, str]:
    """The stored form of a preference: lower case, blanks in values as underscores.

    Raises:
        InvalidValueError: for an unknown key or value, naming the allowed ones.
    """
    key = key.strip()
    if key.startswith(EXPERTISE_PREFIX):
        topic = " ".join(key.removeprefix(EXPERTISE_PREFIX).lower().split())
        if not _TOPIC.fullmatch(topic):
            raise InvalidValueError(
                f"{topic!r} cannot be a topic.",
                "A topic is 1 to 48 letters, digits, blanks or one of + # . / _ -.",
                "Use a short name such as 'python' or 'home cooking'.",
            )
        return EXPERTISE_PREFIX + topic, _allowed(key, value, EXPERTISE_LEVELS)
    if key not in ALLOWED:
        names = ", ".join([*ALLOWED, EXPERTISE_PREFIX + "<topic>"])
        raise InvalidValueError(
            f"There is no preference {key!r}.",
            f"The preferences are: {names}.",
            "Use one of these names.",
        )
    return key, _allowed(key, value, ALLOWED[key])


def _allowed(key: str, value: str, choices: tuple[str, ...]) -> str:
    wanted = "_".join(str(value).strip().lower().replace("-", " ").replace("_", " ").split())
    if wanted not in choices:
        raise InvalidValueError(
            f"{value!r} is not a value of {key!r}.",
            f"The allowed values are: {', '.join(choices)}.",
            "Use one of these values.",
        )
    return wanted


def prompt_prefix(preferences: Preferences) -> str:
    """The system prompt of every reply, built from `preferences` alone."""
    parts = [
        f"You are a personal assistant with a {preferences.communication_style} style "
        f"and a {preferences.tone} tone.",
        _DETAIL_SENTENCES[preferences.detail_level],
        _FORMAT_SENTENCES[preferences.response_format],
    ]
    if preferences.expertise:
        levels = [f"{level} in {topic}" for topic, level in sorted(preferences.expertise.items())]
        parts.append(f"The user is {_joined(levels)}.")
    return " ".join(parts)


def told_by(prompt: str) -> dict[str, str]:
    """The preferences (without expertise) that a system prompt made by `prompt_prefix` asks for;
    what is not found in it is left out."""
    found: dict[str, str] = {}
    manner = _MANNER.search(prompt)
    if manner:
        found["communication_style"], found["tone"] = manner[1], manner[2]
    for value, sentence in _DETAIL_SENTENCES.items():
        if sentence in prompt:
            found["detail_level"] = value
    for value, sentence in _FORMAT_SENTENCES.items():
        if sentence in prompt:
            found["response_format"] = value
    return found


def _joined(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
