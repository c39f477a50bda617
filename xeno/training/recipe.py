"""From a plan and the number of pairs to the numbers of a run. Light and deterministic.

The plan says what the user wants; whatever it leaves open is chosen here, in one place, for the
forecast and for the trainer alike. Nothing depends on what the pairs say, only on how many they
are: the number of pairs is not protected by differential privacy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from xeno.training.batches import per_pass
from xeno.training.modules import layers, target_modules, trainable_numbers
from xeno.training.optimizers import chosen
from xeno.training.plan import TrainingPlan
from xeno.training.schedule import Schedule, schedule
from xeno.versions.adapter import AdapterConfig

SFT_WEIGHT = 1.0

_PRIVATE_RATE = 0.7
"""Of SGD on gradients in units of the norm to which they are clipped."""
_PRIVATE_RANK = 4
_RATES = {"sgd": 100.0, "adafactor": 10.0, "adagrad": 10.0}
"""Learning rates in units of AdamW's: of optimizers whose steps are smaller at the same rate."""


@dataclass(frozen=True)
class Recipe:
    """The numbers of one run.

    Attributes:
        sample_rate: chance of a pair to be in a step of a private run; 1 otherwise.
        batch_size: pairs per step; the expected number in private runs.
        optimizer: its name, never "auto".
        schedule: the learning rate of every step.
        trainable: how many numbers are trained.
    """

    adapter: AdapterConfig
    sample_rate: float
    batch_size: float
    steps: int
    optimizer: str
    schedule: Schedule
    sft_weight: float
    trainable: int

    @property
    def learning_rate(self) -> float:
        """The highest learning rate of the run; of SGD in private runs on gradients in units of
        the norm to which they are clipped."""
        return self.schedule.peak


def resolve(plan: TrainingPlan, pairs: int, shapes: Mapping[str, tuple[int, ...]]) -> Recipe:
    """The recipe for training on `pairs` pairs a base whose tensors have these `shapes`.

    Raises:
        BaseModelError: if the base has no layers that an adapter can be put on.
        InvalidValueError: if the plan names modules that it does not have.
    """
    adapter = adapter_config(plan, shapes)
    if plan.private:
        sampled = pairs >= max(plan.full_batch_below, plan.sampled_batch)
        rate = plan.sampled_batch / pairs if sampled else 1.0
        batch = max(1.0, rate * pairs)
        if plan.epochs is None:
            steps = plan.private_steps
        else:  # in whole numbers: one epoch of 49 pairs in batches of 1 has 49 steps, not 50
            steps = -(-plan.epochs * pairs // plan.sampled_batch) if sampled else plan.epochs
    else:
        rate, batch = 1.0, float(min(plan.batch_size, max(1, pairs)))
        per_epoch = per_pass(pairs, batch, plan.whole_batches)
        epochs = plan.epochs or max(plan.least_epochs, math.ceil(plan.least_steps / per_epoch))
        steps = epochs * per_epoch
    steps = max(1, round(plan.steps_scale * steps))
    if plan.max_steps is not None:
        steps = min(steps, plan.max_steps)
    optimizer = chosen(plan)
    peak = plan.rate_scale * (plan.learning_rate or _learning_rate(plan, optimizer, shapes))
    return Recipe(
        adapter=adapter,
        sample_rate=rate,
        batch_size=batch,
        steps=steps,
        optimizer=optimizer,
        schedule=schedule(plan, peak, steps),
        sft_weight=SFT_WEIGHT if plan.sft_weight is None else plan.sft_weight,
        trainable=trainable_numbers(
            shapes,
            adapter.target_modules,
            layers(shapes, plan),
            adapter.rank,
            adapter.kind == "lora_b_only",
        ),
    )


def adapter_config(plan: TrainingPlan, shapes: Mapping[str, tuple[int, ...]]) -> AdapterConfig:
    """The adapter that `plan` puts on such a base; small and B only where noise is added."""
    rank = plan.lora_rank or (_PRIVATE_RANK if plan.private else 8)
    kind: Literal["lora", "lora_b_only"] = "lora_b_only" if plan.private else "lora"
    return AdapterConfig(
        kind=kind if plan.adapter_kind == "auto" else plan.adapter_kind,
        rank=rank,
        alpha=plan.lora_alpha or 2.0 * rank,
        target_modules=target_modules(shapes, plan, plan.private),
        rs_lora=plan.rs_lora,
    )


def _learning_rate(
    plan: TrainingPlan, optimizer: str, shapes: Mapping[str, tuple[int, ...]]
) -> float:
    if plan.private and optimizer == "sgd":
        return _PRIVATE_RATE
    # Wider layers add up more numbers, so each takes a smaller step.
    return min(2e-3, 0.5 / _width(shapes)) * _RATES.get(optimizer, 1.0)


def _width(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The width of the model's layers: the largest of the smaller sides of its matrices."""
    return max(min(shape) for shape in shapes.values() if len(shape) == 2)
