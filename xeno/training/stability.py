"""What becomes of a step whose loss or gradient is no finite number, or whose loss explodes.

It is left out: the adapter stays as it was. If that happens again and again the learning rate is
lowered, and in the end the run stops with the reason. For runs without differential privacy only:
a private run must not decide by its pairs which steps it takes. There the mechanism lets a unit
whose gradient is not finite contribute nothing and adds the same noise, and the only thing
checked is what the noise has made safe to look at, the adapter itself.
"""

from __future__ import annotations

import math
import statistics
from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.safety import SafetySettings

Measure = Literal["go_on", "lower_rate", "stop"]

_FIRST_STEPS = 5
_LEAST_LEVEL = 0.1
"""A median below this counts as this: ten times almost nothing is no explosion."""


class StabilityState(BaseModel):
    """What is known of a run's steps so far; kept in its checkpoints.

    Attributes:
        rate_factor: what the learning rates are multiplied with.
        skipped: steps that were left out; `in_a_row` those since the last one that was taken.
        losses: of the last steps that were taken.
    """

    rate_factor: float = 1.0
    skipped: int = 0
    in_a_row: int = 0
    losses: list[float] = []


class Stability:
    """Judges the steps of one run by `plan`."""

    def __init__(self, plan: SafetySettings, state: StabilityState | None = None) -> None:
        self._plan = plan
        self.state = state or StabilityState()

    def trouble(self, loss: float) -> str:
        """Why a step with the mean loss `loss` must be left out; empty where it is well."""
        if not math.isfinite(loss):
            return "its loss was not a finite number"
        losses = self.state.losses
        if len(losses) >= _FIRST_STEPS:
            level = max(statistics.median(losses), _LEAST_LEVEL)
            if loss > self._plan.spike_factor * level:
                return (
                    f"its loss was {loss:.3g}, where the median of the steps before is {level:.3g}"
                )
        return ""

    def taken(self, loss: float) -> None:
        """A step was taken."""
        state = self.state
        losses = [*state.losses, loss][-self._plan.spike_window :]
        self.state = state.model_copy(update={"in_a_row": 0, "losses": losses})

    def left_out(self) -> Measure:
        """A step was left out; what is to be done about it."""
        state, plan = self.state, self._plan
        skipped, in_a_row, factor = state.skipped + 1, state.in_a_row + 1, state.rate_factor
        measure: Measure = "go_on"
        if plan.on_unstable == "stop" or skipped > plan.most_skipped_steps:
            measure = "stop"
        elif plan.on_unstable == "lower_rate" and in_a_row % plan.unstable_patience == 0:
            measure, factor = "lower_rate", factor * plan.unstable_rate_factor
        self.state = state.model_copy(
            update={"skipped": skipped, "in_a_row": in_a_row, "rate_factor": factor}
        )
        return measure
