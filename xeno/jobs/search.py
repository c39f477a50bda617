"""A small search for settings: short runs on the same split, compared on the held-out pairs.

    jobs = begin(queue, profile, plan, 6)  # trials stand in the queue like every run
    best, *others = trials(profile)  # the newest search, also of another program, the best first

Best is the highest held-out preference accuracy; the lower held-out loss decides a tie. Not with
differential privacy: the choice would depend on the pairs past the noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xeno.errors import InvalidValueError
from xeno.jobs.job import Job
from xeno.jobs.store import Queue
from xeno.jobs.submission import settle, submit
from xeno.models.base import inspect_base
from xeno.store.profile import Profile
from xeno.store.runs import Run, Runs
from xeno.training.candidates import SEARCHED, candidates, trial
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import resolve
from xeno.training.stages import stage_data, too_few

FEWEST, MOST = 2, 27
"""How many trials a search may have; the grid has no more than the latter."""

_SETTING = "search.runs"  # the ids of the newest search's runs


@dataclass(frozen=True)
class Trial:
    """A run of a search, and what it scored on the held-out pairs; None where it was not (yet)
    measured."""

    run: Run

    @property
    def values(self) -> Mapping[str, Any]:
        """The settings that were tried."""
        return {name: getattr(self.run.plan, name) for name in SEARCHED}

    @property
    def accuracy(self) -> float | None:
        """The preference accuracy, 0 to 1."""
        return self._measured("heldout_preference_accuracy")

    @property
    def loss(self) -> float | None:
        return self._measured("heldout_loss")

    @property
    def open(self) -> bool:
        """Whether it still waits or runs."""
        return self.run.status in ("waiting", "running")

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better."""
        accuracy = -math.inf if self.accuracy is None else self.accuracy
        return -accuracy, math.inf if self.loss is None else self.loss

    def _measured(self, name: str) -> float | None:
        value = self.run.metrics.get(name)
        return None if value is None else float(value)


def begin(queue: Queue, profile: Profile, plan: TrainingPlan, count: int) -> list[Job]:
    """Queue `count` trials of variations of `plan`, its own values first.

    Raises:
        InvalidValueError: with differential privacy, where nothing is held out to compare on,
            with fewer or more trials than there may be, or while a search goes on.
    """
    if not FEWEST <= count <= MOST:
        raise InvalidValueError(
            f"{count} trials are no search.", "", f"Choose {FEWEST} to {MOST} of them."
        )
    if any(each.open for each in trials(profile)):
        raise InvalidValueError(
            "A search is going on.",
            "Some of its trials wait or run.",
            "Wait for its end, or take its trials out of the queue.",
        )
    rank = _checked(profile, plan)
    jobs = [submit(queue, profile, trial(plan, values)) for values in candidates(plan, rank, count)]
    profile.set_setting(_SETTING, [job.run_id for job in jobs])
    return jobs


def trials(profile: Profile) -> list[Trial]:
    """The trials of the newest search, the best first and those without a measure last."""
    runs = Runs(profile.db)
    found = [Trial(run) for run in runs.some(profile.setting(_SETTING, []))]
    return sorted(found, key=lambda each: each.rank)


def give_up(queue: Queue, profile: Profile) -> None:
    """Take the trials that wait out of the queue, and end the one that runs."""
    going = {each.run.id for each in trials(profile) if each.open}
    for job in queue.jobs():
        if job.run_id in going:
            queue.cancel(job.id)
    settle(queue, profile)


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
