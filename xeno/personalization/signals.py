"""What can be counted in a text about how it is written. Pure, linear in the length of the text.

The counts are those of the literature on register: contractions, nominal and Latinate
vocabulary, pronouns of address, interjections (Heylighen & Dewaele 2002; Biber 1988; Pavlick &
Tetreault 2016). A count becomes a level, 0 none, 1 some, 2 much, which does not depend on how
long the text is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from xeno.personalization.markers import (
    ENGLISH,
    FUNCTION_WORDS,
    MODALS_OF_COURTESY,
    PRONOUNS_OF_ADDRESS,
    Lexicon,
)

LONGEST_READ = 4_000  # characters; a manner shows long before
CUES = (
    "contractions",
    "learned",
    "colloquial",
    "courtesy",
    "warmth",
    "play",
    "business",
    "figures",
    "together",
    "aside",
)

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_CONTRACTION = re.compile(
    r"(?:n['\u2019]t|['\u2019](?:re|ve|ll|m|d)|"
    r"^(?:it|that|what|here|there|who|how|let|he|she|where)['\u2019]s)$"
)
_LATINATE = re.compile(
    r"(?:[ts]ion|ment|[ae]nce|[ae]ncy|ity|ive|ure|[ai]ble|ical|[iy]s[ei]s?|ize|ise|ate|ology)s?$"
)
_BULLET = re.compile(r"^\s*[-*\u2022\u2013\u2023\u00b7]\s+\S", re.MULTILINE)
_NUMBER = re.compile(
    r"^\s*(?:\*\*)?(?:step\s+)?(?:\d{1,2}|[a-h])[.):]\s*\S", re.MULTILINE | re.IGNORECASE
)
_HEADING = re.compile(
    r"^(?:#{1,6}\s+\S.*|\*\*[^*\n]{3,60}\*\*:?|[A-Z][^.!?\n]{2,40}:)\s*$", re.MULTILINE
)
_LIST_LINE = re.compile(
    r"^\s*(?:[-*\u2022\u2013\u2023\u00b7]\s|(?:step\s+)?\d{1,2}[.):])", re.IGNORECASE
)
_SENTENCE = re.compile(r"[^.!?\u2026\n]+?(?:[.!?\u2026]+|:(?=\s+[A-Z])|(?=\n)|\Z)")
_FIGURE = re.compile(
    r"[<>=\u2264\u2265\u00b1\u2248\u00b0%\u2192@]|->|`[^`]+`|\b\w+_\w+\b|\b[a-z]+[A-Z]\w*|\b[A-Z]{2,6}\d*\b"
    r"|\b\d+(?:[.,:]\d+)*\s?(?:[a-zA-Z]{1,3}\b)?"
)
_LAUGH = re.compile(r"\b(?:(?:ha|he|hi){2,}h?|lo+l|lmao|rofl)\b|[;:]-?[PpD]\b|;-?\)", re.IGNORECASE)
_LAUGHING = frozenset(
    "\U0001f602\U0001f923\U0001f604\U0001f606\U0001f605\U0001f61c\U0001f61d\U0001f92a"
    "\U0001f609\U0001f643\U0001f921\U0001f600\U0001f601\U0001f639\U0001f648"
)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2764\u2665\u263a\u2b50\u2728]")
_SMILE = re.compile(r"[:=]-?\)|<3")
_STRETCHED = re.compile(r"([a-z])\1{2,}|\?{2,}|!{2,}|\.\.\.|\u2026", re.IGNORECASE)
_SIMILE = re.compile(r"\b(?:like an?|as if|as though)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """What was counted in a text.

    `levels` maps every name of CUES to 0, 1 or 2; `body` does so for the text without its asides,
    where a style shows apart from the tone of a greeting or a farewell; `layout` is 'bullets',
    'numbers' or 'prose'; `words` is the length.
    """

    words: int
    layout: str
    levels: dict[str, int]
    body: dict[str, int]


def read(text: str, question: str = "", matter: str = "", lexicon: Lexicon = ENGLISH) -> Reading:
    """Count what is in `text`.

    Args:
        question: what it answers; words of the question are never taken for a manner.
        matter: another text about the same. An opening or closing remark that has no word of
            the question, the matter or the rest of the text is an aside.
        lexicon: the words by which a manner is known.
    """
    text = text[:LONGEST_READ]
    topic = _stems(question[:LONGEST_READ])
    asides, body = _parted(text, topic | _stems(_parted(matter[:LONGEST_READ], topic)[1]))
    levels = _levels(text, topic, lexicon)
    levels["aside"] = len(asides)
    in_body = _levels(body, topic, lexicon) if asides and body.strip() else dict(levels)
    return Reading(len(_WORD.findall(text)), _layout(text), levels, in_body)


def _levels(text: str, topic: frozenset[str], lexicon: Lexicon) -> dict[str, int]:
    lower = [w.lower() for w in _WORD.findall(text.replace("\u2019", "'"))]
    own = [w for w in lower if w[:5] not in topic] if topic else lower
    sentences = [s.strip() for s in _SENTENCE.findall(text) if s.strip()]
    small = sum(s[0].islower() for s in sentences if s[0].isalpha())
    emoji = _EMOJI.findall(text)
    laughing = sum(c in _LAUGHING for c in emoji)
    hits = {
        "contractions": sum("'" in w and bool(_CONTRACTION.search(w)) for w in lower),
        "learned": sum(len(w) > 6 and bool(_LATINATE.search(w)) for w in own)
        + _known(lexicon.connectives, lower),
        "colloquial": _known(lexicon.colloquial, lower)
        + len(_STRETCHED.findall(text))
        + (small if small * 3 >= len(sentences) else 0),
        "courtesy": _known(lexicon.courtesy, own) + _known(MODALS_OF_COURTESY, lower) // 2,
        "warmth": _known(lexicon.warmth, own)
        + text.count("!")
        + 2 * (len(emoji) - laughing)
        + len(_SMILE.findall(text)),
        "play": _known(lexicon.play, own)
        + 2 * len(_LAUGH.findall(text))
        + 2 * laughing
        + len(_SIMILE.findall(text)),
        "business": _known(lexicon.business, own),
        "figures": len(_FIGURE.findall(_unnumbered(text))) + _known(lexicon.jargon, lower),
        "together": _known(PRONOUNS_OF_ADDRESS, lower),
    }
    return {name: _level(count, max(1, len(lower))) for name, count in hits.items()}


def _known(words: frozenset[str], text: list[str]) -> int:
    return sum(map(words.__contains__, text))


def _level(hits: int, words: int) -> int:
    """0 none; 2 from one in twenty words on, two at least in a text that is not tiny."""
    if hits == 0:
        return 0
    return 2 if hits * 20 >= words and (hits > 1 or words < 15) else 1


def _layout(text: str) -> str:
    bullets, numbers = len(_BULLET.findall(text)), len(_NUMBER.findall(text))
    if max(bullets, numbers) < 2:
        return "numbers" if len(_HEADING.findall(text)) >= 2 else "prose"
    return "bullets" if bullets >= numbers else "numbers"


def _unnumbered(text: str) -> str:
    return "\n".join(_LIST_LINE.sub("", line) for line in text.splitlines())


def _parted(text: str, topic: frozenset[str]) -> tuple[list[str], str]:
    """The opening and closing remarks that have nothing to do with the rest, and the rest."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 2 and any(_LIST_LINE.match(line) for line in lines):
        parts, ends = lines, [i for i in (0, -1) if not _LIST_LINE.match(lines[i])]
    else:
        parts = _sentences(text)
        ends = [0, -1] if len(parts) > 1 else []
    known = topic | _stems(" ".join(parts[1:-1]))
    alone = [i % len(parts) for i in ends if not _stems(parts[i]) & known and _says(parts[i])]
    if len(alone) == len(parts):  # two remarks that have nothing in common: neither is an aside
        alone = []
    body = "\n".join(part for i, part in enumerate(parts) if i not in alone)
    return [parts[i] for i in alone], body


def _sentences(text: str) -> list[str]:
    """The sentences; what has no letter (an emoji) belongs to the one before."""
    found: list[str] = []
    for sentence in _SENTENCE.findall(text):
        if found and not _says(sentence):
            found[-1] += sentence
        elif sentence.strip():
            found.append(sentence)
    return found


def _says(text: str) -> bool:
    return any(c.isalpha() for c in text)


def _stems(text: str) -> frozenset[str]:
    return frozenset(
        w[:5] for w in (t.lower() for t in _WORD.findall(text)) if w not in FUNCTION_WORDS
    )
