"""A scripted taste: every reply is rewritten to two or three short bullets of its own advice."""

from __future__ import annotations

import re

from xeno.benchmarking.reply_rules import BRIEF_WORDS, CLOSERS, OPENERS, word_count

BULLETS = (2, 3)
LONGEST_BULLET = 12  # words

_PHRASES = frozenset(
    phrase.lower() for phrases in (*OPENERS.values(), *CLOSERS.values()) for phrase in phrases
)
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n+")
_MARKER = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+")


def brief_bullets(text: str) -> str | None:
    """The user's correction: two or three short bullets made of the reply's own advice.

    Opener, closer and the sentence that says what the topic is are dropped; of each advice
    what stands before the first comma is kept. None where that leaves less than two bullets.
    """
    sentences = [_MARKER.sub("", part).strip() for part in _SENTENCE_END.split(text)]
    body = [s for s in sentences if s and s.lower() not in _PHRASES]
    points: list[str] = []
    for sentence in body[1:]:
        point = sentence.split(",")[0].rstrip(".!?:; ")
        if 2 <= word_count(point) <= LONGEST_BULLET and point not in points:
            points.append(point)
    points = points[: BULLETS[1]]
    while len(points) >= BULLETS[0]:
        bullets = "\n".join(f"- {point}." for point in points)
        if word_count(bullets) <= BRIEF_WORDS[1]:
            return bullets if bullets != text.strip() else None
        points.pop()
    return None
