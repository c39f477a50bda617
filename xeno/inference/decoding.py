"""From logits to a token, and from tokens to text that can be shown as it grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from xeno.errors import DamagedDataError
from xeno.events import Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LONGEST_PENDING = 16
_FEW = 512  # tokens that a drawn reply chooses from at first


class Sampler:
    """Draws the tokens of one reply as `sampling` says. Greedy, or with a seed, always the same
    ones."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._said: set[int] = set()
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
        if not math.isfinite(float(logits.max())):  # NaN, where there is one
            raise DamagedDataError(
                "The model gives no usable numbers.",
                "Its weights, or those of the version in use, are damaged.",
                "Roll back to another version, or load the base model again.",
            )
        token = self._drawn(self._penalised(logits))
        self._said.add(token)
        return token

    def _penalised(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits of what the reply has said already, made less likely (Keskar et al. 2019,
        1909.05858, section 4.1). Tokens of the prompt count as new, its end of a turn above all.
        """
        penalty = self._sampling.repetition_penalty
        if penalty == 1 or not self._said:
            return logits
        said = torch.tensor(sorted(self._said))
        logits = logits.float()
        known = logits[said]
        return logits.index_copy(0, said, torch.where(known > 0, known / penalty, known * penalty))

    def _drawn(self, logits: torch.Tensor) -> int:
        sampling = self._sampling
        if sampling.temperature == 0:
            return int(logits.argmax())
        odds = torch.softmax(logits.float() / sampling.temperature, dim=-1)
        if sampling.top_k == 0 and sampling.top_p == 1:
            return int(torch.multinomial(odds, 1, generator=self._generator))
        odds, tokens = likeliest(odds, sampling.top_k, sampling.top_p)
        return int(tokens[torch.multinomial(odds, 1, generator=self._generator)])


def likeliest(odds: torch.Tensor, top_k: int, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest tokens [n], n at least 1, with their probabilities as they are in `odds`.

    The smallest set whose share of the first `top_k` (0: of all) reaches `top_p` (Holtzman et
    al. 2020, 1904.09751, section 3.1).
    """
    # A whole sort of a large vocabulary takes longer than a small model; few nearly always do.
    ordered, tokens = odds.topk(min(top_k or _FEW, odds.shape[0]))
    share = float(ordered.sum())
    if not top_k and share < top_p:
        ordered, tokens = odds.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    inside = before < top_p * (share if top_k else 1.0)
    inside[0] = True
    return ordered[inside], tokens[inside]


class StopStrings:
    """Ends a text where one of `stops` begins. What could be the beginning of one is held back.

    Attributes:
        found: whether the text has ended.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [each for each in stops if each]
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """What is certain to stand before any stop string, now that `text` has come."""
        if self.found:
            return ""
        text = self._held + text
        ends = [
            (place + len(each), place) for each in self._stops if (place := text.find(each)) >= 0
        ]
        if ends:  # the one that is whole first
            self.found, self._held = True, ""
            return text[: min(ends)[1]]
        held = max(
            (
                length
                for each in self._stops
                for length in range(1, min(len(each), len(text) + 1))
                if text.endswith(each[:length])
            ),
            default=0,
        )
        certain = len(text) - held
        self._held = text[certain:]
        return text[:certain]

    def flush(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held


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
