"""What a run will do, need and cost, said before Start. Light: no torch, no Opacus, no reading of
weights, and under a second.

    units -> recipes -> rows -> memory, disk, time -> privacy -> checks -> verdict
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from xeno.models.base import BaseModel, inspect_base
from xeno.privacy.budget import strength
from xeno.privacy.ledger import PrivacyLedger
from xeno.training import checks, quantisation, timing
from xeno.training.accuracy_forecast import AccuracyForecast, accuracy_forecast
from xeno.training.checks import Check, Verdict
from xeno.training.disk import bytes_written
from xeno.training.lengths import Encoded, encoded, said
from xeno.training.memory import Memory, device, number_format, predicted
from xeno.training.noise_forecast import NoiseForecast, noise_forecast
from xeno.training.optimizers import unusable
from xeno.training.plan import TrainingPlan
from xeno.training.presets import card_memory
from xeno.training.quantisation import choose, settled
from xeno.training.recipe import Recipe, resolve
from xeno.training.stages import StageData, amount, stage_data
from xeno.training.units import count_units
from xeno.words import count

if TYPE_CHECKING:
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
        memory_bytes: at the peak of the trainer; None where it is not known.
        disk_bytes: written into the profile.
        seconds: from start to version; None where it is not known.
        left_out: pairs that are not learned from, counted by reason.
        checks: what was looked at, each with its verdict; `verdict` is the worst.
        accuracy: what to expect on held-out pairs; None without privacy and of other methods.
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
    accuracy: AccuracyForecast | None = None


def forecast(profile: Profile, plan: TrainingPlan) -> Forecast:
    """Forecast `plan` on what `profile` holds.

    Raises:
        BaseModelError: if the base cannot be used.
        InvalidValueError: if the plan names modules that the base does not have.
    """
    base = inspect_base(Path(plan.base), profile.home)
    where = device(plan)
    choice = choose(plan, base, where, _device_memory(where))
    problems = unusable(plan, where) or quantisation.unusable(plan)
    plan = settled(plan, choice.quantisation, where)
    stages = stage_data(profile, plan)
    recipes = [
        resolve(stage.plan, count_units(stage.plan, stage.training), base.shapes)
        for stage in stages
    ]
    steps = sum(recipe.steps for recipe in recipes)
    ready = all(stage.training for stage in stages)
    found = [encoded(base, stage) for stage in stages]
    left_out = _left_out(base, stages, found)
    ledger = PrivacyLedger(profile)
    unit = plan.privacy_unit
    budget, spent = ledger.budget(unit), ledger.spent(unit)
    run: NoiseForecast | None = None
    problem = ""
    if plan.private and ready:
        run = noise_forecast(plan, recipes, ledger.history(unit), *budget, spent)
        problem = _too_little_budget(plan, run, budget[0], spent)
    sentence = _sentence(plan, stages, steps, run, budget[0])
    made = [
        *checks.settings_checks(plan, problems),
        *checks.engine_checks(plan),
        *checks.base_checks(choice.reason),
        *checks.unit_checks(plan, stages, left_out),
        *checks.privacy_checks(plan, sentence, problem, run.warnings if run else ()),
    ]
    needs = _needs(profile, base, stages, recipes, found) if ready else None
    if needs is not None:
        made += needs.checks
    return Forecast(
        pairs=sum(len(stage.units) for stage in stages),
        pairs_training=sum(len(stage.training) for stage in stages),
        pairs_heldout=sum(len(stage.held_out) for stage in stages),
        private=plan.private,
        sample_rate=recipes[-1].sample_rate if plan.private else None,
        steps=steps,
        noise_multiplier=run.noise_multiplier if run else None,
        noise_to_signal=run.noise_to_signal if run else None,
        epsilon_run=run.epsilon if run else None,
        epsilon_spent=spent,
        budget=budget[0],
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
        accuracy=_accuracy(stages[-1], recipes[-1], run),
    )


def _accuracy(
    stage: StageData, recipe: Recipe, run: NoiseForecast | None
) -> AccuracyForecast | None:
    """None where it was not measured: for other methods, and adapters whose A learns too."""
    if run is None or stage.name != "dpo" or recipe.adapter.kind != "lora_b_only":
        return None
    return accuracy_forecast(stage.plan, recipe, run.noise_multiplier)


@dataclass(frozen=True)
class _Needs:
    memory: int | None
    disk: int
    seconds: float | None
    checks: tuple[Check, ...]


def _needs(
    profile: Profile,
    base: BaseModel,
    stages: Sequence[StageData],
    recipes: Sequence[Recipe],
    found: Sequence[Encoded],
) -> _Needs:
    """What the run takes of the machine, and whether the machine has it."""
    plan = stages[0].plan
    memory = max(
        (
            predicted(base, stage.plan, recipe, each.rows)
            for stage, recipe, each in zip(stages, recipes, found, strict=True)
        ),
        key=lambda each: each.total,
    )
    disk = bytes_written(base, plan, recipes[0], sum(recipe.steps for recipe in recipes))
    free = shutil.disk_usage(profile.paths.folder).free
    room = checks.disk_check(disk, free, floor=plan.disk_floor * 10**6)
    if plan.engine == "trl":
        least, total = _least_of(plan, memory)
        told, time = checks.trl_checks(least, total)
        return _Needs(None, disk, None, (told, room, time))
    seconds = None
    if all(each.rows for each in found):
        form = timing.form(plan.device, number_format(base, plan), plan.quantisation)
        parts = [
            timing.work(stage.plan, recipe, each.mean, len(stage.training), len(stage.held_out))
            for stage, recipe, each in zip(stages, recipes, found, strict=True)
        ]
        seconds = timing.seconds(base, form, timing.total(parts))
    found_out = (_memory_check(plan, memory), room, checks.time_check(seconds))
    return _Needs(memory.total, disk, seconds, found_out)


def _left_out(
    base: BaseModel, stages: Sequence[StageData], found: Sequence[Encoded]
) -> dict[str, int]:
    """What is stored and not learned from, by reason; pairs of two stages are counted once."""
    reasons: dict[str, int] = {}
    for stage, each in zip(stages, found, strict=True):
        reasons |= stage.left_out
        reasons |= said(base, stage, each)
    return reasons


def _too_little_budget(
    plan: TrainingPlan, run: NoiseForecast | None, budget: float, spent: float
) -> str:
    """Why the budget does not allow the run; empty where it does."""
    if run is not None and run.epsilon >= plan.least_epsilon_share * plan.epsilon:
        return ""
    left = f"leaves epsilon {run.epsilon:.2f}" if run else "leaves nothing"
    return (
        f"The privacy budget {left} for this run: {spent:.2f} of {budget:g} is spent. "
        "Ask for a smaller epsilon, raise the budget, or train without privacy."
    )


def _device_memory(device: str) -> int:
    """Bytes that `device` has; the machine's where the card's are not known."""
    return (card_memory() if device == "cuda" else None) or psutil.virtual_memory().total


def _least_of(plan: TrainingPlan, needed: Memory) -> tuple[int, int]:
    """What of `needed` no setting of the batches can lower, and what the device has."""
    card = card_memory() if plan.device == "cuda" else None
    if card is None:
        return needed.least, psutil.virtual_memory().total
    return round(needed.least - needed.libraries), card


def _memory_check(plan: TrainingPlan, needed: Memory) -> Check:
    least, total = _least_of(plan, needed)
    if plan.device == "cuda" and card_memory():
        return checks.memory_check(needed.on_card, least, total, total)
    machine = psutil.virtual_memory()
    return checks.memory_check(needed.total, least, machine.available, total)


def _sentence(
    plan: TrainingPlan,
    stages: Sequence[StageData],
    steps: int,
    run: NoiseForecast | None,
    budget: float,
) -> str:
    what = ", then ".join(amount(len(stage.training), stage.name) for stage in stages)
    if not plan.private:
        return (
            f"Learns from {what} in {count(steps, 'step')} without differential privacy: "
            "single ones may be recoverable from the version."
        )
    if run is None:
        return "A private run cannot start."
    one = "one" if plan.privacy_unit == "pair" else plan.privacy_unit
    return (
        f"Learns from {what} in {count(steps, 'noisy step')} at epsilon {run.epsilon:.2f} "
        f"({strength(run.epsilon)} protection of every single {one}). Afterwards "
        f"{run.epsilon_after:.2f} of the budget of {budget:g} is spent."
    )
