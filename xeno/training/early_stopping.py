"""The best step so far, by the held-out pairs, and when it is time to end.

Both look at the held-out pairs as they are. Under differential privacy that choice is not covered
by the noise, so both are off there unless they are asked for. The account of a private run counts
every step that was taken, also where an earlier one is released.
"""

from __future__ import annotations

import math

from pydantic import BaseModel

from xeno.events import Evaluated
from xeno.training.settings.safety import SafetySettings


class BestState(BaseModel):
    """The best evaluation so far, and how many came after it without a gain."""

    best: Evaluated | None = None
    waited: int = 0


class EarlyStopping:
    """Watches the evaluations of one run of `plan`, which is `private` or not."""

    def __init__(
        self, plan: SafetySettings, *, private: bool, state: BestState | None = None
    ) -> None:
        self._plan = plan
        self._on = plan.stops_early(private)
        self.state = state or BestState()

    def is_best(self, event: Evaluated) -> bool:
        """Whether `event`, the newest evaluation, is the best so far; it is taken note of."""
        if event.loss is None:
            # Nothing is held out, or the loss is no finite number: no step to prefer.
            self.state = self.state.model_copy(update={"waited": self.state.waited + 1})
            return False
        best = self.state.best
        if best is None or self._gains(event, best):
            self.state = BestState(best=event)
            return True
        self.state = BestState(best=best, waited=self.state.waited + 1)
        return False

    def is_time(self, step: int) -> bool:
        """Whether the run should end after `step` steps."""
        return (
            self._on
            and self.state.best is not None
            and self.state.waited >= self._plan.early_stopping_patience
            and step >= self._plan.early_stopping_after
        )

    def _gains(self, event: Evaluated, best: Evaluated) -> bool:
        least, metric = self._plan.early_stopping_min_delta, self._plan.early_stopping_metric
        fall = _known(best.loss) - _known(event.loss)
        if metric == "loss" or event.preference_accuracy is None:
            return fall > least  # replies that are only imitated have no accuracy
        gain = event.preference_accuracy - _known(best.preference_accuracy)
        if gain > least:
            return True
        return metric == "accuracy_then_loss" and gain == 0 and fall > least


def _known(value: float | None) -> float:
    return math.nan if value is None else value
