"""What one training run proves about its privacy from below: canaries, guesses, a bound. Light.

Each of m canaries is put into the data by a fair coin. Afterwards somebody who sees the version
guesses which were in. A private run keeps guesses near chance, so many right ones prove that
epsilon is at least so much (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846, theorem 5.2 and
appendix D). The bound has a ceiling: however much a run leaks, m guesses cannot prove more than
m right ones do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Leak:
    """What the guesses showed.

    Attributes:
        canaries, guesses, right: how many there were; guesses on the rest were withheld.
        epsilon_proved: epsilon is at least this, with 95 % confidence.
        ceiling: what as many guesses would prove if all were right.
        auc: chance that a canary that was in scores above one that was not (ties one half).
        found_at_one_percent: share of the ones in that are found while 1 % of the others are
            taken for them.
    """

    canaries: int
    guesses: int
    right: int
    epsilon_proved: float
    ceiling: float
    auc: float
    found_at_one_percent: float


def leak(scores: Sequence[float], inside: Sequence[bool], delta: float) -> Leak:
    """Guess from `scores`, higher for canaries that look as if they had been in.

    The higher half is guessed to have been in, the lower half not to: fixed beforehand, so that
    nothing is chosen by looking at the coins.

    Raises:
        ValueError: if there are not two canaries at least, as many scores as coins.
    """
    count = len(scores)
    if count < 2 or len(inside) != count:
        raise ValueError("a leak check needs two canaries at least, each with a score and a coin")
    order = sorted(range(count), key=lambda i: scores[i])
    half = count // 2
    right = sum(not inside[i] for i in order[:half]) + sum(inside[i] for i in order[-half:])
    guesses = 2 * half
    members = [score for score, member in zip(scores, inside, strict=True) if member]
    others = [score for score, member in zip(scores, inside, strict=True) if not member]
    return Leak(
        canaries=count,
        guesses=guesses,
        right=right,
        epsilon_proved=epsilon_proved(count, guesses, right, delta),
        ceiling=epsilon_proved(count, guesses, guesses, delta),
        auc=_auc(members, others),
        found_at_one_percent=_found(members, others, 0.01),
    )


def epsilon_proved(
    canaries: int, guesses: int, right: int, delta: float, confidence: float = CONFIDENCE
) -> float:
    """The largest epsilon that `right` of `guesses` rule out, 0 where they rule out none."""
    allowed = 1 - confidence
    low, high = 0.0, 1.0
    if _chance(canaries, guesses, right, 0.0, delta) > allowed:
        return 0.0
    while _chance(canaries, guesses, right, high, delta) <= allowed:
        low, high = high, 2 * high
        if high > 64:
            return low
    for _ in range(40):
        middle = (low + high) / 2
        ruled_out = _chance(canaries, guesses, right, middle, delta) <= allowed
        low, high = (middle, high) if ruled_out else (low, middle)
    return low


def _chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The chance, at most, of so many right guesses if the run is (epsilon, delta) private.

    beta = P[Binomial(r, p) >= v] with p = e^epsilon / (1 + e^epsilon), and 2 m delta times the
    largest of P[v > Binomial(r, p) >= v - i] / i over i = 1..v.
    """
    odds = -math.log1p(math.exp(-epsilon)), -math.log1p(math.exp(epsilon))
    weights = [_binomial(guesses, k, *odds) for k in range(guesses + 1)]
    beta = math.fsum(weights[right:])
    alpha = below = 0.0
    for i in range(1, right + 1):
        below += weights[right - i]
        alpha = max(alpha, below / i)
    return min(1.0, beta + 2 * canaries * delta * alpha)


def _binomial(n: int, k: int, log_p: float, log_not_p: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * log_p + (n - k) * log_not_p)


def _auc(members: Sequence[float], others: Sequence[float]) -> float:
    if not members or not others:
        return 0.5
    won = sum((m > o) + 0.5 * (m == o) for m in members for o in others)
    return won / (len(members) * len(others))


def _found(members: Sequence[float], others: Sequence[float], mistaken: float) -> float:
    """The share of `members` above the score that at most `mistaken` of `others` exceed."""
    if not members or not others:
        return 0.0
    ordered = sorted(others, reverse=True)
    threshold = ordered[math.floor(mistaken * len(ordered))]
    return sum(score > threshold for score in members) / len(members)
