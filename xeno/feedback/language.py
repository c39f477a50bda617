"""Which language a text is in, where that can be told. py3langid, its model in the package."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_LETTERS = 40  # a shorter text may be in any of several languages
_DENSE_LETTERS = 10  # scripts whose characters are words or syllables
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SURE = 0.95
_READ = 240  # characters
_NO_LANGUAGE = "zxx"
# Written so much alike that telling them apart would be a guess.
_VARIANTS = {
    "wuu": "zh", "yue": "zh", "nb": "no", "nn": "no", "pcm": "en", "bs": "hr", "sr": "hr",
    "ms": "id", "af": "nl", "gl": "pt", "sk": "cs", "nds": "de", "gsw": "de", "bar": "de",
}  # fmt: skip
_VARIED = frozenset(_VARIANTS.values())
_TRANSLATES = re.compile(
    r"translat|übersetz|tradu[cirz]|перевед|翻译|翻訳|번역|\bauf (?:deutsch|englisch|französisch)\b"
    r"|\b(?:english|german|french|spanish|italian|portuguese|dutch|russian|chinese|japanese|korean"
    r"|arabic|latin|turkish|polish|swedish|hindi|deutsch|français|español|italiano)\b",
    re.IGNORECASE,
)
# fmt: off
_LITTLE_WORDS = frozenset((
    "the", "and", "of", "to", "that", "you", "with", "this", "are", "for", "your", "be", "it",
    "can", "have", "which", "from", "they", "what", "how",
))
# fmt: on

NAMES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "fi": "Finnish", "fr": "French", "he": "Hebrew",
    "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "nb": "Norwegian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of the language of `text`, or None where it cannot be told for sure."""
    words = text[: 4 * _READ]
    if "`" in words or "://" in words:
        words = _CODE.sub(" ", words)
    words = " ".join(words.split())[:_READ]
    letters = sum(map(str.isalpha, words))
    if letters < _LETTERS and len(_DENSE.findall(words)) < _DENSE_LETTERS:
        return None
    if _plainly_english(words):
        return "en"
    code, share = _identifier().classify(words)
    code = _VARIANTS.get(code, code)
    if share < _SURE and code in _VARIED and share > 1 - _SURE:
        # Its variants together may be sure; those of another language never can.
        ranked = _identifier().rank(words)
        share = sum(of_it for each, of_it in ranked if _VARIANTS.get(each, each) == code)
    return code if share >= _SURE and code != _NO_LANGUAGE else None


def name_of(code: str) -> str:
    """The English name of a language, its code where XENO has none."""
    return NAMES.get(code, f"'{code}'")


def asks_for_another_language(question: str) -> bool:
    """Whether a reply in another language than the question's may be what was asked for."""
    return bool(_TRANSLATES.search(question))


def _plainly_english(words: str) -> bool:
    """Whether so many words are little English ones that no model need be asked: the usual case."""
    if not words.isascii():
        return False
    each = words.lower().split()
    little = sum(word in _LITTLE_WORDS for word in each)
    return little >= 4 and little >= 0.15 * len(each)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
