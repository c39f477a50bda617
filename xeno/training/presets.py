"""Presets by machine and strengths by wish: named values for several settings at once.

A preset says what fits into a machine, a strength how far a version may move from the base.
Neither knows the pairs; what follows from those is in `xeno.training.choice`. Light: no torch.
"""

from __future__ import annotations

import difflib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psutil

from xeno.errors import InvalidValueError
from xeno.training.plan import TrainingPlan

_GB = 2**30
RATES = {"sft": 2e-5, "kto": 5e-6, "ipo": 5e-7, "dpo": 5e-6}
"""Learning rates of the "full" preset by method: small, for thousands of pairs."""


@dataclass(frozen=True)
class Preset:
    """Values of settings under a name. `values` has them for a run without privacy."""

    name: str
    title: str
    sentence: str
    values: Mapping[str, Any]


def _machine(
    rank: int | None, batch: int, at_once: int, length: int, epochs: int | None
) -> dict[str, Any]:
    return {
        "lora_rank": rank,
        "lora_alpha": None if rank is None else 2.0 * rank,
        "batch_size": batch,
        "micro_batch_size": at_once,
        "max_length": length,
        "epochs": epochs,
        "learning_rate": None,
    }


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "cpu",
            "Processor",
            "Trains on the processor. Rank, epochs and learning rate follow from the run.",
            _machine(None, 8, 8, 1024, None),
        ),
        Preset(
            "8gb",
            "8 GB",
            "Fits into 8 GB: rank 4, four pairs a step one at a time, 512 tokens, one epoch.",
            _machine(4, 4, 1, 512, 1),
        ),
        Preset(
            "16gb",
            "16 GB",
            "Fits into 16 GB: rank 8, eight pairs a step two at a time, 1024 tokens, two epochs.",
            _machine(8, 8, 2, 1024, 2),
        ),
        Preset(
            "24gb",
            "24 GB",
            "Fits into 24 GB: rank 16, eight pairs a step four at a time, 2048 tokens, two epochs.",
            _machine(16, 8, 4, 2048, 2),
        ),
        Preset(
            "full",
            "Full",
            "For large cards and thousands of pairs: rank 16, three epochs at the small learning "
            "rates of published recipes.",
            _machine(16, 16, 8, 2048, 3),
        ),
    )
}

STRENGTHS: dict[str, Preset] = {
    strength.name: strength
    for strength in (
        Preset(
            "gentle",
            "Gentle",
            "Stays close to the base.",
            {"beta": 0.2, "rate_scale": 0.5, "steps_scale": 1.0},
        ),
        Preset(
            "normal",
            "Normal",
            "Learns the taste and keeps the language.",
            {"beta": 0.05, "rate_scale": 1.0, "steps_scale": 1.0},
        ),
        Preset(
            "strong",
            "Strong",
            "Moves further from the base, and may lose some of its fluency.",
            {"beta": 0.02, "rate_scale": 1.5, "steps_scale": 1.5},
        ),
    )
}


def preset_values(name: str, *, private: bool, method: str = "dpo") -> dict[str, Any]:
    """What the preset `name` sets for a run, for every setting that any preset sets.

    In a private run an epoch is a step over all pairs, and a learning rate is in units of the
    clipping norm: both stay automatic there. The learning rate of "full" depends on the method.

    Raises:
        InvalidValueError: there is no such preset.
    """
    values = dict(_named(PRESETS, name, "preset").values)
    if private:
        values["epochs"] = None
    elif name == "full":
        values["learning_rate"] = RATES.get(method, RATES["dpo"])
    return values


def strength_values(name: str) -> dict[str, Any]:
    """What the strength `name` sets.

    Raises:
        InvalidValueError: there is no such strength.
    """
    return dict(_named(STRENGTHS, name, "strength").values)


def preset_of(plan: TrainingPlan) -> str | None:
    """The preset whose values `plan` has, or None where they are its own."""
    method = method_of(plan)
    for name in PRESETS:
        if _has(plan, preset_values(name, private=plan.private, method=method)):
            return name
    return None


def strength_of(plan: TrainingPlan) -> str | None:
    """The strength whose values `plan` has, or None where they are its own."""
    return next((name for name in STRENGTHS if _has(plan, strength_values(name))), None)


def method_of(plan: TrainingPlan) -> str:
    """The method by whose name `RATES` are listed: a loss of DPO's family may have its own."""
    for name in ("loss", "method"):
        value = getattr(plan, name, None)
        if value in RATES:
            return str(value)
    return "dpo"


def detect() -> str:
    """The name of the preset that fits this machine: by the memory of its CUDA card, otherwise
    by its own."""
    card = card_memory()
    memory = card or psutil.virtual_memory().total
    if card is None:
        return "8gb" if memory < 12 * _GB else "cpu"
    for name, least in (("full", 40), ("24gb", 22), ("16gb", 14)):
        if memory >= least * _GB:
            return name
    return "8gb"


@lru_cache(maxsize=1)
def card_memory() -> int | None:
    """Bytes of memory of the largest CUDA card, None without one. Asks the driver's own tool,
    since torch takes seconds to load; cards do not come and go while a program runs."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        found = [int(line) for line in done.stdout.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return max(found) * 2**20 if found else None


def _named(known: Mapping[str, Preset], name: str, kind: str) -> Preset:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    raise InvalidValueError(
        f"There is no {kind} {name!r}.",
        f"The nearest is {near[0]!r}." if near else "",
        f"Choose one of {', '.join(known)}.",
    )


def _has(plan: TrainingPlan, values: Mapping[str, Any]) -> bool:
    return all(getattr(plan, name) == value for name, value in values.items())
