"""The learning rate of every step: it rises over the warm-up and then falls by its schedule.

With s steps of which w warm up, highest rate p and last share l, step t has the rate

    p (t + 1) / w                      for t < w
    p (l + (1 - l) fall(x))            for t >= w, where x = (t - w) / (s - w) in [0, 1)

and `fall` goes from 1 to 0. Light: the forecast and the form use it too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from xeno.training.plan import TrainingPlan

_WARM_UP = 0.1
_LAST_RATE = 0.1


@dataclass(frozen=True)
class Schedule:
    """The learning rates of a run of `steps` steps.

    Attributes:
        name: "cosine", "linear", "constant", "polynomial", "inverse_sqrt", "exponential" or
            "late_decay".
        peak: the highest rate.
        warm_up: steps over which the rate rises; the first of them already learns.
        last: the rate at the end, as a share of the highest.
        power: exponent of the polynomial.
        decay_share: part of the steps after the warm-up in which "late_decay" falls.
        restarts: how often the cosine begins again.
    """

    name: str
    peak: float
    steps: int
    warm_up: int
    last: float
    power: float = 2.0
    decay_share: float = 0.2
    restarts: int = 0

    def rate(self, taken: int) -> float:
        """The learning rate of the step after `taken` steps (0 <= taken < steps)."""
        if taken < self.warm_up:
            return self.peak * (taken + 1) / self.warm_up
        way = (taken - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.peak * (self.last + (1 - self.last) * self._fall(way, taken - self.warm_up))

    def _fall(self, way: float, since: int) -> float:
        """What of the rate above the last one is left after a share `way` of the steps, which
        are `since` steps after the warm-up."""
        match self.name:
            case "cosine":
                turn = way * (self.restarts + 1) % 1.0
                return (1 + math.cos(math.pi * turn)) / 2
            case "linear":
                return 1 - way
            case "polynomial":
                return float((1 - way) ** self.power)
            case "exponential":  # to a hundredth
                return float(0.01**way)
            case "inverse_sqrt":
                timescale = max(1, self.warm_up)
                return math.sqrt(timescale / (since + timescale))
            case "late_decay":
                return min(1.0, (1 - way) / self.decay_share)
            case _:
                return 1.0


def schedule(plan: TrainingPlan, peak: float, steps: int) -> Schedule:
    """The schedule of a run of `plan` with `steps` steps and the highest rate `peak`.

    What the plan leaves open: a warm-up and a cosine that ends at a tenth; in private runs
    straight down to nothing, since the first steps travel and the last ones average the noise
    out.
    """
    name = plan.learning_rate_schedule
    warm_up, last = (0.0, 0.0) if plan.private else (_WARM_UP, _LAST_RATE)
    share = warm_up if plan.warm_up_share is None else plan.warm_up_share
    rising = round(share * steps)
    if plan.warm_up_steps is not None:
        rising = min(plan.warm_up_steps, steps)
    elif share > 0:
        rising = max(1, rising)
    made = Schedule(
        name=("linear" if plan.private else "cosine") if name == "auto" else name,
        peak=peak,
        steps=steps,
        warm_up=rising,
        last=last if plan.last_rate_share is None else plan.last_rate_share,
        power=plan.decay_power,
        decay_share=plan.decay_share,
        restarts=plan.restarts,
    )
    return replace(made, last=1.0) if made.name == "constant" else made
