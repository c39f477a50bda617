"""What a run will do and cost, said before Start. Light: no torch, no Opacus, no reading of
weights.

The epsilon forecast is exact for full batches and an upper bound for sampled ones; the trainer
proves the number that stands in the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xeno.models.base import inspect_base
from xeno.privacy import rdp
from xeno.privacy.budget import strength
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.rdp import Mechanism
from xeno.training.plan import ADVISED_PAIRS, TrainingPlan
from xeno.training.recipe import Recipe, resolve
from xeno.training.stages import NOUNS, StageData, noise_multipliers, stage_data, too_few
from xeno.training.units import count_units

if TYPE_CHECKING:
    from xeno.store.profile import Profile

LOUD = 0.7
"""Noise to signal above which a taste is likely to drown."""
PROOF_MARGIN = 0.02
"""What Opacus' proved epsilon may be above the exact one: its error bound and our precision."""


@dataclass(frozen=True)
class Forecast:
    """The numbers and words for a plan. The privacy fields are None without privacy.

    Attributes:
        noise_to_signal: length of all the noise over the length of all that consistent pairs
            can teach; what remains of it after learning is spread over all directions.
        epsilon_run: what the run will cost alone, at most.
        epsilon_after: what the account will have spent with it.
        blockers: why the run cannot start; empty where it can.
        sentence: all of it in plain words.
    """

    pairs: int
    pairs_training: int
    pairs_heldout: int
    private: bool
    sample_rate: float | None
    steps: int
    noise_multiplier: float | None
    noise_to_signal: float | None
    epsilon_run: float | None
    epsilon_spent: float
    budget: float
    epsilon_after: float | None
    blockers: tuple[str, ...]
    warnings: tuple[str, ...]
    sentence: str


def forecast(profile: Profile, plan: TrainingPlan) -> Forecast:
    """Forecast `plan` on the pairs of `profile`.

    Raises:
        BaseModelError: if the base cannot be used.
    """
    base = inspect_base(Path(plan.base), profile.home)
    stages = stage_data(profile, plan)
    recipes = [
        resolve(stage.plan, count_units(stage.plan, stage.training), base.shapes)
        for stage in stages
    ]
    training = sum(len(stage.training) for stage in stages)
    held_out = sum(len(stage.held_out) for stage in stages)
    steps = sum(recipe.steps for recipe in recipes)
    ledger = PrivacyLedger(profile)
    unit = plan.privacy_unit
    budget, budget_delta = ledger.budget(unit)
    spent = ledger.spent(unit)
    blockers, warnings = _about_units(plan, stages)
    run: _Private | None = None
    if plan.private and all(stage.training for stage in stages):
        run = _private(plan, recipes, ledger.history(unit), budget, budget_delta, spent)
        if run is None or run.epsilon < plan.least_epsilon_share * plan.epsilon:
            left = f"leaves epsilon {run.epsilon:.2f}" if run else "leaves nothing"
            blockers.append(
                f"The privacy budget {left} for this run: {spent:.2f} of {budget:g} is spent. "
                "Ask for a smaller epsilon, raise the budget, or train without privacy."
            )
        warnings += run.warnings if run else ()
    return Forecast(
        pairs=training + held_out,
        pairs_training=training,
        pairs_heldout=held_out,
        private=plan.private,
        sample_rate=recipes[-1].sample_rate if plan.private else None,
        steps=steps,
        noise_multiplier=run.noise_multiplier if run else None,
        noise_to_signal=run.noise_to_signal if run else None,
        epsilon_run=run.epsilon if run else None,
        epsilon_spent=spent,
        budget=budget,
        epsilon_after=run.epsilon_after if run else None,
        blockers=tuple(blockers),
        warnings=tuple(warnings),
        sentence=_sentence(plan, stages, steps, run, budget),
    )


@dataclass(frozen=True)
class _Private:
    noise_multiplier: float
    noise_to_signal: float
    epsilon: float
    epsilon_after: float
    warnings: tuple[str, ...]


