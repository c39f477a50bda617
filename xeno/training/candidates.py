"""Plans made from plans: what a small search tries, and the settings of a run used once more."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from typing import Any

from xeno.training.plan import TrainingPlan

SEARCHED = ("rate_scale", "beta", "lora_rank")
"""The settings that a search varies."""

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


def trial(plan: TrainingPlan, values: Mapping[str, Any]) -> TrainingPlan:
    """`plan` with `values` as a trial, which takes a part of its steps and makes no version."""
    return TrainingPlan.model_validate(plan.model_dump() | dict(values) | {"trial": True})


def repeated(plan: TrainingPlan) -> TrainingPlan:
    """The settings of an earlier run for another: neither a trial, nor with few pairs unless that
    is asked for again."""
    return plan.model_copy(update={"trial": False, "force": False})
