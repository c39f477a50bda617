"""The checks before Start: each a colour and a sentence, for the window and the command line.

Green is ready, amber can start but should be read, red cannot start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xeno.training.plan import ADVISED_PAIRS, TrainingPlan
from xeno.training.stages import NOUNS, StageData, too_few

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
    found = [Check("Settings", "red", problem) for problem in problems]
    if plan.trial:
        title = type(plan).model_fields["trial"].title
        words = f"It only measures and makes no version. Turn {title!r} off to keep what it learns."
        found.append(Check("Trial", "amber", words))
    return found


def engine_checks(plan: TrainingPlan) -> list[Check]:
    """What the engine leaves out of what a plan says."""
    if plan.engine != "trl":
        return []
    words = (
        "TRL's engine is a check of the other one and does less: no checkpoints (an interrupted "
        "run begins again), no pauses, no smaller parts where memory runs out, no early stopping "
        "and no best step (the last one is released), no sample replies, no steps that are left "
        "out (a gradient that is not finite ends the run), and all pairs weigh the same. Stops "
        "and the time limit are obeyed after a step."
    )
    return [Check("Engine", "amber", words)]


def trl_checks(least: int, total: int) -> tuple[Check, Check]:
    """Memory and time of a run on TRL's engine, which are not foretold; `least` bytes are needed
    by whatever computes."""
    needed = memory_check(least, least, total, total)
    words = (
        f"Libraries, base and adapter take {least / _GB:.1f} GB. How much TRL's engine takes "
        "besides is not known before it runs: it computes a whole batch at once, and needs "
        "several times the memory of the other engine."
    )
    return (
        needed if needed.verdict == "red" else Check("Memory", "amber", words),
        Check("Time", "green", "How long TRL's engine takes is not known before it runs."),
    )


def base_checks(packed: str) -> list[Check]:
    """How the base is held, where that was not asked for: `packed` says why."""
    return [Check("Base model", "amber", packed)] if packed else []


def unit_checks(
    plan: TrainingPlan, stages: Sequence[StageData], left_out: Mapping[str, int]
) -> list[Check]:
    """Whether there is enough to learn from, and what is not learned from."""
    found: list[Check] = []
    for stage in stages:
        units, noun = len(stage.units), NOUNS[stage.name]
        name = noun.capitalize()
        if error := too_few(stage, plan.force):
            words = f"{error.why if units else error.what} {error.todo}"
            found.append(Check(name, "red", words))
        elif units < ADVISED_PAIRS:
            rough = "the noise is strong" if plan.private else "a taste shows only roughly"
            words = f"With {units} {noun} {rough}; about {ADVISED_PAIRS} or more are advised."
            found.append(Check(name, "amber", words))
        else:
            words = f"{len(stage.training)} {noun} to learn from, {len(stage.held_out)} held out."
            found.append(Check(name, "green", words))
        if units and plan.heldout_share > 0 and not stage.held_out:
            words = (
                f"None of the {noun} is held out, since there are too few groups of them: what "
                "was learned cannot be measured."
            )
            found.append(Check("Held out", "amber", words))
    if left_out:
        said = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        found.append(Check("Left out", "amber", f"Not everything is used: {said}."))
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


def disk_check(needed: int, free: int, floor: int = 0) -> Check:
    """Whether what the run writes fits on the disk; below `floor` free bytes a run pauses."""
    if needed + floor > free:
        return Check(
            "Disk",
            "red",
            f"About {needed / 1e6:.0f} MB are written, {free / 1e6:.0f} MB are free and "
            f"{floor / 1e6:.0f} MB must stay free. Free some space.",
        )
    verdict: Verdict = "amber" if needed > (free - floor) / 2 else "green"
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
        words = "No differential privacy: single ones may be recoverable from the version."
        return [Check("Privacy", "green", words)]
    if problem:
        return [Check("Privacy", "red", problem)]
    if warnings:
        return [Check("Privacy", "amber", warning) for warning in warnings]
    return [Check("Privacy", "green", spend)] if spend else []


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
