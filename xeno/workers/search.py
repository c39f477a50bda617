"""A small search for settings: short runs on the same split, compared on the held-out pairs.

Best is the highest held-out preference accuracy; the lower held-out loss decides a tie. Not with
differential privacy: the choice would depend on the pairs past the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xeno.errors import InvalidValueError, XenoError
from xeno.models.base import inspect_base
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.candidates import candidates, trial
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import resolve
from xeno.training.stages import stage_data, too_few
from xeno.workers.training_client import TrainingRun


@dataclass(frozen=True)
class Trial:
    """What a set of values scored on the held-out pairs; None where it could not be measured."""

    values: Mapping[str, Any]
    accuracy: float | None
    loss: float | None
    run_id: str

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better."""
        accuracy = -math.inf if self.accuracy is None else self.accuracy
        return -accuracy, math.inf if self.loss is None else self.loss


def search(
    profile: Profile,
    plan: TrainingPlan,
    count: int,
    tried: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    """Try `count` sets of values, one after the other, and return them best first.

    Args:
        tried: called after each.

    Raises:
        InvalidValueError: with differential privacy, or where nothing is held out to compare on.
        XenoError: if a run fails.
    """
    rank = _checked(profile, plan)
    found = []
    for values in candidates(plan, rank, count):
        run = TrainingRun(profile, trial(plan, values))
        run_id = run.start()
        try:
            run.wait()
        except BaseException:  # Ctrl-C among them: the trainer must not go on alone
            run.kill()
            run.wait()
            raise
        if run.failure is not None:
            raise XenoError(run.failure.what, run.failure.why, run.failure.todo)
        metrics = Runs(profile.db).get(run_id).metrics
        measured = Trial(
            values,
            metrics.get("heldout_preference_accuracy"),
            metrics.get("heldout_loss"),
            run_id,
        )
        found.append(measured)
        tried(measured)
    return sorted(found, key=lambda trial: trial.rank)


def _checked(profile: Profile, plan: TrainingPlan) -> int:
    """The rank of the plan's adapter, once it is known that the search can be made."""
    if plan.private:
        raise InvalidValueError(
            "Settings cannot be searched with differential privacy.",
            "The best of several runs would depend on the pairs past the noise.",
            "Search without privacy on other pairs, or choose settings by the number of pairs: "
            "xeno settings choose.",
        )
    [*_, stage] = stage_data(profile, plan)
    if error := too_few(stage, plan.force):
        raise error
    if not stage.held_out:
        raise InvalidValueError(
            "There is nothing to compare settings on.",
            "No pair is held out.",
            "Set heldout_share above 0, or collect pairs of more conversations.",
        )
    shapes = inspect_base(Path(plan.base), profile.home).shapes
    return resolve(plan, len(stage.training), shapes).adapter.rank
