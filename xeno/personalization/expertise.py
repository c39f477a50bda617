"""How much the user knows of a topic, from their own questions and corrections. Pure.

A question shows a level by what it asks for (what a thing is, or how it behaves at its edges)
and by the terms and figures it takes for granted; people also say it outright. A correction
that adds terms shows more knowledge, one that takes them away shows less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from xeno.personalization.likelihoods import Effect, bounded_logs
from xeno.personalization.preferences import EXPERTISE_PREFIX
from xeno.personalization.signals import Reading, read

# P(seen | beginner, intermediate, advanced, expert), relative.
_SHOWN: tuple[tuple[str, tuple[float, float, float, float], str], ...] = (
    (
        "says they are new to it",
        (1.0, 0.25, 0.04, 0.03),
        r"\bI(?:'m| am) (?:quite |totally |completely |very )?new (?:to|at|in)\b|"
        r"\bnever (?:used|done|tried|learned|heard)\b|"
        r"\b(?:as|I'm|I am|for) an? (?:absolute |complete |total )?"
        r"(?:beginner|newcomer|novice)\b|\bjust (?:started|starting|beginning)\b|\bmy first\b",
    ),
    (
        "says they have long experience",
        (0.03, 0.2, 0.8, 1.0),
        r"\b(?:for|over) (?:\d+|two|three|four|five|six|seven|eight|nine|ten|many|"
        r"several) years\b|"
        r"\bI (?:teach|maintain|wrote|published|designed)\b|"
        r"\bin my (?:experience|practice|research)\b",
    ),
    (
        "asks what it is or how to begin",
        (1.0, 0.45, 0.12, 0.08),
        r"\bwhat (?:is|are|does)\b(?! the (?:difference|best|cost|effect))(?=.{0,60}$)|"
        r"\bwhat's an?\b|"
        r"\bhow (?:do|can|would) (?:I|you|we) (?:start|begin|learn|get started|install)\b|"
        r"\bbasics?\b|"
        r"\bfor (?:beginners|dummies)\b|\bsimple (?:words|terms)\b|\bwhere (?:do|should) I start\b",
    ),
    (
        "asks how to do something usual",
        (0.7, 1.0, 0.6, 0.4),
        r"\bhow (?:do|can|would|should|to)\b"
        r"(?! (?:I|you|we) (?:start|begin|learn|get started))",
    ),
    (
        "asks to weigh one way against another",
        (0.15, 0.6, 1.0, 0.85),
        r"\btrade-?offs?\b|\bversus\b|\bvs\.?(?=\s)|\bdifference between\b|"
        r"\bcompared? (?:to|with)\b|"
        r"\bbest practices?\b|\b(?:pros|advantages) and\b|"
        r"\bwhen (?:should|would) (?:I|one|you) prefer\b",
    ),
    (
        "asks about limits and inner workings",
        (0.06, 0.25, 0.75, 1.0),
        r"\bedge cases?\b|\bunder the hood\b|\binternals?\b|\bguarantees?\b|"
        r"\binvariants?\b|\bprove\b|"
        r"\basymptotic|\bworst[- ]case\b|\bcomplexity\b|\bbottlenecks?\b|\bprofil(?:e|ing)\b|"
        r"\bfails? (?:when|under|silently)\b|\brace conditions?\b|\bscal(?:e|es|ing|ability)\b|"
        r"\bconverge|\bunstable\b|\bregression\b",
    ),
)
_PATTERNS = tuple((name, odds, re.compile(p, re.I | re.M)) for name, odds, p in _SHOWN)
_TERMS = ((1.0, 0.9, 0.7, 0.6), (0.45, 0.9, 1.0, 0.9), (0.12, 0.4, 0.85, 1.0))  # none, some, many

# Topics people name, by the words that name them; those the user names are added to them.
TOPICS: Mapping[str, str] = MappingProxyType(
    {
        "python": r"python|pandas|numpy|django|pytest",
        "javascript": r"javascript|typescript|node\.?js|react",
        "java": r"java|jvm|kotlin",
        "c++": r"c\+\+|cpp",
        "rust": r"rust|borrow checker",
        "database": r"databases?|sql|postgres(?:ql)?|sqlite|mysql",
        "linux": r"linux|bash|systemd|ubuntu|debian",
        "git": r"git|github|rebase",
        "networking": r"tcp|dns|router|vpn|firewall",
        "machine learning": r"machine learning|neural net(?:work)?s?|deep learning|pytorch",
        "statistics": r"statistics|statistical|p-values?|standard deviation|confidence intervals?",
        "mathematics": r"math(?:s|ematics)?|algebra|calculus|theorem|integrals?",
        "physics": r"physics|quantum|relativity|thermodynamics",
        "chemistry": r"chemistry|chemical|molecules?|titration",
        "biology": r"biology|genes?|dna|protein",
        "medicine": r"medicine|medical|symptoms?|diagnosis",
        "law": r"law|legal|contract law|lawsuit",
        "finance": r"finance|invest(?:ing|ments?)?|stocks?|bonds?|mortgage|budget",
        "cooking": r"cook(?:ing)?|recipes?|bak(?:e|ing)|sauces?",
        "gardening": r"garden(?:ing)?|tomatoes|compost|seedlings?",
        "photography": r"photograph(?:y|s)?|aperture|camera|shutter",
        "music": r"music|guitar|piano|chords?",
        "history": r"history|historical|medieval|ancient",
        "writing": r"essay|novel|poem|proofread",
        "fitness": r"fitness|workouts?|running|marathon|strength training",
        "spreadsheets": r"spreadsheets?|excel|pivot tables?",
    }
)
_TOPICS = {name: re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.I) for name, words in TOPICS.items()}


def topics_of(text: str, known: Iterable[str] = ()) -> list[str]:
    """The topics that `text` names: those of `TOPICS`, and the `known` ones by their own name."""
    text = text[:4_000]
    found = [name for name, pattern in _TOPICS.items() if pattern.search(text)]
    for name in known:
        if name not in found and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.I):
            found.append(name)
    return found


def from_question(topic: str, question: str) -> Effect | None:
    """What a question about `topic` says of the user's level in it; None: nothing."""
    reading = read(question)
    odds, seen = [1.0] * 4, []
    for name, likely, pattern in _PATTERNS:
        if pattern.search(question[:4_000]):
            odds = [a * b for a, b in zip(odds, likely, strict=True)]
            seen.append(name)
            if len(seen) == 2:  # what follows would say the same once more
                break
    terms = _terms(reading)
    odds = [a * b for a, b in zip(odds, _TERMS[terms], strict=True)]
    if terms:
        seen.append("takes terms and figures for granted")
    if not seen:
        return None
    return _effect(topic, odds, f"Your message {', '.join(seen)}.")


def from_correction(topic: str, reply: str, corrected: str) -> Effect | None:
    """What a correction of a reply about `topic` says of the level; None: nothing."""
    before, after = _terms(read(reply)), _terms(read(corrected))
    if after > before:
        return _effect(topic, [0.1, 0.35, 0.9, 1.0], "You added terms or figures to the reply.")
    if after < before:
        return _effect(topic, [1.0, 0.7, 0.3, 0.2], "You took terms or figures out of the reply.")
    return None


def _terms(reading: Reading) -> int:
    return reading.levels["figures"]


def _effect(topic: str, odds: list[float], reason: str) -> Effect:
    return Effect(EXPERTISE_PREFIX + topic, bounded_logs([o**0.8 for o in odds]), reason)
