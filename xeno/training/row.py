"""A unit of training as token ids. Light: the forecast counts with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Cut:
    """Tokens that a row lost because it was too long: how many, of what, from which side."""

    part: Literal["prompt", "chosen", "rejected"]
    side: Literal["left", "right"]
    tokens: int


@dataclass(frozen=True)
class Row:
    """A unit as token ids: a pair, or one reply (`rejected` is empty).

    `desirable` says of one rated reply whether it was good. `cuts` is what it lost to fit.
    `unit` names the rows that differential privacy hides together; empty: this one alone.
    """

    pair_id: str
    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    weight: float = 1.0
    cuts: tuple[Cut, ...] = ()
    desirable: bool = True
    unit: str = ""

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.chosen) + len(self.rejected)
