"""How much a preference pair can teach, and how sure it is that it is a preference. Pure.

Both numbers are rules on the two texts, linear in their length. A pair begins at 1 and every
doubt takes its share; the doubts are said in sentences that the user can read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xeno.events import ChatMessage
from xeno.store.pairs import FeedbackType

_CONFIDENCE: dict[FeedbackType, float] = {"correction": 0.95, "choice": 0.85, "import": 0.8}
_WORD = re.compile(r"\w+")
# Scripts without blanks between words count by character.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


DoubtKind = Literal["alike", "no_words", "repetitive", "lengths", "prompt"]


@dataclass(frozen=True)
class Doubt:
    """What takes `cost` (0 to 1) from a pair's score, and why, in a sentence."""

    kind: DoubtKind
    cost: float
    reason: str


@dataclass(frozen=True)
class Quality:
    """`score` and `confidence` from 0 to 1; `doubts` says what lowered them."""

    score: float
    confidence: float
    doubts: tuple[Doubt, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """The reasons of all doubts."""
        return tuple(doubt.reason for doubt in self.doubts)


def assess(
    prompt: Sequence[ChatMessage], chosen: str, rejected: str, feedback_type: FeedbackType
) -> Quality:
    """Judge a pair by its texts and by how it came about."""
    confidence = _CONFIDENCE[feedback_type]
    doubts: list[Doubt] = []
    words_chosen, words_rejected = _words(chosen), _words(rejected)

    likeness = _likeness(words_chosen, words_rejected)
    if words_chosen == words_rejected:
        confidence -= 0.3
        doubts.append(
            Doubt("alike", 0.4, "The replies differ only in punctuation, case or layout.")
        )
    elif likeness > 0.95:
        confidence -= 0.1
        doubts.append(Doubt("alike", 0.2, "The replies are almost the same."))
    if not words_chosen:
        doubts.append(Doubt("no_words", 0.4, "The chosen reply has no words."))
    elif _repetition(words_chosen) > 0.2:
        doubts.append(Doubt("repetitive", 0.3, "The chosen reply repeats itself."))
    if _repetition(words_rejected) > 0.5:
        reason = "The rejected reply is mostly repetition, which is easy to tell apart."
        doubts.append(Doubt("repetitive", 0.1, reason))
    longer, shorter = sorted((len(chosen), len(rejected)), reverse=True)
    if longer > 20 * max(shorter, 1):
        confidence -= 0.1
        reason = "One reply is more than twenty times as long as the other."
        doubts.append(Doubt("lengths", 0.2, reason))
    question = prompt[-1].content.strip() if prompt else ""
    if not _words(question):
        doubts.append(Doubt("prompt", 0.2, "The prompt has no words."))
    elif chosen.strip().casefold() == question.casefold():
        doubts.append(Doubt("prompt", 0.4, "The chosen reply only repeats the prompt."))
    score = 1.0 - sum(doubt.cost for doubt in doubts)
    return Quality(_share(score), _share(confidence), tuple(doubts))


def _words(text: str) -> list[str]:
    found = _WORD.findall(text.casefold())
    if text.isascii() or not _UNSPACED.search(text):
        return found
    words: list[str] = []
    for word in found:
        words.extend(word if _UNSPACED.search(word) else [word])
    return words


def _likeness(first: list[str], second: list[str]) -> float:
    """Dice coefficient of the two bags of words, 0 to 1."""
    if not first and not second:
        return 1.0
    left = Counter(first)
    common = sum(min(left[word], times) for word, times in Counter(second).items() if word in left)
    return 2 * common / (len(first) + len(second))


def _repetition(words: list[str]) -> float:
    """Share of 4-grams that were there before, 0 to 1."""
    grams = len(words) - 3
    if grams < 1:
        return 0.0
    return 1 - len(set(zip(words, words[1:], words[2:], words[3:], strict=False))) / grams


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 3)
