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

from xeno.training.modules import layers, target_modules, trainable_numbers
from xeno.training.plan import TrainingPlan
from xeno.versions.adapter import AdapterConfig

FULL_BATCH_PAIRS = 500
"""Below this number of pairs a private run uses all of them in every step."""
SAMPLED_BATCH = 400
"""Expected pairs per step of a private run with more."""
PRIVATE_STEPS = 15
PLAIN_STEPS = 60
"""Steps of a run without privacy over few pairs; many pairs are seen at least twice."""
SFT_WEIGHT = 1.0


@dataclass(frozen=True)
class Recipe:
    """The numbers of one run.

    Attributes:
        sample_rate: chance of a pair to be in a step of a private run; 1 otherwise.
        batch_size: pairs per step; the expected number in private runs.
        learning_rate: of AdamW; in private runs of SGD on gradients in units of the norm to
            which they are clipped.
        trainable: how many numbers are trained.
    """

    adapter: AdapterConfig
    sample_rate: float
    batch_size: float
    steps: int
    learning_rate: float
    sft_weight: float
    trainable: int


def resolve(plan: TrainingPlan, pairs: int, shapes: Mapping[str, tuple[int, ...]]) -> Recipe:
    """The recipe for training on `pairs` pairs a base whose tensors have these `shapes`.

    Raises:
        BaseModelError: if the base has no layers that an adapter can be put on.
        InvalidValueError: if the plan names modules that it does not have.
    """
    adapter = adapter_config(plan, shapes)
    if plan.private:
        rate = 1.0 if pairs < FULL_BATCH_PAIRS else SAMPLED_BATCH / pairs
        batch = max(1.0, rate * pairs)
        steps = PRIVATE_STEPS if plan.epochs is None else math.ceil(plan.epochs / rate)
        learning_rate = 0.8
    else:
        rate, batch = 1.0, float(min(plan.batch_size, max(1, pairs)))
        per_epoch = math.ceil(max(1, pairs) / batch)
        epochs = plan.epochs or max(2, math.ceil(PLAIN_STEPS / per_epoch))
        steps = epochs * per_epoch
        # Wider layers add up more numbers, so each takes a smaller step.
        learning_rate = min(2e-3, 0.5 / _width(shapes))
    return Recipe(
        adapter=adapter,
        sample_rate=rate,
        batch_size=batch,
        steps=steps,
        learning_rate=plan.learning_rate or learning_rate,
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
    rank = plan.lora_rank or (4 if plan.private else 8)
    kind: Literal["lora", "lora_b_only"] = "lora_b_only" if plan.private else "lora"
    return AdapterConfig(
        kind=kind if plan.adapter_kind == "auto" else plan.adapter_kind,
        rank=rank,
        alpha=plan.lora_alpha or 2.0 * rank,
        target_modules=target_modules(shapes, plan, plan.private),
        rs_lora=plan.rs_lora,
    )


def _width(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The width of the model's layers: the largest of the smaller sides of its matrices."""
    return max(min(shape) for shape in shapes.values() if len(shape) == 2)
