"""Which settings a small search tries: variations of a plan in a few that matter most."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from typing import Any

from xeno.training.plan import TrainingPlan

_RATES = (1.0, 0.3, 3.0)
_BETAS = (1.0, 0.5, 2.0)
_RANKS = (1.0, 2.0, 0.5)


def candidates(plan: TrainingPlan, rank: int, count: int) -> list[Mapping[str, Any]]:
    """Up to `count` sets of values to try, the plan's own first.

    Learning rate, beta and rank each once as they are, smaller and larger; which combinations
    are drawn follows from the plan's seed.

    Args:
        rank: the adapter's rank, which the plan may leave open.
    """
    grid = list(itertools.product(_RATES, _BETAS, _RANKS))
    others = grid[1:]
    random.Random(plan.seed).shuffle(others)
    return [
        {
            "rate_scale": plan.rate_scale * rate,
            "beta": min(10.0, plan.beta * beta),
            "lora_rank": min(256, max(1, round(rank * size))),
        }
        for rate, beta, size in [grid[0], *others][:count]
    ]


def shortened(plan: TrainingPlan, values: Mapping[str, Any], share: float) -> TrainingPlan:
    """`plan` with `values` as a short trial of a `share` of its steps, which makes no version."""
    return TrainingPlan.model_validate(
        plan.model_dump()
        | dict(values)
        | {
            "steps_scale": plan.steps_scale * share,
            "trial": True,
            "samples": False,
            "evaluations": 1,
            "evaluate_first": False,
        }
    )
