"""Settings chosen from the pairs: how many, how long, how sure; each with its reason.

Under differential privacy a setting that follows from what the pairs say would leak it past the
noise. There, only the number of pairs decides, which the guarantee does not protect.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xeno.models.base import inspect_base
from xeno.training.dataset import Sample
from xeno.training.lengths import Encoded, uncut
from xeno.training.plan import ADVISED_PAIRS, TrainingPlan
from xeno.training.stages import NOUNS, stage_data

if TYPE_CHECKING:
    from xeno.store.pairs import Pair
    from xeno.store.profile import Profile

_FEW, _MANY = ADVISED_PAIRS, 1000
_LENGTHS = (128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384, 32768)
_COVERED = 0.99
_UNSURE = 0.8
_MOST_SMOOTHING = 0.3
_NEARLY_SURE = 0.05


@dataclass(frozen=True)
class Choice:
    """A value for a setting, and why, in a sentence."""

    setting: str
    value: Any
    reason: str


def choose(profile: Profile, plan: TrainingPlan) -> tuple[Choice, ...]:
    """What `profile` holds says about the settings of `plan`; its other settings stay.

    Raises:
        BaseModelError: if the base cannot be used.
    """
    stages = stage_data(profile, plan)
    stage = stages[-1]
    count, noun = len(stage.units), NOUNS[stage.name]
    if not count:
        return ()
    if plan.private:
        return _from_count_in_private(count, noun)
    base = inspect_base(Path(plan.base), profile.home)
    found = _from_count(count, noun)
    if stage.name == "dpo":
        found += _from_noise([unit for unit in stage.units if not isinstance(unit, Sample)])
    if choice := _from_lengths(uncut(base, stage), base.context):
        found.append(choice)
    return tuple(found)


def _from_count_in_private(count: int, noun: str) -> tuple[Choice, ...]:
    rank = 4 if count < 5 * _MANY else 8
    return (Choice("lora_rank", rank, f"{count} {noun} carry an adapter of rank {rank}."),)


def _from_count(count: int, noun: str) -> list[Choice]:
    if count < _FEW:
        return [
            Choice("lora_rank", 4, f"{count} {noun} are few: a small adapter learns them less by "
                   "heart."),
            Choice("batch_size", 4, f"With {count} {noun}, small batches give enough steps."),
            Choice("heldout_share", 0.2, f"A tenth of {count} {noun} would measure too roughly."),
        ]  # fmt: skip
    if count < _MANY:
        return [
            Choice("lora_rank", 8, f"{count} {noun} carry an adapter of rank 8."),
            Choice("batch_size", 8, f"{count} {noun} give enough steps of 8."),
            Choice("heldout_share", 0.1, f"A tenth of {count} {noun} measures well enough."),
        ]
    return [
        Choice("lora_rank", 16, f"{count} {noun} carry an adapter of rank 16."),
        Choice("batch_size", 16, f"{count} {noun} give enough steps of 16, which are steadier."),
        Choice("heldout_share", 0.05, f"One in twenty of {count} {noun} measures well enough."),
    ]


def _from_noise(pairs: Sequence[Pair]) -> list[Choice]:
    """Closer to the base, and less sure of each pair, the less sure the pairs are."""
    sure = statistics.fmean(pair.confidence for pair in pairs)
    good = statistics.fmean(pair.quality for pair in pairs)
    found = []
    if min(sure, good) < _UNSURE:
        found.append(
            Choice(
                "beta",
                0.1,
                f"The pairs are unsure (confidence {sure:.2f}, quality {good:.2f} on average), so "
                "the version stays closer to the base.",
            )
        )
    else:
        found.append(
            Choice(
                "beta",
                0.05,
                f"The pairs are sure (confidence {sure:.2f}, quality {good:.2f} on average).",
            )
        )
    wrong = round(min(_MOST_SMOOTHING, 1 - sure), 2)
    if wrong < _NEARLY_SURE:
        return found
    reason = f"About {wrong:.0%} of the preferences may be the wrong way round."
    return [
        *found,
        Choice("loss", "robust", reason),
        Choice("label_smoothing", wrong, reason),
    ]


def _from_lengths(found: Encoded, context: int) -> Choice | None:
    """The shortest of the usual lengths that holds nearly everything whole."""
    if not found.rows:
        return None
    needed = sorted(len(row.prompt) + max(len(row.chosen), len(row.rejected)) for row in found.rows)
    covered = needed[min(len(needed) - 1, int(_COVERED * len(needed)))]
    limit = next((each for each in _LENGTHS if each >= covered), _LENGTHS[-1])
    limit = max(64, min(limit, context))
    return Choice(
        "max_length",
        limit,
        f"99 of 100 texts with a reply have at most {covered} tokens."
        if covered <= limit
        else f"The base reads {limit} tokens; some texts with a reply have {covered}.",
    )
