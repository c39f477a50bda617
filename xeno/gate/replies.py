"""What the replies of a version say of it: they end, are not empty, do not repeat themselves, and
stay in the language of the question. Pure functions.

A small base model does not always manage this itself. Where it falls short of a mark the version
is held to what the base does: the gate asks whether training broke something.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from xeno.benchmarking.reply_rules import repeated_4grams
from xeno.feedback.language import language_of, name_of
from xeno.versions.gate import GateCheck
from xeno.words import count

MOST_REPETITION = 0.05
_SLACK = 1  # replies by which a version may differ from the base in what it cannot do


@dataclass(frozen=True)
class GateReply:
    """The reply to one question in `language` (ISO 639-1). `ended`: by itself, not by the limit
    of tokens."""

    question: str
    language: str
    text: str
    ended: bool
    tokens: int
    tokens_per_second: float


def judge(version: Sequence[GateReply], base: Sequence[GateReply]) -> list[GateCheck]:
    """The checks on the replies of a version, the base's replies to the same questions beside
    them."""
    return [
        _not_empty(version),
        _ends(version, base),
        _repetition(version, base),
        _language(version, base),
    ]


def _not_empty(replies: Sequence[GateReply]) -> GateCheck:
    empty = sum(not reply.text.strip() for reply in replies)
    detail = (
        f"{empty} of its {len(replies)} replies are empty."
        if empty
        else f"None of its {len(replies)} replies is empty."
    )
    return GateCheck(name="not empty", passed=not empty, detail=detail, values={"empty": empty})


def _ends(version: Sequence[GateReply], base: Sequence[GateReply]) -> GateCheck:
    running, before = _running(version), _running(base)
    detail = (
        f"{count(running, 'reply', 'replies')} of {len(version)} went on until they were cut off; "
        f"the base model's, {before}."
        if running
        else f"All of its {len(version)} replies come to an end."
    )
    passed = running <= before + _SLACK
    values = {"unended": running, "unended_base": before}
    return GateCheck(name="ends", passed=passed, detail=detail, values=values)


def _repetition(version: Sequence[GateReply], base: Sequence[GateReply]) -> GateCheck:
    share, before = _repeated(version), _repeated(base)
    detail = (
        f"{share:.1%} of the sequences of four words in its replies are repeated; less than "
        f"{MOST_REPETITION:.0%} should be (base model: {before:.1%})."
    )
    passed = share < MOST_REPETITION or share <= before
    values = {"repetition": share, "repetition_base": before}
    return GateCheck(name="repetition", passed=passed, detail=detail, values=values)


def _language(version: Sequence[GateReply], base: Sequence[GateReply]) -> GateCheck:
    lost = [
        (reply.language, answered)
        for reply, other in zip(version, base, strict=True)
        if (answered := language_of(reply.text))
        and answered not in (reply.language, language_of(other.text))
    ]
    detail = (
        f"It answers {_names(lost[0])}; so in {len(lost)} of {len(version)} questions."
        if lost
        else "It answers in the language of the question, or in the one the base model does."
    )
    return GateCheck(
        name="language kept",
        passed=len(lost) <= _SLACK,
        detail=detail,
        values={"language_lost": len(lost)},
    )


def _names(languages: tuple[str, str]) -> str:
    asked, answered = languages
    return f"a question in {name_of(asked)} in {name_of(answered)}"


def _running(replies: Sequence[GateReply]) -> int:
    return sum(not reply.ended for reply in replies)


def _repeated(replies: Sequence[GateReply]) -> float:
    return statistics.fmean(repeated_4grams(reply.text) for reply in replies) if replies else 0.0
