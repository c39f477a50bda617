"""What a run is computed with: device, threads, number formats, and which shortcuts.

Whatever a plan leaves open is chosen here, by a probe where only a measurement can tell. Probes
are remembered in the machine's file.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import psutil
import torch

from xeno.errors import InvalidValueError
from xeno.models.loading import Dtype, bfloat16_is_faster, choose_dtype
from xeno.models.machine import read_fact, write_fact
from xeno.training import quantisation
from xeno.training.policy import Policy, Shortcuts

if TYPE_CHECKING:
    from xeno.models.base import BaseModel
    from xeno.paths import Home
    from xeno.training.plan import TrainingPlan

_WORTH = 0.9
"""More threads are used if they take less than this share of the time: other programs, the chat
among them, need the rest."""


def set_up(plan: TrainingPlan, base: BaseModel) -> tuple[torch.device, Dtype]:
    """Make this process compute as planned, and return the device and the base's number format.

    Raises:
        InvalidValueError: if the plan asks for a device or a library that is not there.
    """
    if reason := quantisation.unusable(plan):
        raise InvalidValueError(
            "The base cannot be held in 4 bits here.",
            reason,
            "Set the quantisation to auto or none, or install bitsandbytes.",
        )
    home = base.home
    torch.set_num_threads(plan.threads or threads(home, again=plan.measure_again))
    # "medium" lets products of float32 matrices run in bfloat16 where the processor has it.
    torch.set_float32_matmul_precision("medium" if plan.fast_products else "highest")
    device = _device(plan.device)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported() and plan.dtype != "float32"
        return device, "bfloat16" if fast else "float32"
    if plan.measure_again:
        bfloat16_is_faster(home, again=True)
    return device, choose_dtype(base, plan.dtype)


def dtype_name(model: Any) -> str:
    """The number format of `model`'s parameters, e.g. "bfloat16"."""
    return str(model.dtype).removeprefix("torch.")


def memory(device: torch.device) -> int:
    """Bytes that `device` has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return psutil.virtual_memory().total


def shortcuts(plan: TrainingPlan) -> Shortcuts:
    """The shortcuts that the plan allows; none for TRL, which gets the model as it is."""
    if plan.engine == "trl":
        return Shortcuts(attention="dense", one_row=False, fused=False)
    return Shortcuts(
        attention=plan.attention,
        one_row=plan.one_row,
        fused=plan.fused_layers,
        head_tokens=plan.head_tokens,
        kept_keys=plan.attention_keys_kept,
    )


def described(policy: Policy) -> str:
    """A sentence for the log: how this base is computed."""
    if policy.packed:
        form = "pairs packed without padding"
    elif policy.rows_per_pair == 1:
        form = "one padded row for each pair"
    else:
        form = "two sequences for each pair, which is slower"
    head = "predictions of reply tokens only" if policy.direct_head else "predictions of all tokens"
    layers = f", {policy.fused} fused layers" if policy.fused else ""
    base = ", base in 4 bits" if getattr(policy.model, "is_loaded_in_4bit", False) else ""
    return (
        f"Computed on {policy.model.device.type} with {torch.get_num_threads()} threads: "
        f"{form}, {head}{layers}{base}."
    )


def passed_over(device: torch.device) -> str:
    """A sentence where this machine has an accelerator that runs do not use; otherwise empty."""
    if device.type == "cpu" and torch.backends.mps.is_available():
        return "Runs do not use Apple's graphics (MPS); this one is computed on the processor."
    return ""


def threads(home: Home | None = None, *, again: bool = False) -> int:
    """The number of threads that is worth its cores: half of them or all, at least two where
    there are two. Measured once (about half a second) and remembered."""
    cores = os.cpu_count() or 1
    half = max(min(2, cores), cores // 2)
    if half == cores:
        return cores
    name = f"threads of {cores} with torch {torch.__version__}"
    known = None if again else read_fact(home, name)
    if isinstance(known, int) and known in (half, cores):
        return known
    chosen = _faster(half, cores)
    write_fact(home, name, chosen)
    return chosen


def _faster(few: int, many: int) -> int:
    """Best times of what a training step mostly does, taken in turn so that a busy machine slows
    both."""
    before = torch.get_num_threads()
    best = {few: float("inf"), many: float("inf")}
    x, weight = torch.ones(1024, 1024), torch.ones(1024, 1024)
    try:
        with torch.inference_mode():
            for _ in range(8):
                for count in best:
                    torch.set_num_threads(count)
                    begun = time.perf_counter()
                    torch.nn.functional.silu(torch.nn.functional.linear(x, weight))
                    best[count] = min(best[count], time.perf_counter() - begun)
    finally:
        torch.set_num_threads(before)
    return many if best[many] < _WORTH * best[few] else few


def _device(wanted: str) -> torch.device:
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InvalidValueError(
            "There is no graphics card to train on.",
            "This installation of torch finds none that it can use.",
            "Set the device to auto or cpu.",
        )
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")
