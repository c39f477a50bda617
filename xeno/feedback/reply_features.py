"""What a reply looks like, as numbers: its layout, its manner, and its words by hashing. Pure.

Two replies to one question are compared by the difference of their numbers, so that what they
share (the subject, mostly) cancels out and what differs (length, lists, manner) stays.
"""

from __future__ import annotations

import math
import re
import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xeno.personalization.markers import ENGLISH, Lexicon
from xeno.personalization.signals import CUES, read

Features = NDArray[np.float64]

_LENGTHS = (8, 16, 32, 64, 128, 256)  # words: someone may like neither short nor long
LAYOUT = 14 + len(_LENGTHS)
MANNER = len(CUES)  # how formal, warm, playful, ... it is: two phrases of one manner are alike
WORDS = 192  # bins for words anywhere
_EDGES = 96  # bins for how a reply begins and how it ends
DIMENSION = LAYOUT + MANNER + WORDS + _EDGES

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f]+(?=\s|$)")
_BULLET = re.compile(r"^\s*[-*\u2022]\s+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*(?:\d+|[A-Z][a-z]+ \d+)[.):]\s*\S", re.MULTILINE)
_EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]")
_WORD_WEIGHT = 0.5  # of one unit of layout
_EDGE_WEIGHT = 1.0
_EDGE = 6  # words


def features(text: str, lexicon: Lexicon = ENGLISH) -> Features:
    """The numbers of a reply, shape [DIMENSION], each mostly between -1 and 1.

    Args:
        lexicon: the words by which a manner is known.
    """
    words = [word.casefold() for word in _WORD.findall(text)]
    count = max(1, len(words))
    sentences = max(1, len(_SENTENCE_END.findall(text)))
    lines = max(1, text.count("\n") + 1)
    bullets, numbered = len(_BULLET.findall(text)), len(_NUMBERED.findall(text))
    values = np.zeros(DIMENSION)
    values[:LAYOUT] = (
        math.log1p(count) / 2 - 2,
        math.log1p(count / sentences) / 2 - 1,
        sum(map(len, words)) / count / 5 - 1,
        min(1.0, math.log1p(lines) / 3),
        float(bullets >= 2),
        float(numbered >= 2),
        min(1.0, math.log1p(text.count("!")) / 2),
        min(1.0, math.log1p(text.count("?")) / 2),
        min(1.0, math.log1p(len(_EMOJI.findall(text))) / 2),
        min(1.0, 5 * sum("'" in word or "\u2019" in word for word in words) / count),
        min(1.0, 10 * sum(c.isdigit() for c in text) / max(1, len(text))),
        min(1.0, math.log1p(text.count("(") + text.count("[")) / 2),
        float("```" in text),
        float(text[:1].islower()),
        *_near(count),
    )
    levels = read(text, lexicon=lexicon).levels
    values[LAYOUT : LAYOUT + MANNER] = [levels[cue] / 2 for cue in CUES]
    hashed = LAYOUT + MANNER
    _count(values, words, "w", hashed, WORDS, _WORD_WEIGHT / math.sqrt(count / 20))
    edges = [*_grams(words[:_EDGE], "<"), *_grams(words[-_EDGE:], ">")]
    _count(values, edges, "e", hashed + WORDS, _EDGES, _EDGE_WEIGHT / 2)
    return values


def _near(count: int) -> list[float]:
    """How near the number of words is to each of `_LENGTHS`: 1 there, 0 at the next ones."""
    place = math.log2(min(max(count, _LENGTHS[0]), _LENGTHS[-1]))
    return [max(0.0, 1 - abs(place - math.log2(length))) for length in _LENGTHS]


def _grams(words: list[str], mark: str) -> list[str]:
    pairs = [f"{mark}{first} {second}" for first, second in pairwise(words)]
    return [mark + word for word in words] + pairs


def _count(
    values: Features, tokens: list[str], salt: str, start: int, bins: int, weight: float
) -> None:
    """Add signed hashed counts (Weinberger et al. 2009): two words in a bin cancel on average."""
    for token in tokens:
        code = zlib.crc32(f"{salt}{token}".encode("utf-8", "surrogatepass"))
        values[start + (code >> 1) % bins] += weight if code & 1 else -weight
