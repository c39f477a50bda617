"""How likely what the user did is under every taste they might have. Pure.

Four kinds of signal, each a likelihood P(seen | taste) per preference:

- a correction: the user mends what they mind and leaves the rest. Each trait of the text they
  wrote comes from their taste, or from the reply they began with (a mixture of the two), so a
  trait that was changed says much and one that was left says little;
- a rating or thumb: satisfaction falls with the distance of the reply from the taste, and how
  the reply was written is itself uncertain (what was asked of the model, weighed by its text);
- a choice: of two replies the one nearer to the taste is taken more often (Bradley & Terry 1952);
- writing: people write somewhat as they like to read. A weak signal, but for a plain request
  ("keep it short").

The traits of one text are not independent, and no table below is exact: likelihoods are
tempered (raised to a power below 1) and bounded, so that no single signal settles a belief.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from xeno.personalization.beliefs import Distribution, uniform, updated, values_of
from xeno.personalization.markers import ENGLISH, Lexicon
from xeno.personalization.preferences import ALLOWED
from xeno.personalization.signals import Reading, read
from xeno.words import count

Levels = tuple[float, float, float]

# P(level 0, 1, 2 of a cue | value), values in the order of `preferences`.
_STYLE: Mapping[str, tuple[Levels, ...]] = {
    #                 professional      casual            friendly          technical
    "business": ((0.30, 0.35, 0.35), (0.75, 0.20, 0.05), (0.70, 0.23, 0.07), (0.60, 0.25, 0.15)),
    "colloquial": ((0.85, 0.12, 0.03), (0.20, 0.30, 0.50), (0.60, 0.30, 0.10), (0.80, 0.15, 0.05)),
    "together": ((0.70, 0.22, 0.08), (0.55, 0.30, 0.15), (0.15, 0.35, 0.50), (0.75, 0.20, 0.05)),
    "figures": ((0.65, 0.25, 0.10), (0.70, 0.23, 0.07), (0.72, 0.22, 0.06), (0.12, 0.28, 0.60)),
    "contractions": (
        (0.82, 0.14, 0.04),
        (0.30, 0.35, 0.35),
        (0.50, 0.30, 0.20),
        (0.80, 0.15, 0.05),
    ),
    "learned": ((0.25, 0.35, 0.40), (0.60, 0.30, 0.10), (0.60, 0.30, 0.10), (0.40, 0.35, 0.25)),
    "warmth": ((0.70, 0.22, 0.08), (0.60, 0.27, 0.13), (0.42, 0.33, 0.25), (0.75, 0.20, 0.05)),
}
_TONE: Mapping[str, tuple[Levels, ...]] = {
    #                 formal            neutral           friendly          humorous
    "courtesy": ((0.40, 0.33, 0.27), (0.75, 0.20, 0.05), (0.65, 0.27, 0.08), (0.72, 0.22, 0.06)),
    "warmth": ((0.78, 0.17, 0.05), (0.82, 0.14, 0.04), (0.10, 0.30, 0.60), (0.60, 0.25, 0.15)),
    "play": ((0.88, 0.10, 0.02), (0.85, 0.13, 0.02), (0.75, 0.20, 0.05), (0.28, 0.37, 0.35)),
    "contractions": (
        (0.68, 0.22, 0.10),
        (0.60, 0.27, 0.13),
        (0.54, 0.30, 0.16),
        (0.55, 0.30, 0.15),
    ),
    "aside": ((0.30, 0.35, 0.35), (0.82, 0.14, 0.04), (0.40, 0.35, 0.25), (0.25, 0.35, 0.40)),
}
_CUES: Mapping[str, Mapping[str, tuple[Levels, ...]]] = MappingProxyType(
    {"communication_style": _STYLE, "tone": _TONE}
)
_COMMON: Levels = (0.75, 0.17, 0.08)  # a cue in a message that says nothing about a taste
_WORDS = (math.log(24), math.log(60), math.log(140))  # of brief, medium and detailed replies
_SPREAD = 0.42  # standard deviation of the logarithm of the words
_RESIZED = 0.35  # change of the logarithm of the words that is a wish and not by the way
_TOWARDS = {1: 0.7, 0: 0.22, -1: 0.08}  # resized towards the taste, at the taste, away from it
_LAYOUTS = ("prose", "numbers", "bullets")  # conversational, structured, bullet_points
_STARS = ((0.05, 0.09, 0.18, 0.33, 0.35), (0.14, 0.22, 0.26, 0.23, 0.15))  # taste met, missed
_THUMB_UP = (0.75, 0.45)

_TEMPER = 0.65  # for the cues of one text, which are not independent
_BOUND = 0.04  # no signal makes a value less likely than this, relative to the likeliest
_LEFT = 0.35  # how often a trait the user minds is left as it was
_LEFT_SMALL = 0.85  # the same, where hardly a word was changed
_MIRRORED = 0.3  # how much of a message's manner comes from the taste in replies
_FOLLOWED = 0.6  # how far a reply is taken to be what was asked of the model, before reading it
_TELLING = 0.08  # evidence weaker than this (in log-likelihood) is not kept


@dataclass(frozen=True)
class Effect:
    """What a signal says about one preference: log-likelihoods in the order of its values
    (the largest is 0), and the reason in a sentence."""

    dimension: str
    log_likelihoods: tuple[float, ...]
    reason: str


def from_correction(
    reply: str,
    corrected: str,
    question: str = "",
    told: Mapping[str, str] | None = None,
    lexicon: Lexicon = ENGLISH,
) -> list[Effect]:
    """What a correction says.

    Args:
        reply: what the assistant wrote.
        corrected: what the user made of it.
        question: what was asked; its words are nobody's manner.
        told: the preferences the reply was written under, where known.
        lexicon: the words by which a manner is known.
    """
    before = read(reply, question, corrected, lexicon)
    after = read(corrected, question, reply, lexicon)
    left = _LEFT_SMALL if _likeness(reply, corrected) > 0.85 else _LEFT
    effects = []
    for dimension, cues in _CUES.items():
        old, now = _manner(dimension, before), _manner(dimension, after)
        kept = {cue: 0.8 if now[cue] == old[cue] else 0.1 for cue in cues}
        scores = _scores(
            {
                cue: [(1 - left) * levels[now[cue]] + left * kept[cue] for levels in rows]
                for cue, rows in cues.items()
            }
        )
        effects.append(Effect(dimension, scores, _changed(dimension, before, after)))
    look = _look("detail_level", before, told)
    detail = _detail_likelihoods(before.words, after.words, look, left, told)
    effects.append(
        Effect("detail_level", bounded_logs(detail), _changed("detail_level", before, after))
    )
    same = 0.9 if before.layout == after.layout else 0.05
    forms = [(1 - left) * p + left * same for p in _layout_likelihoods(after)]
    effects.append(
        Effect("response_format", bounded_logs(forms), _changed("response_format", before, after))
    )
    return _kept(effects)


def _detail_likelihoods(
    before: int, after: int, look: Distribution, left: float, told: Mapping[str, str] | None
) -> list[float]:
    """P(length of the correction | detail level): how long it is for this model, and whether
    the reply, as detailed as it looks, was made shorter or longer."""
    shift = _shift(before, told)
    words = math.log(max(1, after))
    moved = words - math.log(max(1, before))
    stay = math.exp(-abs(moved) / 0.12) / 0.24
    absolute = [(1 - left) * _normal(words, m + shift, _SPREAD) + left * stay for m in _WORDS]
    if abs(moved) < _RESIZED:
        return absolute
    way = 1 if moved > 0 else -1
    towards = [
        sum(p * _TOWARDS[way * ((v > a) - (v < a))] for a, p in enumerate(look)) for v in range(3)
    ]
    return [a * math.sqrt(t) for a, t in zip(absolute, towards, strict=True)]


def from_rating(
    reply: str,
    stars: int,
    question: str = "",
    told: Mapping[str, str] | None = None,
    lexicon: Lexicon = ENGLISH,
) -> list[Effect]:
    """What 1 to 5 stars on `reply` say; arguments as for `from_correction`."""
    met, missed = (row[stars - 1] for row in _STARS)
    said = f"You gave {stars} star{'s' if stars > 1 else ''} to a reply that"
    return _from_verdict(met, missed, said, reply, question, told, lexicon)


def from_thumb(
    reply: str,
    up: bool,
    question: str = "",
    told: Mapping[str, str] | None = None,
    lexicon: Lexicon = ENGLISH,
) -> list[Effect]:
    """What a thumb up or down on `reply` says; arguments as for `from_correction`."""
    met, missed = _THUMB_UP if up else (1 - p for p in _THUMB_UP)
    said = f"You gave a thumb {'up' if up else 'down'} to a reply that"
    return _from_verdict(met, missed, said, reply, question, told, lexicon)


def from_choice(
    chosen: str, rejected: str, question: str = "", lexicon: Lexicon = ENGLISH
) -> list[Effect]:
    """What preferring one reply to another says."""
    first, second = looks(chosen, question, None, lexicon), looks(rejected, question, None, lexicon)
    effects = []
    for dimension in ALLOWED:
        strength = [
            1 / (1 + math.exp(-1.6 * (a - b)))
            for a, b in zip(
                _met(dimension, first[dimension]), _met(dimension, second[dimension]), strict=True
            )
        ]
        top = values_of(dimension)[_likeliest(first[dimension])].replace("_", " ")
        effects.append(
            Effect(dimension, bounded_logs(strength), f"You chose the reply that looks {top}.")
        )
    return _kept(effects)


def from_message(text: str, lexicon: Lexicon = ENGLISH) -> list[Effect]:
    """What the manner of the user's own message says, and what it plainly asks for."""
    reading = read(text, lexicon=lexicon)
    if reading.words < 2:
        return []
    effects = []
    for dimension, cues in _CUES.items():
        shown = _manner(dimension, reading)
        # A question is too short for what it lacks to say anything: only what is there counts.
        there = [cue for cue in cues if shown[cue] and cue != "aside"]
        if there:
            scores = _scores(
                {
                    cue: [
                        _MIRRORED * levels[shown[cue]] + (1 - _MIRRORED) * _COMMON[shown[cue]]
                        for levels in cues[cue]
                    ]
                    for cue in there
                }
            )
            names = ", ".join(_NAMES[cue] for cue in there)
            effects.append(Effect(dimension, scores, f"Your message shows {names}."))
    return _kept(effects + _requests(text))


