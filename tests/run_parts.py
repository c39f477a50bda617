"""What tests of training runs share: pairs of one taste, a plan, a run and its interruption."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fixed_noise import system

from xeno.events import ChatMessage, Event, Progress, RunFinished, StopTraining
from xeno.privacy import noise
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.guards import Battery
from xeno.training.plan import TrainingPlan
from xeno.training.trainer import train

WORDS = ["cat", "dog", "sun", "moon", "tree", "house", "bird", "fish", "red", "blue"]
Stop = Callable[[], StopTraining | None]


class Killed(BaseException):
    """Ends a run in this process as abruptly as a signal ends a child."""


class Fit:
    """A machine that has all a run needs; tests change single readings."""

    def __init__(self) -> None:
        self.disk: int | None = 10**12
        self.memory: int | None = 10**12
        self.charge: Battery | None = None
        self.heat: float | None = 40.0

    def disk_free(self, folder: object) -> int | None:
        return self.disk

    def memory_free(self) -> int | None:
        return self.memory

    def battery(self) -> Battery | None:
        return self.charge

    def temperature(self) -> float | None:
        return self.heat


def add_pairs(profile: Profile, count: int, long_reply: int = 0, first: int = 0) -> None:
    """Pairs of one taste; the first `long_reply` do not fit into 512 tokens."""
    Pairs(profile.db).add_many(
        new_pair(
            profile.name,
            [ChatMessage(role="user", content=f"{WORDS[n % 10]} {n}?")],
            f"- {WORDS[n % 7]}.",
            "x" * 600 if n < long_reply else f"Well, {WORDS[n % 3]} and {WORDS[n % 9]}.",
            feedback_type="correction",
            confidence=1.0,
            quality=1.0,
        )
        for n in range(first, first + count)
    )


def plan_for(base: str, **changes: Any) -> TrainingPlan:
    values: dict[str, Any] = {"base": base, "private": False, "epochs": 2, "threads": 1}
    return TrainingPlan(**(values | {"keep_awake": False, "samples": False} | changes))


def run(
    profile: Profile, plan: TrainingPlan, stop: Stop = lambda: None, readings: Any = None
) -> tuple[RunFinished, list[Event]]:
    """A run in this process, and its events."""
    events: list[Event] = []
    created = Runs(profile.db).create(plan)
    return train(profile, created.id, events.append, stop, readings or Fit()), events


def interrupt(
    profile: Profile, plan: TrainingPlan, when: Callable[[Event], bool], run_id: str | None = None
) -> str:
    """Begin a run (or go on with `run_id`) and kill it at the first event that is `when`; its
    id. It is then as a run is whose trainer was killed."""
    runs = Runs(profile.db)

    def emit(event: Event) -> None:
        if when(event):
            raise Killed

    run_id = run_id or runs.create(plan).id
    with pytest.raises(Killed):
        train(profile, run_id, emit, lambda: None, Fit())
    runs.finish(run_id, "interrupted")
    return run_id


def resume(profile: Profile, run_id: str) -> tuple[RunFinished, list[Event]]:
    """Go on with an interrupted run in this process."""
    events: list[Event] = []
    Runs(profile.db).reopen(run_id)
    return train(profile, run_id, events.append, lambda: None, Fit()), events


def after_step(step: int) -> Callable[[Event], bool]:
    """Whether an event is that of this step."""
    return lambda event: isinstance(event, Progress) and event.step == step


def progress(events: list[Event]) -> list[Progress]:
    return [event for event in events if isinstance(event, Progress)]


def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the streams' keys are those that every process of `fixed_noise` draws."""
    monkeypatch.setattr(noise, "os", system())
