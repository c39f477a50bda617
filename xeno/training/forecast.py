"""What a run will do, need and cost, said before Start. Light: no torch, no Opacus, no reading of
weights, and under a second.

    pairs -> recipe -> lengths -> memory, disk, time -> privacy -> checks -> verdict
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from xeno.models.base import BaseModel, inspect_base
from xeno.privacy.budget import strength
from xeno.privacy.ledger import PrivacyLedger
from xeno.training import checks, timing
from xeno.training.checks import Check, Verdict
from xeno.training.dataset import split_for, training_pairs
from xeno.training.disk import bytes_written
from xeno.training.lengths import Length, lengths, misfits
from xeno.training.memory import number_format, predicted
from xeno.training.noise_forecast import NoiseForecast, noise_forecast
from xeno.training.optimizers import unusable
from xeno.training.plan import TrainingPlan
from xeno.training.presets import card_memory
from xeno.training.recipe import Recipe, resolve
from xeno.training.selection import select

if TYPE_CHECKING:
    from xeno.store.pairs import Pair
    from xeno.store.profile import Profile


@dataclass(frozen=True)
class Forecast:
    """The numbers and words for a plan. The privacy fields are None without privacy.

    Attributes:
        noise_to_signal: see `NoiseForecast`.
        epsilon_run: what the run will cost alone, at most.
        epsilon_after: what the account will have spent with it.
        blockers: why the run cannot start; empty where it can.
        sentence: all of it in plain words.
        memory_bytes: at the peak of the trainer.
        disk_bytes: written into the profile.
        seconds: from start to version; None where no run has shown this machine's speed.
        left_out: pairs that are not learned from, counted by reason.
        checks: what was looked at, each with its verdict; `verdict` is the worst.
    """

    pairs: int
    pairs_training: int
    pairs_heldout: int
    private: bool
    sample_rate: float | None
    steps: int
    noise_multiplier: float | None
    noise_to_signal: float | None
    epsilon_run: float | None
    epsilon_spent: float
    budget: float
    epsilon_after: float | None
    blockers: tuple[str, ...]
    warnings: tuple[str, ...]
    sentence: str
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    seconds: float | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    verdict: Verdict = "green"
    checks: tuple[Check, ...] = ()


def forecast(profile: Profile, plan: TrainingPlan) -> Forecast:
    """Forecast `plan` on the pairs of `profile`.

    Raises:
        BaseModelError: if the base cannot be used.
    """
    base = inspect_base(Path(plan.base), profile.home)
    selected = select(training_pairs(profile), plan)
    pairs = selected.pairs
    training, held_out = split_for(plan, pairs)
    recipe = resolve(plan, len(training), base.shapes)
    ledger = PrivacyLedger(profile)
    budget, budget_delta = ledger.budget()
    spent = ledger.spent()
    problem, run = "", None
    if plan.private and training:
        run = noise_forecast(plan, recipe, ledger.history(), budget, budget_delta)
        if run is None or run.epsilon < plan.least_epsilon_share * plan.epsilon:
            left = f"leaves epsilon {run.epsilon:.2f}" if run else "leaves nothing"
            problem = (
                f"The privacy budget {left} for this run: {spent:.2f} of {budget:g} is spent. "
                "Ask for a smaller epsilon, raise the budget, or train without privacy."
            )
    sentence = _sentence(plan, len(training), recipe.steps, run, budget)
    found = lengths(base, pairs)
    left_out = dict(selected.left_out) | misfits(found, base, plan, len(pairs))
    made = [
        *checks.settings_checks(plan, unusable(plan, _device(plan))),
        *checks.pair_checks(plan, len(pairs), len(training), len(held_out), left_out),
        *checks.privacy_checks(plan, sentence, problem, run.warnings if run else ()),
    ]
    needs = _needs(profile, base, plan, recipe, found, training, held_out) if training else None
    if needs is not None:
        made += needs.checks
    return Forecast(
        pairs=len(pairs),
        pairs_training=len(training),
        pairs_heldout=len(held_out),
        private=plan.private,
        sample_rate=recipe.sample_rate if plan.private else None,
        steps=recipe.steps,
        noise_multiplier=run.noise_multiplier if run else None,
        noise_to_signal=run.noise_to_signal if run else None,
        epsilon_run=run.epsilon if run else None,
        epsilon_spent=spent,
        budget=budget,
        epsilon_after=run.epsilon_after if run else None,
        blockers=tuple(check.sentence for check in made if check.verdict == "red"),
        warnings=tuple(check.sentence for check in made if check.verdict == "amber"),
        sentence=sentence,
        memory_bytes=needs.memory if needs else None,
        disk_bytes=needs.disk if needs else None,
        seconds=needs.seconds if needs else None,
        left_out=left_out,
        verdict=checks.overall(made),
        checks=tuple(made),
    )


def _device(plan: TrainingPlan) -> str:
    """Where the optimizer would run; the driver is only asked for one that needs a card."""
    return "cuda" if plan.optimizer.endswith("8bit") and card_memory() else "cpu"


@dataclass(frozen=True)
class _Needs:
    memory: int
    disk: int
    seconds: float | None
    checks: tuple[Check, ...]


def _needs(
    profile: Profile,
    base: BaseModel,
    plan: TrainingPlan,
    recipe: Recipe,
    found: list[Length],
    training: list[Pair],
    held_out: list[Pair],
) -> _Needs:
    """What the run takes of the machine, and whether the machine has it."""
    memory = predicted(base, plan, recipe, found)
    disk = bytes_written(base, plan, recipe)
    seconds = None
    if found:
        mean = sum(each.row for each in found) / len(found)
        ahead = timing.work(plan, recipe, mean, len(training), len(held_out))
        seconds = timing.seconds(base, number_format(base, plan), ahead)
    machine = psutil.virtual_memory()
    return _Needs(
        memory.total,
        disk,
        seconds,
        (
            checks.memory_check(memory.total, memory.least, machine.available, machine.total),
            checks.disk_check(disk, shutil.disk_usage(profile.paths.folder).free),
            checks.time_check(seconds),
        ),
    )


def _sentence(
    plan: TrainingPlan, training: int, steps: int, run: NoiseForecast | None, budget: float
) -> str:
    if not plan.private:
        return (
            f"Learns from {training} pairs in {steps} steps without differential privacy: "
            "single pairs may be recoverable from the version."
        )
    if run is None:
        return "A private run cannot start."
    return (
        f"Learns from {training} pairs in {steps} noisy steps at epsilon {run.epsilon:.2f} "
        f"({strength(run.epsilon)} protection of every single pair). Afterwards "
        f"{run.epsilon_after:.2f} of the budget of {budget:g} is spent."
    )