def looks(
    reply: str,
    question: str = "",
    told: Mapping[str, str] | None = None,
    lexicon: Lexicon = ENGLISH,
) -> dict[str, Distribution]:
    """How a reply is written: a distribution per preference, from what was asked of the model
    and from the text itself."""
    reading = read(reply, question, lexicon=lexicon)
    return {dimension: _look(dimension, reading, told) for dimension in ALLOWED}


def _look(dimension: str, reading: Reading, told: Mapping[str, str] | None) -> Distribution:
    values = ALLOWED[dimension]
    before = uniform(len(values))
    wanted = (told or {}).get(dimension)
    if wanted in values:
        rest = (1 - _FOLLOWED) / (len(values) - 1)
        before = tuple(_FOLLOWED if value == wanted else rest for value in values)
    return updated(before, _text_says(dimension, reading, told))


def _text_says(
    dimension: str, reading: Reading, told: Mapping[str, str] | None
) -> tuple[float, ...]:
    if dimension in _CUES:
        return _scores(
            {
                cue: [levels[reading.levels[cue]] for levels in rows]
                for cue, rows in _CUES[dimension].items()
            }
        )
    if dimension == "response_format":
        return bounded_logs(_layout_likelihoods(reading))
    shift, words = _shift(reading.words, told), math.log(max(1, reading.words))
    return bounded_logs([_normal(words, m + shift, _SPREAD) for m in _WORDS])


