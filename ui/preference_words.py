"""What preferences, their values, and how sure a belief is are called in the window."""

from __future__ import annotations

import html
from collections.abc import Collection

from xeno.personalization.learning import Belief
from xeno.personalization.preferences import ALLOWED, EXPERTISE_PREFIX, Preferences, prompt_prefix

TITLES = {
    "communication_style": "Style",
    "detail_level": "Length",
    "response_format": "Format",
    "tone": "Tone",
}
_SURE = (
    (0.9, "Quite sure"),
    (0.75, "Fairly sure"),
    (0.55, "Likely, not sure"),
    (0.0, "A first guess"),
)


def title(dimension: str, *, brief: bool = False) -> str:
    """The name of a preference: 'Style', 'Expertise in python', in `brief` 'Python'."""
    if dimension.startswith(EXPERTISE_PREFIX):
        topic = dimension.removeprefix(EXPERTISE_PREFIX)
        return topic[:1].upper() + topic[1:] if brief else f"Expertise in {topic}"
    return TITLES[dimension]


def value_name(value: str) -> str:
    """The name of a value: 'Bullet points'."""
    return value.replace("_", " ").capitalize()


def how_sure(belief: Belief) -> str:
    """The confidence of a belief in words."""
    if not belief.evidence:
        return "Nothing seen yet"
    return next(words for least, words in _SURE if belief.confidence >= least)


def in_effect(belief: Belief, consent: bool) -> str:
    """What replies follow, and why."""
    if belief.in_effect is None:
        return "Not told yet"
    if belief.pinned:
        return f"{value_name(belief.in_effect)}, set by you"
    source = "learned" if consent and belief.enough else "default"
    return f"{value_name(belief.in_effect)}, {source}"


def marked_prompt(preferences: Preferences, learned: Collection[str]) -> str:
    """The system prompt of `preferences` as rich text, what was learned set off."""
    text = prompt_prefix(preferences)
    sentences = text.split(". ", 3)
    for place, key in ((1, "detail_level"), (2, "response_format")):
        if key in learned:
            sentences[place] = _MARK + sentences[place] + _END
    marked = ". ".join(sentences)
    for key, noun in (("communication_style", "style"), ("tone", "tone")):
        if key in learned:
            phrase = f"{getattr(preferences, key)} {noun}"
            marked = marked.replace(phrase, _MARK + phrase + _END, 1)
    for topic, level in preferences.expertise.items():
        if EXPERTISE_PREFIX + topic in learned:
            phrase = f"{level} in {topic}"
            marked = marked.replace(phrase, _MARK + phrase + _END, 1)
    marked = html.escape(marked)
    return marked.replace(_MARK, "<b><u>").replace(_END, "</u></b>")


def learned_of(beliefs: Collection[Belief], preferences: Preferences, consent: bool) -> set[str]:
    """The preferences in effect because they were learned."""
    told = {EXPERTISE_PREFIX + topic for topic in preferences.expertise} | set(ALLOWED)
    return {
        each.dimension
        for each in beliefs
        if consent and each.enough and not each.pinned and each.dimension in told
    }


_MARK, _END = "\x02", "\x03"
