"""The checks before Start: each a colour and a sentence, for the window and the command line.

Green is ready, amber can start but should be read, red cannot start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xeno.training.plan import ADVISED_PAIRS, MINIMUM_PAIRS, TrainingPlan

Verdict = Literal["green", "amber", "red"]

_GB = 1e9
_LONG = 12 * 3600.0
_ROOM = 0.9
"""Part of the free memory above which a run would leave other programs too little."""


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, and in words."""

    name: str
    verdict: Verdict
    sentence: str


def overall(checks: Sequence[Check]) -> Verdict:
    """The worst verdict of `checks`."""
    found = {check.verdict for check in checks}
    return "red" if "red" in found else "amber" if "amber" in found else "green"


def settings_checks(plan: TrainingPlan, unusable: str) -> list[Check]:
    """Whether the settings go together; `unusable` says what of them this machine lacks."""
    problems = [*plan.contradictions(), *([unusable] if unusable else [])]
    return [Check("Settings", "red", problem) for problem in problems]


def pair_checks(
    plan: TrainingPlan, pairs: int, training: int, held_out: int, left_out: Mapping[str, int]
) -> list[Check]:
    """Whether there are enough pairs, and what becomes of those that are not learned from."""
    found: list[Check] = []
    if pairs == 0 and left_out:
        found.append(Check("Pairs", "red", f"No pair can be used: {_listed(left_out)}."))
    elif pairs == 0:
        found.append(
            Check(
                "Pairs",
                "red",
                "There are no pairs yet. Correct replies in the chat, or import a file.",
            )
        )
    elif pairs < MINIMUM_PAIRS and not plan.force:
        found.append(
            Check(
                "Pairs",
                "red",
                f"There are {pairs} pairs and {MINIMUM_PAIRS} are needed. Collect more, or choose "
                "to train with few pairs.",
            )
        )
    elif pairs < ADVISED_PAIRS:
        advice = (
            f"With {pairs} pairs the noise is strong; about {ADVISED_PAIRS} or more are advised."
            if plan.private
            else f"{pairs} pairs show a taste only roughly; about {ADVISED_PAIRS} or more are "
            "advised."
        )
        found.append(Check("Pairs", "amber", advice))
    else:
        found.append(
            Check("Pairs", "green", f"{training} pairs to learn from, {held_out} held out.")
        )
    if pairs and left_out:
        found.append(Check("Left out", "amber", f"Not every pair is used: {_listed(left_out)}."))
    if pairs and plan.heldout_share > 0 and not held_out:
        found.append(
            Check(
                "Held out",
                "amber",
                "No pair is held out, since there are too few groups of pairs: what was learned "
                "cannot be measured.",
            )
        )
    return found


def memory_check(needed: int, least: int, free: int, total: int) -> Check:
    """Whether `needed` bytes at the peak fit. Only what the run needs whatever its batches are,
    `least`, can rule it out: a smaller micro batch needs less."""
    if least > total:
        return Check(
            "Memory",
            "red",
            f"The base alone needs {least / _GB:.1f} GB and this machine has {total / _GB:.1f}. "
            "Choose a smaller base.",
        )
    if needed > _ROOM * free:
        return Check(
            "Memory",
            "amber",
            f"About {needed / _GB:.1f} GB are needed and {free / _GB:.1f} are free. Close other "
            "programs, or set a smaller micro batch or a shorter longest text.",
        )
    return Check(
        "Memory", "green", f"About {needed / _GB:.1f} GB of the {free / _GB:.1f} GB that are free."
    )


def disk_check(needed: int, free: int) -> Check:
    """Whether what the run writes fits on the disk."""
    if needed > free:
        return Check(
            "Disk",
            "red",
            f"About {needed / 1e6:.0f} MB are written and {free / 1e6:.0f} MB are free. Free some "
            "space.",
        )
    verdict: Verdict = "amber" if needed > free / 2 else "green"
    return Check(
        "Disk", verdict, f"About {needed / 1e6:.0f} MB of the {free / _GB:.1f} GB that are free."
    )


def time_check(seconds: float | None) -> Check:
    """How long it will take, where this machine's speed is known."""
    if seconds is None:
        return Check(
            "Time", "green", "How long it takes is known once a run has shown this machine's speed."
        )
    words = f"About {_duration(seconds)}."
    return Check("Time", "amber" if seconds > _LONG else "green", words)


def privacy_checks(
    plan: TrainingPlan, spend: str, problem: str, warnings: Sequence[str]
) -> list[Check]:
    """What the run costs of the budget; `problem` says why it may not run."""
    if not plan.private:
        words = "No differential privacy: single pairs may be recoverable from the version."
        return [Check("Privacy", "green", words)]
    if problem:
        return [Check("Privacy", "red", problem)]
    if warnings:
        return [Check("Privacy", "amber", warning) for warning in warnings]
    return [Check("Privacy", "green", spend)] if spend else []


def _listed(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in left_out.items())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
