"""The stages of a run: what each learns from, with which numbers and how much noise. Light.

Most methods have one stage. "sft_dpo" has two on the same adapter: what the first one made is
the model from which the second one starts, and its reference. With differential privacy each
stage is a mechanism of its own, and both together stay within the run's epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xeno.errors import InvalidValueError
from xeno.privacy.rdp import Mechanism
from xeno.training.dataset import split_for, units_for
from xeno.training.plan import MINIMUM_PAIRS, TrainingPlan
from xeno.training.settings.objective import STAGES, Stage
from xeno.words import count

if TYPE_CHECKING:
    from xeno.store.pairs import Pair
    from xeno.store.profile import Profile
    from xeno.training.dataset import Sample

NOUNS: dict[Stage, str] = {"dpo": "pairs", "kto": "rated replies", "sft": "replies to imitate"}
_ONE: dict[Stage, str] = {"dpo": "pair", "kto": "rated reply", "sft": "reply to imitate"}
_WAYS: dict[Stage, str] = {
    "dpo": "Correct replies in the chat, or import a file of preferences",
    "kto": "Rate replies in the chat with thumbs, or import rated replies",
    "sft": "Import instructions or chats, or let sft imitate the chosen replies of pairs",
}

Solver = Callable[[float, float, float, int, Sequence[Mechanism]], float]
"""(epsilon, delta, sample rate, steps, spent before) -> noise multiplier."""


@dataclass(frozen=True)
class StageData:
    """What a stage learns from and measures itself on, and the plan with its own numbers.

    `left_out` counts by reason the stored pairs that the plan does not use.
    """

    name: Stage
    plan: TrainingPlan
    training: tuple[Pair | Sample, ...]
    held_out: tuple[Pair | Sample, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def units(self) -> tuple[Pair | Sample, ...]:
        return self.training + self.held_out


def amount(number: int, stage: Stage) -> str:
    """So many of what `stage` learns from, such as "1 pair"."""
    return count(number, _ONE[stage], NOUNS[stage])


def stage_data(profile: Profile, plan: TrainingPlan) -> list[StageData]:
    """The stages of `plan` on what `profile` holds now."""
    found = []
    for stage in empty_stages(plan):
        units, left_out = units_for(profile, stage.name, plan)
        training, held_out = split_for(plan, units)
        found.append(
            replace(stage, training=tuple(training), held_out=tuple(held_out), left_out=left_out)
        )
    return found


def empty_stages(plan: TrainingPlan) -> list[StageData]:
    """The stages of `plan`, with nothing to learn from."""
    return [StageData(name, _plan_of(name, plan), (), ()) for name in STAGES[plan.method]]


def too_few(stage: StageData, force: bool) -> InvalidValueError | None:
    """Why the stage cannot be trained, if there is too little to learn from."""
    units, noun = len(stage.units), NOUNS[stage.name]
    if units >= MINIMUM_PAIRS or (units and force):
        return None
    if not units:
        return InvalidValueError(
            f"There are no {noun} yet.", "A run learns from them.", f"{_WAYS[stage.name]}."
        )
    return InvalidValueError(
        f"There are too few {noun} to train on.",
        f"There {'is' if units == 1 else 'are'} {amount(units, stage.name)} and {MINIMUM_PAIRS} "
        "are needed.",
        f"{_WAYS[stage.name]}, or choose to train with few {noun}.",
    )


def noise_multipliers(
    runs: Sequence[tuple[float, int]],
    epsilon: float,
    delta: float,
    plan: TrainingPlan,
    solve: Solver,
    spent: Sequence[Mechanism] = (),
    spent_epsilon: float = 0.0,
) -> list[float]:
    """The noise of each stage, so that all of them with `spent` stay within `epsilon`.

    Of two stages the first may spend `sft_privacy_share` of what is left above `spent_epsilon`.
    Infinite where nothing is left.

    Args:
        runs: (sample rate, steps) of each stage.
    """
    history, found = list(spent), []
    for number, (rate, steps) in enumerate(runs, start=1):
        target = epsilon
        if number < len(runs):
            target = spent_epsilon + plan.sft_privacy_share * (epsilon - spent_epsilon)
        sigma = max(solve(target, delta, rate, steps, history), plan.least_noise)
        found.append(sigma)
        if not math.isfinite(sigma):
            return [math.inf] * len(runs)
        history.append(Mechanism(sample_rate=rate, noise_multiplier=sigma, steps=steps))
    return found


def _plan_of(name: Stage, plan: TrainingPlan) -> TrainingPlan:
    """`plan` with the numbers that a stage has of its own, and those of a trial."""
    if plan.trial:  # here and not in the record, so that its settings can be used for a whole run
        plan = plan.model_copy(
            update={
                "steps_scale": plan.steps_scale * plan.trial_share,
                "evaluations": 1,
                "evaluate_first": False,
            }
        )
    if plan.method != "sft_dpo" or name != "sft":
        return plan
    return plan.model_copy(
        update={
            "epochs": plan.sft_epochs or plan.epochs,
            "learning_rate": plan.sft_learning_rate or plan.learning_rate,
        }
    )
