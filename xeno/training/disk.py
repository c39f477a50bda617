"""How much a run writes to the disk: its version, and the checkpoints that it keeps meanwhile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xeno.training.modules import layers, trainable_numbers
from xeno.training.optimizers import state_bytes
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import Recipe

if TYPE_CHECKING:
    from xeno.models.base import BaseModel

_RECORD = 300.0
"""Bytes of a step's event in the profile."""


def bytes_written(base: BaseModel, plan: TrainingPlan, recipe: Recipe, steps: int) -> int:
    """Bytes that a run of `plan` with so many `steps` adds to the profile at the most."""
    adapter = recipe.adapter
    numbers = trainable_numbers(
        base.shapes, adapter.target_modules, layers(base.shapes, plan), adapter.rank, False
    )
    version = 4.0 * numbers  # A and B, whichever are trained
    checkpoint = (4.0 + state_bytes(plan)) * recipe.trainable if plan.engine == "xeno" else 0.0
    events = _RECORD * math.ceil(steps / plan.progress_every)
    return round(version + plan.checkpoints_kept * checkpoint + events + 2**20)