def _from_verdict(
    met: float,
    missed: float,
    said: str,
    reply: str,
    question: str,
    told: Mapping[str, str] | None,
    lexicon: Lexicon,
) -> list[Effect]:
    effects = []
    for dimension, look in looks(reply, question, told, lexicon).items():
        likely = [m * met + (1 - m) * missed for m in _met(dimension, look)]
        top = values_of(dimension)[_likeliest(look)].replace("_", " ")
        effects.append(Effect(dimension, bounded_logs(likely), f"{said} looks {top}."))
    return _kept(effects)


def _met(dimension: str, look: Distribution) -> list[float]:
    """How well a reply that looks like `look` meets each taste, 0 to 1. Half of a step in
    detail is forgiven."""
    if dimension != "detail_level":
        return list(look)
    return [
        sum(p * max(0.0, 1 - 0.75 * abs(i - j)) for j, p in enumerate(look))
        for i in range(len(look))
    ]


# What people plainly ask for: grammar of requests for length and layout.
_REQUESTS: tuple[tuple[str, int, str], ...] = (
    (
        "detail_level",
        0,
        r"\b(?:brief(?:ly)?|concise(?:ly)?|short(?:er)?(?: (?:answer|version|please))|"
        r"keep it short|in (?:one|a|1) (?:sentence|line|word)|"
        r"tl;?dr|quick answer|just the answer|too long)\b",
    ),
    (
        "detail_level",
        2,
        r"\b(?:in (?:more |great |full )?detail|detailed|elaborate|thorough(?:ly)?|in depth|"
        r"at length|explain (?:everything|fully)|with (?:many )?examples|"
        r"comprehensive(?:ly)?|longer)\b",
    ),
    ("response_format", 1, r"\b(?:step[- ]by[- ]step|numbered|in steps|as steps|structured)\b"),
    ("response_format", 2, r"\b(?:bullet(?:s|ed| points?)?|(?:as|in) a list)\b"),
    (
        "response_format",
        0,
        r"\b(?:no (?:lists?|bullets?)|without (?:lists?|bullets?)|in prose|as (?:plain )?text)\b",
    ),
)
_REQUEST_PATTERNS = tuple((d, i, re.compile(p, re.IGNORECASE)) for d, i, p in _REQUESTS)


