"""How much memory a run will take at its peak, from the shapes of the base and of the batches.

    libraries + weights + adapter + max(loading, training)

The libraries are measured by every trainer on this machine. While a micro-batch is trained on,
every decoder layer keeps numbers for its backward pass: what its projections made, copies of the
hidden state, and the weights of attention,

    bytes of the format x layers x (a tokens (outputs + 2 hidden) + b heads x weights)

The count of weights is that of `xeno.training.segments`, which holds them in blocks. The factors
a and b, for what the allocator holds beyond what is asked of it and for what is given back
meanwhile, and the other constants are fitted to measured peaks (docs/training.md). Light: reads
no weights, loads no library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xeno.models.four_bit import bytes_per_number
from xeno.models.loading import SMALL, bfloat16_known
from xeno.models.machine import read_fact, write_fact
from xeno.training.modules import packable
from xeno.training.optimizers import state_bytes
from xeno.training.plan import TrainingPlan
from xeno.training.presets import card_memory
from xeno.training.recipe import Recipe
from xeno.training.row import Row

if TYPE_CHECKING:
    from xeno.models.base import BaseModel
    from xeno.paths import Home

_LIBRARIES_FACT = "bytes of the training libraries"
_LIBRARIES = 450e6
_STARTED = 150e6
"""What the libraries take more once they compute."""
_PROOF = 70e6
"""What proving an epsilon takes: numerical libraries, and densities on a fine grid."""
_SPREAD = 1.6
_ATTENTION_SPREAD = 0.6
_HIDDEN_COPIES = 2
"""Hidden states that a layer keeps besides what its matrices make: its normed inputs."""
_BLOCK = 128
"""Queries of a block of attention weights."""
_LAYER = re.compile(r"\.(\d+)\.")
_HEAD_COPIES = 3
_PACKING = 16
"""Bytes for each number of the largest layer, while it is rounded to 4 bits."""


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak, by what they are for."""

    libraries: float
    weights: float
    adapter: float
    activations: float
    head: float

    @property
    def total(self) -> int:
        """All of it; loading a base takes its weights twice for a moment."""
        working = max(self.weights, self.activations + self.head)
        return round(self.libraries + self.weights + self.adapter + working)

    @property
    def on_card(self) -> int:
        """What of it a graphics card has to hold."""
        return round(self.total - self.libraries)

    @property
    def least(self) -> int:
        """What no setting of the batches can lower."""
        return round(self.libraries + self.weights + self.adapter)


def predicted(base: BaseModel, plan: TrainingPlan, recipe: Recipe, rows: Sequence[Row]) -> Memory:
    """The memory that a run of `plan` takes; a quantisation that is still open is taken as none.

    Args:
        rows: of the run, or a sample of them; empty where they are not known, and then every
            text is taken to be as long as the plan allows.
    """
    width = 2 if number_format(base, plan) == "bfloat16" else 4
    part = _largest_part(rows or _longest(plan, base.context), recipe, plan)
    layers, outputs, hidden, vocabulary = _shape(base.shapes)
    heads = base.config.get("num_attention_heads", 0)
    kept = sum(row.tokens for row in part) * (outputs + _HIDDEN_COPIES * hidden * layers)
    heads = heads if isinstance(heads, int) else 0
    attention = layers * heads * sum(_attention_weights(row, plan) for row in part)
    per_unit = 2.0 * 4 * len(part) if plan.private else 0.0  # gradients of every pair, and norms
    return Memory(
        libraries=libraries(base.home) + _STARTED + (_PROOF if plan.private else 0.0),
        weights=_weights(base, plan, width),
        adapter=recipe.trainable * (4 + 4 + state_bytes(plan) + per_unit),
        activations=_spread(plan) * width * (_SPREAD * kept + _ATTENTION_SPREAD * attention),
        head=float(_HEAD_COPIES * 4 * plan.head_tokens * vocabulary),
    )


