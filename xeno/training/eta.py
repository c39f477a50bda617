"""How long a run will still take, from how long its parts have taken so far.

Steps vary with the lengths of their pairs, so their mean is what adds up; but the first one
warms up, and now and then one waits for something else. The estimate is therefore the
winsorised mean of the recent steps: values far from the median are moved to where far begins
(Huber 1981, Robust Statistics, section 1.1).
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence

_FAR = 4.0  # median absolute deviations
_WINDOW_SHARE = 0.25
_LEAST_WINDOW, _LARGEST_WINDOW = 24, 400  # steps


class TimeLeft:
    """Learns from `step` and `interlude` how long the rest will take.

    Args:
        steps: of the whole run.
    """

    def __init__(self, steps: int) -> None:
        window = min(_LARGEST_WINDOW, max(_LEAST_WINDOW, round(_WINDOW_SHARE * steps)))
        self._first: float | None = None
        self._steps: deque[float] = deque(maxlen=window)
        self._interludes: dict[str, list[float]] = {}

    def step(self, seconds: float) -> None:
        """A step took `seconds`, without what came between it and the one before."""
        if self._first is None:
            self._first = seconds
        else:
            self._steps.append(seconds)

    def interlude(self, kind: str, seconds: float) -> None:
        """Something of `kind` that comes again, such as an evaluation, took `seconds`."""
        self._interludes.setdefault(kind, []).append(seconds)

    def seconds(self, steps: int, interludes: dict[str, int]) -> float:
        """The time for `steps` more steps and as many more interludes of each kind. A kind that
        has not been seen counts nothing; before the first step all is unknown, and 0."""
        if self._first is None:
            return 0.0
        one = winsorised_mean(self._steps) if self._steps else self._first
        between = sum(
            many * statistics.median(self._interludes[kind])
            for kind, many in interludes.items()
            if kind in self._interludes
        )
        return steps * one + between


def winsorised_mean(values: Sequence[float] | deque[float]) -> float:
    """The mean of `values` (at least one) after those farther than four median absolute
    deviations from the median were moved there."""
    middle = statistics.median(values)
    far = _FAR * statistics.median(abs(value - middle) for value in values)
    return statistics.fmean(min(max(value, middle - far), middle + far) for value in values)