def _requests(text: str) -> list[Effect]:
    found = []
    for dimension, index, pattern in _REQUEST_PATTERNS:
        match = pattern.search(text[:2_000])
        if match:
            size = len(ALLOWED[dimension])
            likely = [0.75 if i == index else 0.25 / (size - 1) for i in range(size)]
            found.append(
                Effect(dimension, bounded_logs(likely), f"You asked for it: “{match[0]}”.")
            )
    return found if len({e.dimension for e in found}) == len(found) else []


def _manner(dimension: str, reading: Reading) -> Mapping[str, int]:
    """Where a manner shows: a style in the body of a text, a tone in all of it."""
    return reading.levels if dimension == "tone" else {**reading.body, "aside": 0}


def _scores(chances: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """Tempered log-likelihoods of all values, from those of every cue."""
    sums = [_TEMPER * sum(map(math.log, column)) for column in zip(*chances.values(), strict=True)]
    highest = max(sums)
    return _bounded([math.exp(s - highest) for s in sums])


def _layout_likelihoods(reading: Reading) -> list[float]:
    """P(layout | format). A text too short for a list says less by being prose."""
    hit = 0.88 if reading.layout != "prose" or reading.words > 25 else 0.6
    return [
        hit if layout == reading.layout else (1 - hit) / 2 if reading.layout != "prose" else 1 - hit
        for layout in _LAYOUTS
    ]


def _shift(words: int, told: Mapping[str, str] | None) -> float:
    """How much longer this model writes than what its detail level means here, mostly believed:
    'brief' is fewer words from a small model than from a large one."""
    level = (told or {}).get("detail_level")
    if level not in ALLOWED["detail_level"]:
        return 0.0
    usual = _WORDS[ALLOWED["detail_level"].index(level)]
    return 0.8 * min(2.0, max(0.0, math.log(max(1, words)) - usual - 0.7))


def _normal(x: float, mean: float, deviation: float) -> float:
    z = (x - mean) / deviation
    return math.exp(-0.5 * z * z) / (deviation * math.sqrt(2 * math.pi)) + 1e-6


def bounded_logs(likelihoods: Sequence[float]) -> tuple[float, ...]:
    """Log-likelihoods relative to the largest, none below what one signal may say."""
    highest = max(likelihoods)
    return _bounded([p / highest for p in likelihoods])


def _bounded(relative: Sequence[float]) -> tuple[float, ...]:
    return tuple(math.log((p + _BOUND) / (1 + _BOUND)) for p in relative)


def _kept(effects: list[Effect]) -> list[Effect]:
    return [e for e in effects if max(e.log_likelihoods) - min(e.log_likelihoods) >= _TELLING]


def _likeliest(distribution: Distribution) -> int:
    return distribution.index(max(distribution))


def _likeness(first: str, second: str) -> float:
    a, b = first.split(), second.split()
    common = len(set(a) & set(b))
    return 2 * common / max(1, len(set(a)) + len(set(b)))


_NAMES = {
    "contractions": "contractions",
    "learned": "learned words",
    "colloquial": "everyday speech",
    "courtesy": "courtesies",
    "warmth": "warmth",
    "play": "jokes",
    "business": "business terms",
    "figures": "figures and technical terms",
    "together": "you and we",
    "aside": "a remark of its own",
}


def _changed(dimension: str, before: Reading, after: Reading) -> str:
    """What a correction changed, in a sentence."""
    if dimension == "detail_level":
        if before.words == after.words:
            return f"You kept the length of {count(before.words, 'word')}."
        verb = "shortened" if after.words < before.words else "lengthened"
        return f"You {verb} {count(before.words, 'word')} to {after.words}."
    if dimension == "response_format":
        return (
            f"You kept {_layout_name(after.layout)}."
            if before.layout == after.layout
            else f"You turned {_layout_name(before.layout)} into {_layout_name(after.layout)}."
        )
    old, now = _manner(dimension, before), _manner(dimension, after)
    more = [_NAMES[cue] for cue in _CUES[dimension] if now[cue] > old[cue]]
    less = [_NAMES[cue] for cue in _CUES[dimension] if now[cue] < old[cue]]
    parts = [f"added {', '.join(more)}"] * bool(more) + [f"removed {', '.join(less)}"] * bool(less)
    return f"You {' and '.join(parts)}." if parts else "You kept the manner as it was."


def _layout_name(layout: str) -> str:
    return {"prose": "sentences", "numbers": "numbered steps", "bullets": "bullets"}[layout]
