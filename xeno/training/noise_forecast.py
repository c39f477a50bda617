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
    recipe: Recipe,
    history: Sequence[Mechanism],
    budget: float,
    budget_delta: float,
) -> NoiseForecast | None:
    """The numbers of a private run; None where the budget leaves nothing."""
    rate, steps = recipe.sample_rate, recipe.steps
    alone = rdp.noise_multiplier(max(plan.epsilon - PROOF_MARGIN, 1e-3), plan.delta, rate, steps)
    alone = max(alone, plan.least_noise)
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
    if ratio > plan.loud_noise:
        warnings.append(
            "There is much noise for so few pairs: the version may learn little, or even answer "
            "in nonsense. Collect more pairs, or allow a larger epsilon."
        )
    after = min(budget, rdp.epsilon([*history, run], budget_delta) + PROOF_MARGIN)
    return NoiseForecast(sigma, ratio, cost, after, tuple(warnings))
