"""How many tokens the pairs have for a base, found without loading the training libraries.

The texts go through the same code as in training, with the base's own tokenizer. Of many pairs
a sample is encoded, whose members are drawn by their content, so that the same pairs give the
same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xeno.errors import BaseModelError
from xeno.models.chat import encode_exchange
from xeno.models.light_tokenizer import light_tokenizer

if TYPE_CHECKING:
    from xeno.models.base import BaseModel
    from xeno.store.pairs import Pair

_CHARACTERS = 400_000
"""About as much text as is encoded for an answer: some 0.3 s."""


@dataclass(frozen=True)
class Length:
    """Tokens of a pair's parts, before anything is shortened."""

    prompt: int
    chosen: int
    rejected: int

    @property
    def longest(self) -> int:
        """Tokens of the prompt with the longer reply."""
        return self.prompt + max(self.chosen, self.rejected)

    @property
    def row(self) -> int:
        """Tokens of the pair in one row."""
        return self.prompt + self.chosen + self.rejected


def lengths(base: BaseModel, pairs: Sequence[Pair], characters: int = _CHARACTERS) -> list[Length]:
    """The lengths of `pairs`, or of a sample of them with about so many `characters`.

    Empty where the base's tokenizer or its chat template cannot be used here.
    """
    from jinja2 import TemplateError

    tokenizer: Any
    try:
        tokenizer = light_tokenizer(base)
        return [_length(tokenizer, pair) for pair in _sample(pairs, characters)]
    except (BaseModelError, TemplateError, TypeError, ValueError, KeyError):
        return []


def _length(tokenizer: Any, pair: Pair) -> Length:
    prompt, chosen = encode_exchange(tokenizer, pair.prompt, pair.chosen)
    _, rejected = encode_exchange(tokenizer, pair.prompt, pair.rejected)
    return Length(len(prompt), len(chosen), len(rejected))


def _sample(pairs: Sequence[Pair], characters: int) -> list[Pair]:
    sizes = [_characters(pair) for pair in pairs]
    if sum(sizes) <= characters:
        return list(pairs)
    chosen: list[Pair] = []
    left = characters
    for pair, size in sorted(zip(pairs, sizes, strict=True), key=lambda each: each[0].fingerprint):
        if chosen and size > left:
            break
        chosen.append(pair)
        left -= size
    return chosen


def _characters(pair: Pair) -> int:
    return sum(len(turn.content) for turn in pair.prompt) + len(pair.chosen) + len(pair.rejected)
