"""Tests that may be looked at after every result and stay true to their false-alarm rate.

A gambler starts with capital 1 and bets, before each score, that it will be positive. Scores lie
in [-1, 1]; where they are zero on average nobody can be expected to win, so that the capital ever
reaches 1/alpha with probability alpha at most (Ville's inequality). The capital is therefore
evidence that can be read at any time, and stopping when it is high is allowed: an e-process
(Ramdas, Grünwald, Vovk and Shafer 2023, "Game-theoretic statistics and safe anytime-valid
inference"; betting on bounded scores: Waudby-Smith and Ramdas 2024, "Estimating means of bounded
random variables by betting", section 4).

Two ways to make scores of two streams of results:

`compare` takes numbers of any scale. A result is paired with the latest unpaired one of the other
side. Where both sides have the same distribution, the difference of a pair is as likely positive
as negative, given its size and all earlier pairs: so is any odd function of it that is scaled by
earlier differences. This is the test of A/B tests; it names a winner, either way.

`Worse` takes numbers between 0 and 1 and compares a result of one side with the mean of what the
other side had since, which wastes little where one side has nine results in ten. It holds where
both sides have the same mean, and looks one way only. This is the test of canaries.

Both ask that results are independent of each other, given the side: one result per conversation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from xeno.errors import InvalidValueError

ALPHA = 0.05  # the false-alarm rate: of tests without a difference, however often looked at

# Fractions of the capital that are bet, with the shares of the capital that follow them. Most of
# it is planned for differences of about half a standard deviation, the rest for smaller ones.
_BETS = ((0.85, 0.9), (0.25, 0.1))
_MOST = 1e300  # capital that counts: more could not be written as a number
_SPREADS = 3.0  # differences beyond so many root mean squares count as that


class Gambler:
    """Bets that scores are positive.

    Attributes:
        capital: what it has now; it began with 1.
        highest: the most it ever had.
    """

    def __init__(self) -> None:
        self._parts = [share for _, share in _BETS]
        self.capital = 1.0
        self.highest = 1.0

    def bet(self, score: float) -> None:
        """Take the next score, -1 to 1."""
        self._parts = [
            min(part * (1 + fraction * score), _MOST)
            for part, (fraction, _) in zip(self._parts, _BETS, strict=True)
        ]
        self.capital = sum(self._parts)
        self.highest = max(self.highest, self.capital)


@dataclass(frozen=True)
class Comparison:
    """What the results of a and b say.

    Attributes:
        pairs: how many pairs of results there were.
        evidence: the highest capital so far, of whichever side has more: 1 is none.
        needed: the capital at which a winner is named.
        winner: "a" or "b" has the higher values; None while there is not enough evidence.
    """

    pairs: int
    evidence: float
    needed: float
    winner: str | None


def compare(results: Iterable[tuple[str, float]], alpha: float = ALPHA) -> Comparison:
    """Which side has the higher values.

    Args:
        results: ("a" or "b", a finite number), in the order they came.
        alpha: the probability, between 0 and 1, that a winner is ever named where both sides
            have the same distribution.

    Raises:
        InvalidValueError: for an alpha that is none.
    """
    _require_probability(alpha)
    needed = 2 / alpha  # half of the stake is on either side
    sides = {"a": Gambler(), "b": Gambler()}
    waiting: list[float] = []
    waits = ""
    pairs, squares, winner = 0, 0.0, None
    for side, value in results:
        if not waiting or side == waits:
            waiting.append(value)
            waits = side
            continue
        other = waiting.pop()
        difference = value - other if side == "b" else other - value
        pairs += 1
        squares += difference**2
        spread = math.sqrt(squares / pairs)
        score = max(-1.0, min(1.0, difference / (_SPREADS * spread))) if spread else 0.0
        for name, gambler in sides.items():
            gambler.bet(score if name == "b" else -score)
            if winner is None and gambler.capital >= needed:
                winner = name
    highest = max(gambler.highest for gambler in sides.values())
    return Comparison(pairs, highest, needed, winner)


class Worse:
    """Whether one side is worse than the other; takes one result at a time.

    Args:
        alpha: the probability that `found` ever becomes true where both sides have the same mean.

    Attributes:
        needed: the capital at which the tried side is called worse.
    """

    def __init__(self, alpha: float = ALPHA) -> None:
        _require_probability(alpha)
        self.needed = 1 / alpha
        self._gambler = Gambler()
        self._waiting: list[float] = []
        self._waits = False

    @property
    def evidence(self) -> float:
        """The highest capital so far: 1 is none, `needed` is enough."""
        return self._gambler.highest

    @property
    def found(self) -> bool:
        """Whether the tried side has lower values than the other."""
        return self.evidence >= self.needed

    def add(self, tried: bool, value: float) -> None:
        """A result between 0 and 1 of the tried side, or of the other."""
        if not self._waiting or tried == self._waits:
            self._waiting.append(value)
            self._waits = tried
            return
        others = sum(self._waiting) / len(self._waiting)
        self._waiting.clear()
        self._gambler.bet(others - value if tried else value - others)


def _require_probability(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise InvalidValueError(
            f"{alpha!r} is not a false-alarm rate.",
            "It is a probability between 0 and 1.",
            "Use 0.05 to be wrong in one test of twenty without a difference.",
        )
