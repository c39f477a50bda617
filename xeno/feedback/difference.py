"""What one text has that another has not, word by word, for showing it inline. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
# Comparing costs the product of both lengths; what is longer is compared line by line first.
_MOST_TOKENS = 1500


@dataclass(frozen=True)
class Piece:
    """A run of text: in both, only in the earlier text ("removed"), or only in the later one."""

    kind: Literal["same", "removed", "added"]
    text: str


def word_difference(before: str, after: str) -> tuple[Piece, ...]:
    """How `before` becomes `after`.

    The texts of all pieces that are "same" or "removed" make up `before`, of all that are "same"
    or "added" `after`. Neighbouring pieces are of different kinds.
    """
    pieces: list[Piece] = []
    _compare(_TOKEN.findall(before), _TOKEN.findall(after), pieces)
    return tuple(pieces)


def _compare(before: list[str], after: list[str], pieces: list[Piece]) -> None:
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    _add(pieces, "same", before[:start])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if max(len(old), len(new)) > _MOST_TOKENS:
        _compare_lines(old, new, pieces)
    else:
        _compare_words(old, new, pieces)
    _add(pieces, "same", before[len(before) - end :])


def _compare_words(old: list[str], new: list[str], pieces: list[Piece]) -> None:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, low, high, new_low, new_high in matcher.get_opcodes():
        if tag == "equal":
            _add(pieces, "same", old[low:high])
        else:
            _add(pieces, "removed", old[low:high])
            _add(pieces, "added", new[new_low:new_high])


def _compare_lines(old: list[str], new: list[str], pieces: list[Piece]) -> None:
    """Lines that are the same as they are; changed ones word by word where they are short."""
    lines, new_lines = _lines(old), _lines(new)
    matcher = SequenceMatcher(None, lines, new_lines)
    for tag, low, high, new_low, new_high in matcher.get_opcodes():
        changed = [token for line in lines[low:high] for token in line]
        into = [token for line in new_lines[new_low:new_high] for token in line]
        if tag == "replace" and max(len(changed), len(into)) <= _MOST_TOKENS:
            _compare(changed, into, pieces)
        elif tag == "equal":
            _add(pieces, "same", changed)
        else:
            _add(pieces, "removed", changed)
            _add(pieces, "added", into)


def _lines(tokens: list[str]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    line: list[str] = []
    for token in tokens:
        line.append(token)
        if "\n" in token:
            lines.append(tuple(line))
            line = []
    return [*lines, tuple(line)] if line else lines


def _add(pieces: list[Piece], kind: Literal["same", "removed", "added"], tokens: list[str]) -> None:
    text = "".join(tokens)
    if not text:
        return
    if pieces and pieces[-1].kind == kind:
        pieces[-1] = Piece(kind, pieces[-1].text + text)
    else:
        pieces.append(Piece(kind, text))