def _private(
    plan: TrainingPlan,
    recipes: Sequence[Recipe],
    history: Sequence[Mechanism],
    budget: float,
    budget_delta: float,
    spent: float,
) -> _Private | None:
    """The private run's numbers; None where the budget leaves nothing."""
    runs = [(recipe.sample_rate, recipe.steps) for recipe in recipes]
    solve = rdp.noise_multiplier
    alone = noise_multipliers(runs, max(plan.epsilon - PROOF_MARGIN, 1e-3), plan.delta, plan, solve)
    within = alone
    if rdp.epsilon([*history, *_mechanisms(runs, alone)], budget_delta) > budget - PROOF_MARGIN:
        within = noise_multipliers(
            runs, budget - PROOF_MARGIN, budget_delta, plan, solve, history, spent
        )
    sigmas = [max(pair) for pair in zip(alone, within, strict=True)]
    if math.inf in sigmas:
        return None
    taken = _mechanisms(runs, sigmas)
    cost = min(plan.epsilon, rdp.epsilon(taken, plan.delta) + PROOF_MARGIN)
    warnings = []
    if within[-1] > alone[-1] * 1.01:
        warnings.append(
            f"The budget leaves epsilon {cost:.2f} for this run, less than the {plan.epsilon:g} "
            "asked for, so it gets more noise."
        )
    # Noise adds up as the square root of the steps, what the pairs agree on in proportion.
    ratio = max(
        sigma * math.sqrt(recipe.trainable * recipe.steps) / (recipe.steps * recipe.batch_size)
        for sigma, recipe in zip(sigmas, recipes, strict=True)
    )
    if ratio > LOUD:
        warnings.append(
            "There is much noise for so few pairs: the version may learn little, or even answer "
            "in nonsense. Collect more pairs, or allow a larger epsilon."
        )
    after = min(budget, rdp.epsilon([*history, *taken], budget_delta) + PROOF_MARGIN)
    return _Private(sigmas[-1], ratio, cost, after, tuple(warnings))


def _mechanisms(runs: Sequence[tuple[float, int]], sigmas: Sequence[float]) -> list[Mechanism]:
    return [
        Mechanism(sample_rate=rate, noise_multiplier=sigma, steps=steps)
        for (rate, steps), sigma in zip(runs, sigmas, strict=True)
        if math.isfinite(sigma)
    ]


def _about_units(plan: TrainingPlan, stages: Sequence[StageData]) -> tuple[list[str], list[str]]:
    """(blockers, warnings) that follow from how much there is to learn from."""
    blockers: list[str] = []
    warnings: list[str] = []
    for stage in stages:
        count, noun = len(stage.units), NOUNS[stage.name]
        if error := too_few(stage, plan.force):
            blockers.append(f"{error.why if count else error.what} {error.todo}")
        elif count < ADVISED_PAIRS and plan.private:
            warnings.append(
                f"With {count} {noun} the noise is strong; about {ADVISED_PAIRS} or more are "
                "advised."
            )
        if count and plan.heldout_share > 0 and not stage.held_out:
            warnings.append(
                f"None of the {noun} is held out, since there are too few groups of them: what "
                "was learned cannot be measured."
            )
    return blockers, warnings


def _sentence(
    plan: TrainingPlan,
    stages: Sequence[StageData],
    steps: int,
    run: _Private | None,
    budget: float,
) -> str:
    what = ", then ".join(f"{len(stage.training)} {NOUNS[stage.name]}" for stage in stages)
    if not plan.private:
        return (
            f"Learns from {what} in {steps} steps without differential privacy: "
            "single ones may be recoverable from the version."
        )
    if run is None:
        return "A private run cannot start."
    one = "one" if plan.privacy_unit == "pair" else plan.privacy_unit
    return (
        f"Learns from {what} in {steps} noisy steps at epsilon {run.epsilon:.2f} "
        f"({strength(run.epsilon)} protection of every single {one}). Afterwards "
        f"{run.epsilon_after:.2f} of the budget of {budget:g} is spent."
    )
