"""Whether a metric rises or falls: the Mann-Kendall test, and which way is better.

The test counts, of all pairs of points, how many rise and how many fall (Mann 1945; Kendall 1975,
"Rank correlation methods", section 4.9 for the normal approximation with ties). It knows no scale
and is not moved by single outliers, which times to the first token are full of. Against a
straight drift in normal noise it needs 1.6 % more points than the regression slope would.

It takes points to be independent. Measurements that hang together (memory within one session)
look like trends more often than `ALPHA` says; docs/experiments.md says how much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["improving", "degrading", "stable"]

ALPHA = 0.035  # the share of series without a trend that are said to have one
WINDOW = 100  # of the newest points are looked at
FEWEST = 10  # points; the normal approximation needs as many

_LOWER = ("latency", "seconds", "memory", "bytes", "error", "fallback", "loss", "perplexity")


@dataclass(frozen=True)
class Trend:
    """The test's result. `tau` is Kendall's, -1 to 1: all pairs fall, all rise; `p_value` is
    two-sided. `before` and `after` are the medians of the older and the newer half."""

    points: int
    tau: float
    p_value: float
    before: float
    after: float


def mann_kendall(values: Sequence[float]) -> Trend | None:
    """The trend of `values`, the oldest first; None where there are fewer than `FEWEST`."""
    count = len(values)
    if count < FEWEST:
        return None
    score = 0
    for place, earlier in enumerate(values):
        for later in values[place + 1 :]:
            score += 1 if later > earlier else -1 if later < earlier else 0
    ties = Counter(values).values()
    variance = count * (count - 1) * (2 * count + 5)
    variance -= sum(tied * (tied - 1) * (2 * tied + 5) for tied in ties)
    p_value = 1.0
    if variance > 0 and score != 0:  # all the same: no trend
        continuous = abs(score) - 1  # the continuity correction
        p_value = math.erfc(continuous / math.sqrt(variance / 18) / math.sqrt(2))
    half = count // 2
    return Trend(
        points=count,
        tau=2 * score / (count * (count - 1)),
        p_value=p_value,
        before=_median(values[:half]),
        after=_median(values[half:]),
    )


def lower_is_better(metric: str) -> bool:
    """Whether low values of `metric` are good: times, memory, errors, losses. Of other names
    high ones are, except where "per_second" makes a speed of a time."""
    name = metric.casefold()
    return not name.endswith("per_second") and any(word in name for word in _LOWER)


def direction(metric: str, values: Sequence[float], alpha: float = ALPHA) -> Direction:
    """Which way the newest `WINDOW` of `values` go; "stable" where no trend can be told."""
    found = mann_kendall(values[-WINDOW:])
    if found is None or found.p_value > alpha:
        return "stable"
    return "improving" if (found.tau < 0) == lower_is_better(metric) else "degrading"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
