"""What privacy will cost a run and what its noise will do to it, without Opacus.

The epsilon is exact for full batches and an upper bound for sampled ones; the trainer proves
the number that stands in the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xeno.privacy import rdp
from xeno.privacy.rdp import Mechanism
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import Recipe
from xeno.training.stages import noise_multipliers

PROOF_MARGIN = 0.02
"""What Opacus' proved epsilon may be above the exact one: its error bound and our precision."""


@dataclass(frozen=True)
class NoiseForecast:
    """A private run's numbers.

    Attributes:
        noise_to_signal: length of all the noise over the length of all that consistent pairs
            can teach; what remains of it after learning is spread over all directions.
        epsilon: what the run will cost alone, at most.
        epsilon_after: what the account will have spent with it.
    """

    noise_multiplier: float
    noise_to_signal: float
    epsilon: float
    epsilon_after: float
    warnings: tuple[str, ...]


def noise_forecast(
    plan: TrainingPlan,
    recipes: Sequence[Recipe],
    history: Sequence[Mechanism],
    budget: float,
    budget_delta: float,
    spent: float,
) -> NoiseForecast | None:
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
    if ratio > plan.loud_noise:
        warnings.append(
            "There is much noise for so few pairs: the version may learn little, or even answer "
            "in nonsense. Collect more pairs, or allow a larger epsilon."
        )
    after = min(budget, rdp.epsilon([*history, *taken], budget_delta) + PROOF_MARGIN)
    return NoiseForecast(sigmas[-1], ratio, cost, after, tuple(warnings))


def _mechanisms(runs: Sequence[tuple[float, int]], sigmas: Sequence[float]) -> list[Mechanism]:
    return [
        Mechanism(sample_rate=rate, noise_multiplier=sigma, steps=steps)
        for (rate, steps), sigma in zip(runs, sigmas, strict=True)
        if math.isfinite(sigma)
    ]
