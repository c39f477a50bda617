"""What the lengths of the chosen replies would teach a model. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from xeno.words import count

_Z = 1.959964  # 95 %
_FEW = 20


@dataclass(frozen=True)
class LengthBias:
    """How chosen and rejected replies differ in length (characters).

    `longer_chosen` is the share of pairs whose chosen reply is the longer one, equal lengths one
    half, with its 95 % interval `low` … `high` (Wilson 1927): what the rule "take the longer"
    gets right. `median_ratio` is the median of chosen length by rejected length.
    """

    pairs: int
    longer_chosen: float
    low: float
    high: float
    median_ratio: float
    median_chosen: float
    median_rejected: float

    @property
    def teaches(self) -> str:
        """In plain words, what a model trained on these pairs learns about length."""
        rule = f"The chosen reply is the longer one in {self.longer_chosen:.0%} of the pairs"
        interval = f"(95 % interval {self.low:.0%} to {self.high:.0%})"
        if self.pairs < _FEW:
            few = count(self.pairs, "pair is", "pairs are")
            return f"{rule}; {few} too few to say what that teaches."
        if self.low > 0.5:
            word, rate, more = "longer", self.longer_chosen, self.median_ratio
        elif self.high < 0.5:
            word, rate, more = "shorter", 1 - self.longer_chosen, 1 / max(self.median_ratio, 1e-9)
        else:
            return f"{rule} {interval}: nothing about length is taught."
        times = f", {more:.1f} times in the median" if more >= 1.05 else ""
        return (
            f"{rule} {interval}{times}. A model trained on them learns to answer {word}, whatever "
            f"is asked; 'take the {word}' alone gets {rate:.0%} of them right, so an accuracy "
            "near that shows no more than this."
        )


def length_bias(lengths: Sequence[tuple[int, int]]) -> LengthBias | None:
    """From the lengths of (chosen, rejected) of every pair; None without pairs."""
    if not lengths:
        return None
    count = len(lengths)
    share = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in lengths) / count
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) * _Z
    half /= 1 + _Z**2 / count
    return LengthBias(
        pairs=count,
        longer_chosen=share,
        low=max(0.0, middle - half),
        high=min(1.0, middle + half),
        median_ratio=median(a / max(1, b) for a, b in lengths),
        median_chosen=median(a for a, _ in lengths),
        median_rejected=median(b for _, b in lengths),
    )
