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
    MODALS_OF_COURTESY,
    PRONOUNS_OF_ADDRESS,
    Lexicon,
)

LONGEST_READ = 8_000  # characters; a manner shows long before
SCORED = ("contractions", "learned", "colloquial", "courtesy", "warmth", "play", "business")
CUES = (*SCORED, "figures", "together", "aside")

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
_SENTENCE = re.compile(r"[^.!?\u2026\n]+[.!?\u2026]*")
_FIGURE = re.compile(
    r"[<>=\u2264\u2265\u00b1\u2248\u00b0%\u2192@]|->|`[^`]+`|\b\w+_\w+\b|\b[a-z]+[A-Z]\w*|\b[A-Z]{2,6}\d*\b"
    r"|\b\d+(?:[.,:]\d+)*\s?(?:[a-zA-Z]{1,3}\b)?"
)
_LAUGH = re.compile(r"\b(?:(?:ha|he|hi){2,}h?|lo+l|lmao|rofl)\b|[;:]-?[PpD]\b|;-?\)", re.IGNORECASE)
_LAUGHING = frozenset(
    "\U0001f602\U0001f923\U0001f604\U0001f606\U0001f605\U0001f61c\U0001f61d\U0001f92a"
    "\U0001f609\U0001f643\U0001f921\U0001f600\U0001f601\U0001f639\U0001f648"
)
_SMILE = re.compile(r"[:=]-?\)|<3")
_STRETCHED = re.compile(r"\b\w*([a-z])\1{2,}\w*\b|\?{2,}|!{2,}|\.\.\.|\u2026", re.IGNORECASE)
_SIMILE = re.compile(r"\b(?:like an?|as if|as though)\b", re.IGNORECASE)
_FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "so",
        "if",
        "then",
        "than",
        "that",
        "this",
        "these",
        "those",
        "it",
        "its",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "am",
        "do",
        "does",
        "did",
        "have",
        "has",
        "had",
        "will",
        "would",
        "can",
        "could",
        "should",
        "may",
        "might",
        "must",
        "to",
        "of",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "without",
        "as",
        "into",
        "out",
        "up",
        "off",
        "over",
        "about",
        "your",
        "you",
        "i",
        "me",
        "my",
        "we",
        "us",
        "our",
        "they",
        "them",
        "their",
        "he",
        "she",
        "his",
        "her",
        "not",
        "no",
        "yes",
        "what",
        "which",
        "who",
        "when",
        "where",
        "why",
        "how",
        "all",
        "each",
        "every",
        "some",
        "any",
        "more",
        "most",
        "less",
        "few",
        "one",
        "two",
        "three",
        "too",
        "very",
        "just",
        "only",
        "also",
        "there",
        "here",
        "before",
        "after",
        "while",
        "until",
    ]
)


@dataclass(frozen=True)
class Reading:
    """What was counted in a text.

    `levels` maps every name of CUES to 0, 1 or 2; `layout` is 'bullets', 'numbers' or 'prose';
    `words` is the length.
    """

    words: int
    layout: str
    levels: dict[str, int]


def read(text: str, around: str = "", lexicon: Lexicon = ENGLISH) -> Reading:
    """Count. `around` is what the text is about (the question, the reply it corrects): its words
    are never taken for a manner of writing, and a remark that has none of them is an aside."""
    text = text[:LONGEST_READ]
    tokens = [t.replace("\u2019", "'") for t in _WORD.findall(text)]
    lower = [t.lower() for t in tokens]
    topic = _stems(around[:LONGEST_READ])
    count = max(1, len(lower))
    own = [w for w in lower if w[:5] not in topic]
    sentences = [s.strip() for s in _SENTENCE.findall(text) if s.strip()]
    small = sum(s[0].islower() for s in sentences if s[0].isalpha())
    emoji = [c for c in text if c > "\u2190" and _pictured(c)]
    laughing = sum(c in _LAUGHING for c in emoji)
    hits = {
        "contractions": sum(bool(_CONTRACTION.search(w)) for w in lower),
        "learned": sum(len(w) > 6 and bool(_LATINATE.search(w)) for w in own)
        + sum(w in lexicon.connectives for w in lower),
        "colloquial": sum(w in lexicon.colloquial for w in lower)
        + len(_STRETCHED.findall(text))
        + (small if small * 3 >= len(sentences) else 0),
        "courtesy": sum(w in lexicon.courtesy for w in own)
        + sum(w in MODALS_OF_COURTESY for w in lower) // 2,
        "warmth": sum(w in lexicon.warmth for w in own)
        + text.count("!")
        + 2 * (len(emoji) - laughing)
        + len(_SMILE.findall(text)),
        "play": sum(w in lexicon.play for w in own)
        + 2 * len(_LAUGH.findall(text))
        + 2 * laughing
        + len(_SIMILE.findall(text)),
        "business": sum(w in lexicon.business for w in own),
    }
    levels = {name: _level(hits[name], count) for name in SCORED}
    figures = len(_FIGURE.findall(_unnumbered(text))) + sum(w in lexicon.jargon for w in lower)
    levels["figures"] = _level(figures, count)
    levels["together"] = _level(sum(w in PRONOUNS_OF_ADDRESS for w in lower), count)
    levels["aside"] = _asides(text, topic)
    return Reading(len(lower), _layout(text), levels)


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


def _asides(text: str, topic: frozenset[str]) -> int:
    """How many of the first and last remarks (0 to 2) have nothing to do with the rest."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 2 and any(_LIST_LINE.match(line) for line in lines):
        remarks = [line if not _LIST_LINE.match(line) else "" for line in (lines[0], lines[-1])]
        rest = " ".join(lines[1:-1])
    else:
        sentences = _SENTENCE.findall(text)
        if len(sentences) < 3:
            return 0
        remarks, rest = [sentences[0], sentences[-1]], " ".join(sentences[1:-1])
    known = topic | _stems(rest)
    return sum(bool(stems) and not stems & known for stems in map(_stems, remarks))


def _stems(text: str) -> frozenset[str]:
    return frozenset(
        w[:5] for w in (t.lower() for t in _WORD.findall(text)) if w not in _FUNCTION_WORDS
    )


def _pictured(character: str) -> bool:
    """Whether it is an emoji: pictographs, emoticons, dingbats with a face or a heart."""
    return (
        "\U0001f300" <= character <= "\U0001faff" or character in "\u2764\u2665\u263a\u2b50\u2728"
    )
