"""Intervals for what the gate measures. Deterministic: the same numbers give the same interval,
so that a version does not pass once and fail the next time. Pure functions of numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

_DRAWS = 4000
_SEED = 20


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def paired_bootstrap(differences: Sequence[float], groups: Sequence[str]) -> Interval:
    """The mean of paired differences, and the percentile interval of it when whole groups are
    drawn with replacement (Efron and Tibshirani 1993, chapters 8 and 13).

    Args:
        differences: one per pair.
        groups: what each pair belongs to; pairs of a group are not independent.
    """
    names = sorted(set(groups))
    place = {name: number for number, name in enumerate(names)}
    sums, sizes = np.zeros(len(names)), np.zeros(len(names))
    for difference, group in zip(differences, groups, strict=True):
        sums[place[group]] += difference
        sizes[place[group]] += 1
    drawn = np.random.default_rng(_SEED).integers(len(names), size=(_DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(np.mean(differences)), float(low), float(high))


def median_interval(values: Sequence[float]) -> Interval | None:
    """The median of `values` between two of them, chosen so that they hold the true median with
    at least 95 % whatever the distribution (the sign test's interval); None where there are too
    few values for that."""
    ordered, number = sorted(values), len(values)
    outside = 0.0  # probability that the true median lies below the value at `rank`
    rank = -1
    for candidate in range(number // 2):
        outside += comb(number, candidate) / 2.0**number
        if outside > 0.025:
            break
        rank = candidate
    if rank < 0:
        return None
    return Interval(float(np.median(ordered)), ordered[rank], ordered[-1 - rank])
