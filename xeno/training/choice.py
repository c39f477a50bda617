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
from xeno.training.dataset import training_pairs
from xeno.training.lengths import Length, lengths
from xeno.training.plan import ADVISED_PAIRS, TrainingPlan
from xeno.training.selection import select

if TYPE_CHECKING:
    from xeno.store.pairs import Pair
    from xeno.store.profile import Profile

_FEW, _MANY = ADVISED_PAIRS, 1000
_LENGTHS = (128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384, 32768)
_COVERED = 0.99
_UNSURE = 0.8
_MOST_SMOOTHING = 0.3


@dataclass(frozen=True)
class Choice:
    """A value for a setting, and why, in a sentence."""

    setting: str
    value: Any
    reason: str


def choose(profile: Profile, plan: TrainingPlan) -> tuple[Choice, ...]:
    """What the pairs of `profile` say about the settings of `plan`; its other settings stay.

    Raises:
        BaseModelError: if the base cannot be used.
    """
    pairs = select(training_pairs(profile), plan).pairs
    if not pairs:
        return ()
    if plan.private:
        return _from_count_in_private(len(pairs))
    base = inspect_base(Path(plan.base), profile.home)
    found = [*_from_count(len(pairs)), *_from_noise(pairs)]
    if choice := _from_lengths(lengths(base, pairs), base.context):
        found.append(choice)
    return tuple(found)


def with_choices(plan: TrainingPlan, choices: Sequence[Choice]) -> TrainingPlan:
    """`plan` with the chosen values."""
    return TrainingPlan.model_validate(
        plan.model_dump() | {choice.setting: choice.value for choice in choices}
    )


def _from_count_in_private(count: int) -> tuple[Choice, ...]:
    if count < 2 * _FEW:
        return (
            Choice(
                "lora_rank",
                2,
                f"With {count} pairs the noise is loud, and a smaller adapter has less of it.",
            ),
        )
    rank = 4 if count < 5 * _MANY else 8
    return (Choice("lora_rank", rank, f"{count} pairs carry an adapter of rank {rank}."),)


def _from_count(count: int) -> list[Choice]:
    if count < _FEW:
        return [
            Choice("lora_rank", 4, f"{count} pairs are few: a small adapter learns them less by "
                   "heart."),
            Choice("batch_size", 4, f"With {count} pairs, small batches give enough steps."),
            Choice("heldout_share", 0.2, f"A tenth of {count} pairs would measure too roughly."),
        ]  # fmt: skip
    if count < _MANY:
        return [
            Choice("lora_rank", 8, f"{count} pairs carry an adapter of rank 8."),
            Choice("batch_size", 8, f"{count} pairs give enough steps of 8."),
            Choice("heldout_share", 0.1, f"A tenth of {count} pairs measures well enough."),
        ]
    return [
        Choice("lora_rank", 16, f"{count} pairs carry an adapter of rank 16."),
        Choice("batch_size", 16, f"{count} pairs give enough steps of 16, which are steadier."),
        Choice("heldout_share", 0.05, f"One in twenty of {count} pairs measures well enough."),
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
    if "label_smoothing" in TrainingPlan.model_fields:
        wrong = round(min(_MOST_SMOOTHING, max(0.0, 1 - sure)), 2)
        found.append(
            Choice(
                "label_smoothing",
                wrong,
                f"About {wrong:.0%} of the preferences may be the wrong way round."
                if wrong
                else "Every preference is certain.",
            )
        )
    return found


def _from_lengths(found: Sequence[Length], context: int) -> Choice | None:
    """The shortest of the usual lengths that holds nearly all pairs whole."""
    if not found:
        return None
    needed = sorted(each.longest for each in found)
    covered = needed[min(len(needed) - 1, int(_COVERED * len(needed)))]
    limit = next((each for each in _LENGTHS if each >= covered), _LENGTHS[-1])
    limit = max(64, min(limit, context))
    return Choice(
        "max_length",
        limit,
        f"99 of 100 pairs need at most {covered} tokens."
        if covered <= limit
        else f"The base reads {limit} tokens; some pairs need up to {covered}.",
    )
