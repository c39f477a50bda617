"""From logits to a token, and from tokens to text that can be shown as it grows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from xeno.errors import DamagedDataError
from xeno.events import Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LONGEST_PENDING = 16


class Sampler:
    """Draws tokens as `sampling` says. Greedy, or with a seed, always the same ones."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def pick(self, logits: torch.Tensor) -> int:
        """The next token, from logits [vocabulary].

        Raises:
            DamagedDataError: if the model gives no usable numbers.
        """
        best = int(logits.argmax())  # of NaN, where there is one
        if not math.isfinite(float(logits[best])):
            raise DamagedDataError(
                "The model gives no usable numbers.",
                "Its weights, or those of the version in use, are damaged.",
                "Roll back to another version, or load the base model again.",
            )
        if self._sampling.temperature == 0:
            return best
        odds = torch.softmax(logits.float() / self._sampling.temperature, dim=-1)
        if self._sampling.top_p < 1:
            odds = _nucleus(odds, self._sampling.top_p)
        return int(torch.multinomial(odds, 1, generator=self._generator))


def _nucleus(odds: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest set of tokens whose probability reaches `top_p` (Holtzman et al. 2020,
    1904.09751, section 3.1); the others get 0. Never empty."""
    ordered, positions = odds.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(odds).scatter(-1, positions, ordered.masked_fill(before >= top_p, 0))


class TextStream:
    """Turns growing token ids into text, never half a character.

    Only a short window is decoded for each token, so long replies stay linear.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._context = 0  # the window begins here,
        self._shown = 0  # and what is before this has been given out

    def push(self, token: int) -> str:
        """The text that became certain with `token`; empty while a character is incomplete."""
        self._ids.append(token)
        shown, text = self._window()
        pending = len(self._ids) - self._shown
        if text.endswith("\ufffd") and pending < _LONGEST_PENDING:
            return ""
        self._context, self._shown = self._shown, len(self._ids)
        return text[len(shown) :]

    def flush(self) -> str:
        """What is left at the end, an incomplete character included."""
        shown, text = self._window()
        self._shown = len(self._ids)
        return text[len(shown) :]

    def _window(self) -> tuple[str, str]:
        ids = self._ids[self._context :]
        return self._decode(ids[: self._shown - self._context]), self._decode(ids)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))
