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
from xeno.training.dataset import split_for, training_pairs
from xeno.training.plan import ADVISED_PAIRS, MINIMUM_PAIRS, TrainingPlan
from xeno.training.recipe import Recipe, resolve

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
    pairs = training_pairs(profile)
    training, held_out = split_for(plan, pairs)
    recipe = resolve(plan, len(training), base.shapes)
    ledger = PrivacyLedger(profile)
    budget, budget_delta = ledger.budget()
    spent = ledger.spent()
    blockers, warnings = _about_pairs(plan, len(pairs), len(held_out))
    run: _Private | None = None
    if plan.private and training:
        run = _private(plan, recipe, ledger.history(), budget, budget_delta)
        if run is None or run.epsilon < plan.least_epsilon_share * plan.epsilon:
            left = f"leaves epsilon {run.epsilon:.2f}" if run else "leaves nothing"
            blockers.append(
                f"The privacy budget {left} for this run: {spent:.2f} of {budget:g} is spent. "
                "Ask for a smaller epsilon, raise the budget, or train without privacy."
            )
        warnings += run.warnings if run else ()
    return Forecast(
        pairs=len(pairs),
        pairs_training=len(training),
        pairs_heldout=len(held_out),
        private=plan.private,
        sample_rate=recipe.sample_rate if plan.private else None,
        steps=recipe.steps,
        noise_multiplier=run.noise_multiplier if run else None,
        noise_to_signal=run.noise_to_signal if run else None,
        epsilon_run=run.epsilon if run else None,
        epsilon_spent=spent,
        budget=budget,
        epsilon_after=run.epsilon_after if run else None,
        blockers=tuple(blockers),
        warnings=tuple(warnings),
        sentence=_sentence(plan, len(training), recipe.steps, run, budget),
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
    recipe: Recipe,
    history: Sequence[Mechanism],
    budget: float,
    budget_delta: float,
) -> _Private | None:
    """The private run's numbers; None where the budget leaves nothing."""
    rate, steps = recipe.sample_rate, recipe.steps
    alone = rdp.noise_multiplier(max(plan.epsilon - PROOF_MARGIN, 1e-3), plan.delta, rate, steps)
    run = Mechanism(sample_rate=rate, noise_multiplier=alone, steps=steps)
    within = alone
    if rdp.epsilon([*history, run], budget_delta) > budget - PROOF_MARGIN:
        within = rdp.noise_multiplier(budget - PROOF_MARGIN, budget_delta, rate, steps, history)
    sigma = max(alone, within)
    if not math.isfinite(sigma):
        return None
    run = Mechanism(sample_rate=rate, noise_multiplier=sigma, steps=steps)
    cost = min(plan.epsilon, rdp.epsilon([run], plan.delta) + PROOF_MARGIN)
    warnings = []
    if within > alone * 1.01:
        warnings.append(
            f"The budget leaves epsilon {cost:.2f} for this run, less than the {plan.epsilon:g} "
            "asked for, so it gets more noise."
        )
    # Noise adds up as the square root of the steps, what the pairs agree on in proportion.
    noise = sigma * math.sqrt(recipe.trainable * steps)
    ratio = noise / (steps * recipe.batch_size)
    if ratio > LOUD:
        warnings.append(
            "There is much noise for so few pairs: the version may learn little, or even answer "
            "in nonsense. Collect more pairs, or allow a larger epsilon."
        )
    after = min(budget, rdp.epsilon([*history, run], budget_delta) + PROOF_MARGIN)
    return _Private(sigma, ratio, cost, after, tuple(warnings))


def _about_pairs(plan: TrainingPlan, pairs: int, held_out: int) -> tuple[list[str], list[str]]:
    """(blockers, warnings) that follow from the number of pairs."""
    blockers: list[str] = []
    warnings: list[str] = []
    if pairs == 0:
        blockers.append("There are no pairs yet. Correct replies in the chat, or import a file.")
    elif pairs < MINIMUM_PAIRS and not plan.force:
        blockers.append(
            f"There are {pairs} pairs and {MINIMUM_PAIRS} are needed. Collect more, or choose to "
            "train with few pairs."
        )
    elif pairs < ADVISED_PAIRS and plan.private:
        warnings.append(
            f"With {pairs} pairs the noise is strong; about {ADVISED_PAIRS} or more are advised."
        )
    if pairs and plan.heldout_share > 0 and not held_out:
        warnings.append(
            "No pair is held out, since there are too few groups of pairs: what was learned "
            "cannot be measured."
        )
    return blockers, warnings


def _sentence(
    plan: TrainingPlan, training: int, steps: int, run: _Private | None, budget: float
) -> str:
    if not plan.private:
        return (
            f"Learns from {training} pairs in {steps} steps without differential privacy: "
            "single pairs may be recoverable from the version."
        )
    if run is None:
        return "A private run cannot start."
    return (
        f"Learns from {training} pairs in {steps} noisy steps at epsilon {run.epsilon:.2f} "
        f"({strength(run.epsilon)} protection of every single pair). Afterwards "
        f"{run.epsilon_after:.2f} of the budget of {budget:g} is spent."
    )
