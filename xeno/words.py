"""Numbers in words, for what people read: in the terminal, in the window, in reasons."""

from __future__ import annotations


def count(number: int, one: str, many: str = "") -> str:
    """'1 pair', '7 pairs'; with `many` also 'count(n, "pair is", "pairs are")'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