def _weights(base: BaseModel, plan: TrainingPlan, width: int) -> float:
    """Bytes of the base, in the number format of `width` bytes or partly in 4 bits."""
    if plan.quantisation != "nf4":
        return float(width * base.parameters)
    layers = packable(base.shapes)
    packed = sum(layers)
    held = bytes_per_number(plan.double_quantisation) * packed
    return held + width * (base.parameters - packed) + _PACKING * max(layers, default=0)


def _spread(plan: TrainingPlan) -> float:
    """What more is held where a shortcut is switched off."""
    spread = 1.0
    if not plan.fused_layers:
        spread *= 1.15
    if plan.attention == "dense":
        spread *= 1.15
    return spread if plan.one_row else 1.5 * spread


def device(plan: TrainingPlan) -> str:
    """Where the run will be computed, as far as the driver of a graphics card says."""
    if plan.device != "auto":
        return plan.device
    return "cuda" if card_memory() else "cpu"


def number_format(base: BaseModel, plan: TrainingPlan) -> str:
    """The number format that the trainer will choose, as far as it is known without a probe."""
    if plan.dtype != "auto":
        return plan.dtype
    if device(plan) == "cuda":
        return "bfloat16"
    if base.parameters < SMALL:
        return "float32"
    return "float32" if bfloat16_known(base.home) is False else "bfloat16"


def libraries(home: Home | None) -> float:
    """Bytes of a trainer before it loads a base, as measured here, or about as elsewhere."""
    known = read_fact(home, _LIBRARIES_FACT)
    usable = isinstance(known, int | float) and 1e7 < known < 1e11
    return float(known) if usable else _LIBRARIES


def remember_libraries(home: Home | None, number: int) -> None:
    """Keep what a trainer took before it loaded a base."""
    known = read_fact(home, _LIBRARIES_FACT)
    if not isinstance(known, int | float) or abs(known - number) > 0.02 * number:
        write_fact(home, _LIBRARIES_FACT, number)


def _longest(plan: TrainingPlan, context: int) -> list[Row]:
    """Rows as long as `plan` allows, a third of it prompt."""
    third = (0,) * max(1, min(plan.max_length, context) // 3)
    return [Row("", third, third, third)] * plan.micro_batch_size


def _largest_part(rows: Sequence[Row], recipe: Recipe, plan: TrainingPlan) -> list[Row]:
    """Of the micro-batches that rows of like length make, the one with most tokens."""
    most = max(1, min(plan.micro_batch_size, math.ceil(recipe.batch_size)))
    falling = sorted(rows, key=lambda each: -each.tokens)
    parts = (
        falling[place : place + max(1, min(most, plan.tokens_at_once // max(1, row.tokens)))]
        for place, row in enumerate(falling)
    )
    return max(parts, key=lambda part: sum(row.tokens for row in part))


def _attention_weights(row: Row, plan: TrainingPlan) -> int:
    """Attention weights that a head holds of a row: prompt with chosen reply, then the rejected
    one, which sees the prompt as well."""
    if plan.attention == "dense":
        return 0  # torch's own attention computes them again
    prompt, chosen, rejected = len(row.prompt), len(row.chosen), len(row.rejected)
    most = plan.attention_keys_kept
    return _in_blocks(prompt + chosen, 0, most) + _in_blocks(rejected, prompt, most)


def _in_blocks(tokens: int, before: int, most: int) -> int:
    """Every block of queries holds the weights of all keys up to its end, unless those are more
    than `most`."""
    ends = [*range(_BLOCK, tokens, _BLOCK), tokens]
    sizes = zip([0, *ends[:-1]], ends, strict=True)
    return sum((end - begin) * (before + end) for begin, end in sizes if before + end <= most)


def _shape(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int, int]:
    """(decoder layers, all outputs of their matrices together, hidden size, vocabulary)."""
    layers, outputs, hidden, vocabulary = set(), 0, 1, 1
    for name, shape in shapes.items():
        if len(shape) != 2:
            continue
        if found := _LAYER.search(name):
            layers.add(found.group(1))
            outputs += shape[0]
        elif shape[0] > vocabulary:
            vocabulary, hidden = shape
    return max(1, len(layers)), outputs, hidden, vocabulary
