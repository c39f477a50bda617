"""What is known of a run, in a form that can leave the program, and how two runs differ.

A record holds what would be needed to train the same adapter again, and what was measured. It
holds no text of the user's and no local path: the base is named by its folder's name and its
hash, the pairs by their hash, and sample replies stay behind.

Of a private run nothing is exported that was computed from its pairs. Losses, margins, norms,
accuracies, lengths, counts and a hash of the pairs come from them as they are: the noise covers
the adapter and none of these. What may leave is named here, so that a measure that is added later
stays behind until somebody has thought about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from xeno.events import Evaluated, Event, LogLine, Progress, RunStarted
from xeno.training.plan import TrainingPlan

if TYPE_CHECKING:
    from xeno.store.runs import Run

METRICS = {
    "released_step": "Released step",
    "heldout_preference_accuracy": "Held-out preference accuracy of the released step",
    "heldout_preference_accuracy_before": "The same before training",
    "final_step": "Last step",
    "final_preference_accuracy": "The same after the last step",
    "best_step": "Best step",
    "best_preference_accuracy": "The same after the best step",
    "heldout_loss": "Validation loss of the released step",
    "heldout_loss_before": "Validation loss before training",
    "final_loss": "Validation loss after the last step",
    "best_loss": "Validation loss after the best step",
    "heldout_perplexity": "Perplexity",
    "heldout_reward_margin": "Held-out reward margin",
    "shorter_baseline": "Accuracy of the shorter reply",
    "longer_baseline": "Accuracy of the longer reply",
    "steps": "Steps",
    "pairs_training": "Pairs learned from",
    "pairs_heldout": "Pairs held out",
    "left_out": "Pairs left out",
    "trainable": "Trained numbers",
    "pairs_per_second": "Pairs per second",
    "tokens_per_second": "Tokens per second",
    "peak_memory_bytes": "Peak memory (bytes)",
    "seconds": "Seconds",
}
"""The metrics of a run that are numbers, with their titles, in the order they are shown."""
_IN_A_RECORD = (RunStarted, Progress, Evaluated, LogLine)
_PUBLIC = ("steps", "trainable")
"""The metrics that a private run's account or its plan says anyway."""
LEFT_OUT = (
    "This run was private. Losses, margins, gradient norms, accuracies, speeds, lengths, counts "
    "and the hash of its pairs are left out, with its curves and its log: they were computed from "
    "the pairs as they are, and the noise covers the version only."
)


class RunRecord(BaseModel):
    """One run as it is exported. `left_out` says what is not in it, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["xeno run record 1"] = "xeno run record 1"
    run: str
    status: str
    created: float
    started: float | None
    finished: float | None
    plan: dict[str, Any]
    seed: int
    base: str
    base_hash: str | None
    data_hash: str | None
    environment: dict[str, Any]
    metrics: dict[str, Any]
    failure: dict[str, Any] | None
    version: str | None
    events: tuple[dict[str, Any], ...]
    left_out: str = ""


def record(run: Run, events: list[Event]) -> RunRecord:
    """The record of `run` with its `events`; see the module for what a private one leaves out."""
    base = PurePath(run.plan.base.replace("\\", "/")).name
    plan = run.plan.model_dump(mode="json", exclude={"sample_prompts"}) | {"base": base}
    failure = None
    if run.failure is not None:  # why it failed may name a path
        failure = {"what": run.failure.what.replace(run.plan.base, base)}
    private = run.plan.private
    kept = [] if private else [event for event in events if isinstance(event, _IN_A_RECORD)]
    metrics = {name: run.metrics[name] for name in _PUBLIC if name in run.metrics}
    return RunRecord(
        run=run.id,
        status=run.status,
        created=run.created,
        started=run.started,
        finished=run.finished,
        plan=plan,
        seed=run.plan.seed,
        base=base,
        base_hash=run.base_hash,
        data_hash=None if private else run.data_hash,
        environment=dict(run.environment),
        metrics=metrics if private else dict(run.metrics),
        failure=failure,
        version=run.version,
        events=tuple(event.model_dump(mode="json") for event in kept),
        left_out=LEFT_OUT if private else "",
    )


@dataclass(frozen=True)
class Difference:
    """One thing with its value in either run; None where it is not known."""

    name: str
    title: str
    first: Any
    second: Any

    @property
    def same(self) -> bool:
        return bool(self.first == self.second)


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side: the settings and facts in which they differ, and their metrics."""

    settings: tuple[Difference, ...]
    facts: tuple[Difference, ...]
    metrics: tuple[Difference, ...]


def compare(first: Run, second: Run) -> Comparison:
    """How `second` differs from `first`."""
    settings = (
        Difference(name, declared.title or name, getattr(first.plan, name), value)
        for name, declared in TrainingPlan.model_fields.items()
        if (value := getattr(second.plan, name)) != getattr(first.plan, name)
    )
    facts = [
        Difference("status", "Status", first.status, second.status),
        Difference("base_hash", "Base model", first.base_hash, second.base_hash),
        Difference("data_hash", "Pairs", first.data_hash, second.data_hash),
        *_of(first.environment, second.environment),
    ]
    return Comparison(
        settings=tuple(settings),
        facts=tuple(each for each in facts if not each.same),
        metrics=tuple(
            Difference(name, title, first.metrics.get(name), second.metrics.get(name))
            for name, title in METRICS.items()
            if name in first.metrics or name in second.metrics
        ),
    )


def _of(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    names = dict.fromkeys((*first, *second))
    return [
        Difference(name, name.capitalize(), first.get(name), second.get(name)) for name in names
    ]
