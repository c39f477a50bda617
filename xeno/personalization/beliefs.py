"""Beliefs: what is thought likely about a taste, and how evidence and time change it. Pure.

A belief is a categorical distribution over the values of one preference. It is the forward
filter of a hidden Markov model (Rabiner 1989, eq. 19 to 20, normalised): between two pieces of
evidence the taste may have changed, so the belief first moves a little back to the prior, then
it is multiplied by how likely the evidence is under each value (Bayes):

    b <- (1 - h) b + h prior,      b <- b L / sum(b L)

h grows with every piece of evidence and with the days that passed. It is what lets a belief
follow a change, and it keeps the confidence below certainty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xeno.personalization.preferences import ALLOWED, EXPERTISE_LEVELS, EXPERTISE_PREFIX

CHANGE_PER_EVIDENCE = 0.04  # probability that a taste changed between two pieces of evidence
HALF_LIFE_DAYS = 365.0  # how long a belief keeps half of itself while nothing comes in
ENOUGH_CONFIDENCE = 0.75  # from here on a learned value takes effect
ENOUGH_FOR_EXPERTISE = 0.5  # levels are ordered: the one beside the right one does little harm
_DAY = 86_400.0

Distribution = tuple[float, ...]


@dataclass(frozen=True)
class Observation:
    """What one piece of evidence says: log-likelihoods in the order of the values, and when."""

    log_likelihoods: tuple[float, ...]
    created: float


@dataclass(frozen=True)
class Step:
    """What one piece of evidence did to a belief."""

    before: Distribution
    after: Distribution

    @property
    def moved(self) -> float:
        """How far: total variation distance, 0 to 1."""
        return sum(abs(a - b) for a, b in zip(self.after, self.before, strict=True)) / 2

    @property
    def favoured(self) -> int:
        """The index of the value that gained most."""
        gains = [a - b for a, b in zip(self.after, self.before, strict=True)]
        return gains.index(max(gains))


def values_of(dimension: str) -> tuple[str, ...]:
    """The values of a preference, expertise in a topic included. KeyError for other names."""
    if dimension.startswith(EXPERTISE_PREFIX):
        return EXPERTISE_LEVELS
    return ALLOWED[dimension]


def uniform(count: int) -> Distribution:
    """The prior: nothing is known, so nothing is claimed."""
    return (1.0 / count,) * count


def faded(belief: Distribution, days: float, steps: int = 1) -> Distribution:
    """The belief after `steps` chances to change and `days` without evidence."""
    kept = (1.0 - CHANGE_PER_EVIDENCE) ** steps * 0.5 ** (max(0.0, days) / HALF_LIFE_DAYS)
    rest = (1.0 - kept) / len(belief)
    return tuple(kept * b + rest for b in belief)


def updated(belief: Distribution, log_likelihoods: Sequence[float]) -> Distribution:
    """Bayes' rule. Safe for any finite log-likelihoods."""
    highest = max(log_likelihoods)
    weights = [b * math.exp(x - highest) for b, x in zip(belief, log_likelihoods, strict=True)]
    total = sum(weights)
    if total <= 0.0:  # the only value allowed had no weight left: nothing can be said
        return uniform(len(belief))
    return tuple(w / total for w in weights)


def followed(count: int, observations: Iterable[Observation]) -> tuple[list[Step], float]:
    """Every step from the prior through the `observations` (oldest first), and the last time."""
    belief, steps, last = uniform(count), [], None
    for seen in observations:
        days = 0.0 if last is None else (seen.created - last) / _DAY
        after = updated(faded(belief, days), seen.log_likelihoods)
        steps.append(Step(belief, after))
        belief, last = after, seen.created
    return steps, last or 0.0


def believed(count: int, observations: Iterable[Observation], now: float) -> Distribution:
    """The belief at `now` (Unix seconds) from the `observations`, oldest first."""
    steps, last = followed(count, observations)
    if not steps:
        return uniform(count)
    return faded(steps[-1].after, (now - last) / _DAY, steps=0)
