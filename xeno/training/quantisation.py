"""Whether a run holds its base in 4 bits: as planned, or where memory leaves no choice. Light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from xeno.models.four_bit import has_bitsandbytes
from xeno.training.memory import number_format, predicted
from xeno.training.recipe import resolve

if TYPE_CHECKING:
    from xeno.models.base import BaseModel
    from xeno.training.plan import TrainingPlan

Quantisation = Literal["none", "nf4"]

_GB = 1e9
_ROOM = 0.9
"""Part of the device's memory that a run may fill."""


class Choice(NamedTuple):
    """What a run does, and why in a sentence; empty where there is nothing to say."""

    quantisation: Quantisation
    reason: str


def unusable(plan: TrainingPlan) -> str:
    """Why the quantisation of `plan` cannot be used here; empty where it can."""
    if plan.quantisation == "nf4" and not has_bitsandbytes():
        return "A base in 4 bits needs bitsandbytes, which is not installed."
    return ""


def choose(plan: TrainingPlan, base: BaseModel, device: str, memory: int) -> Choice:
    """How the base is held.

    What is automatic follows from plan, base and machine alone, not from the pairs nor from what
    other programs take, so that a forecast and its run choose the same: 4 bits where a single
    pair as long as the plan allows would not fit otherwise.

    Args:
        device: "cpu" or "cuda".
        memory: bytes that `device` has.
    """
    if plan.quantisation != "auto":
        return Choice(plan.quantisation, "")
    needed = _needed(settled(plan, "none", device), base)
    if needed <= _ROOM * memory or plan.engine == "trl" or not has_bitsandbytes():
        return Choice("none", "")
    if _needed(settled(plan, "nf4", device), base) >= needed:  # few layers, or tiny ones
        return Choice("none", "")
    return Choice(
        "nf4",
        f"The base is held in 4 bits (NF4): in {number_format(base, plan)} a run would "
        f"need about {needed / _GB:.1f} GB, and this device has {memory / _GB:.1f}.",
    )


def settled(plan: TrainingPlan, quantisation: Quantisation, device: str) -> TrainingPlan:
    """`plan` with these two no longer open."""
    return plan.model_copy(update={"quantisation": quantisation, "device": device})


def _needed(plan: TrainingPlan, base: BaseModel) -> int:
    """Bytes that the device of a settled plan has to hold at the peak, one pair at a time."""
    alone = plan.model_copy(update={"micro_batch_size": 1})
    memory = predicted(base, alone, resolve(alone, 1, base.shapes), ())
    return memory.on_card if plan.device == "cuda" else memory.total
