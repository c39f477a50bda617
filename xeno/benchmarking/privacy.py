"""`xeno bench privacy`: what a plain LoRA and the private default learn at each epsilon.

    material -> a run for each recipe, epsilon and seed -> held-out pairs and replies -> intervals

Accuracy is the share of held-out pairs whose chosen reply has the higher mean log-probability
per token, ties one half. The same pairs are scored in every run, so differences are paired.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xeno.benchmarking.privacy_material import Material, as_score, from_file, scripted
from xeno.benchmarking.reply_rules import is_brief_bullets, repeated_4grams
from xeno.events import Sampling
from xeno.inference.engine import Engine
from xeno.models.base import inspect_base
from xeno.paths import Home
from xeno.store.pairs import Pairs
from xeno.store.profile import open_profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.training.trainer import train
from xeno.versions.registry import Registry

_ROUNDS = 2000
_REPLY = Sampling(max_tokens=160)

Say = Callable[[str], None]

PLAIN: dict[str, Any] = {"adapter_kind": "lora", "lora_rank": 8, "lora_modules": "attention"}
"""The LoRA that a run without privacy trains by default."""


@dataclass(frozen=True)
class Effort:
    """How much is measured. `epsilons` always has None, the run without privacy."""

    seeds: int
    training: int
    held_out: int
    replies: int
    epsilons: tuple[float | None, ...]


QUICK = Effort(seeds=1, training=40, held_out=30, replies=3, epsilons=(None, 8.0))


def full(seeds: int) -> Effort:
    """The benchmark as it is reported."""
    return Effort(seeds, training=200, held_out=500, replies=40, epsilons=(None, 8.0, 3.0, 1.0))


@dataclass(frozen=True)
class _Run:
    """One run: 1, 0.5 or 0 for each held-out pair, and what its replies are like."""

    right: list[float]
    taste: float
    ends: float
    repeats: float
    seconds: float


def measure(effort: Effort, data: Path | None, base: Path, say: Say) -> dict[str, Any]:
    """Measure the scripted taste, and the pairs of `data` on `base` if there are any."""
    with tempfile.TemporaryDirectory(prefix="xeno-bench-privacy-") as folder:
        say(f"Writing {effort.training + effort.held_out} pairs of the scripted taste.")
        materials = [scripted(effort.training, effort.held_out)]
        if data is not None:
            materials.append(from_file(data, base, Home.at(folder), effort.held_out))
        grid: list[dict[str, Any]] = []
        differences: list[dict[str, Any]] = []
        for material in materials:
            runs = _runs(material, effort, folder, say)
            grid += [_summary(material, key, found) for key, found in runs.items()]
            differences += _differences(material, effort, runs)
    return {
        "grid": grid,
        "differences": differences,
        "pick_longer": {each.name: _pick_longer(each) for each in materials},
        "pairs": {each.name: [len(each.training), len(each.held_out)] for each in materials},
        "missed": missed(grid),
    }


_Key = tuple[str, float | None]


def _runs(material: Material, effort: Effort, folder: str, say: Say) -> dict[_Key, list[_Run]]:
    """The runs of every recipe and epsilon, one for each seed."""
    found: dict[_Key, list[_Run]] = {}
    for recipe, settings in (("plain", PLAIN), ("default", {})):
        for epsilon in effort.epsilons:
            for seed in range(effort.seeds):
                say(f"{material.name}: {recipe}, epsilon {epsilon or 'none'}, seed {seed}.")
                privacy = {"private": epsilon is not None} | (
                    {"epsilon": epsilon} if epsilon is not None else {}
                )
                plan = TrainingPlan.model_validate(
                    {"base": str(material.base), "seed": seed, "force": True,
                     "heldout_share": 0.0, **settings, **privacy}
                )  # fmt: skip
                name = f"{material.name}-{recipe}-{epsilon or 0:g}-{seed}".lower()
                run = _run(material, plan, Home.at(folder), name, effort.replies)
                found.setdefault((recipe, epsilon), []).append(run)
    return found


def _run(material: Material, plan: TrainingPlan, home: Home, name: str, replies: int) -> _Run:
    begun = time.monotonic()
    with open_profile(home, name, protection="file") as profile:
        pairs = Pairs(profile.db)
        for pair in material.training:
            pairs.add(pair)
        finished = train(profile, Runs(profile.db).create(plan).id, lambda _: None, lambda: None)
        seconds = time.monotonic() - begun
        assert finished.version is not None, "a run that nobody stops makes a version"
        tensors, version = Registry(profile).load(finished.version)
    engine = Engine(inspect_base(material.base, home))
    engine.activate(version.address, tensors, version.manifest.adapter)
    scores = engine.score([as_score(pair) for pair in material.held_out])
    right = [0.5 if s.chosen == s.rejected else float(s.chosen > s.rejected) for s in scores]
    written = [engine.generate(p.prompt, _REPLY) for p in material.held_out[:replies]]
    return _Run(
        right=right,
        taste=statistics.fmean(is_brief_bullets(each.text) for each in written),
        ends=statistics.fmean(each.reason == "end" for each in written),
        repeats=statistics.fmean(repeated_4grams(each.text) for each in written),
        seconds=seconds,
    )


def _summary(material: Material, key: _Key, runs: Sequence[_Run]) -> dict[str, Any]:
    recipe, epsilon = key
    means = _means(runs)
    return {
        "data": material.name,
        "recipe": recipe,
        "epsilon": epsilon,
        "accuracy": statistics.fmean(means),
        "interval": _interval(means),
        "taste": statistics.fmean(run.taste for run in runs),
        "ends": statistics.fmean(run.ends for run in runs),
        "repeats": statistics.fmean(run.repeats for run in runs),
        "seconds": statistics.fmean(run.seconds for run in runs),
    }


def _differences(
    material: Material, effort: Effort, runs: dict[_Key, list[_Run]]
) -> list[dict[str, Any]]:
    """The default against plain LoRA at each epsilon, and against itself without privacy."""
    compared: list[tuple[str, _Key, _Key]] = []
    for epsilon in effort.epsilons:
        if epsilon is not None:
            compared += [
                (f"default - plain at {epsilon:g}", ("default", epsilon), ("plain", epsilon)),
                (f"default at {epsilon:g} - without", ("default", epsilon), ("default", None)),
            ]
    found = []
    for what, one, other in compared:
        pairs = zip(_means(runs[one]), _means(runs[other]), strict=True)
        gaps = [a - b for a, b in pairs]
        found.append(
            {
                "data": material.name,
                "what": what,
                "mean": statistics.fmean(gaps),
                "interval": _interval(gaps),
            }
        )
    return found


def _means(runs: Sequence[_Run]) -> list[float]:
    return [statistics.fmean(values) for values in zip(*(run.right for run in runs), strict=True)]


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean, by drawing pairs with replacement."""
    draw = random.Random(0)
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(_ROUNDS))
    return means[int(0.025 * _ROUNDS)], means[int(0.975 * _ROUNDS) - 1]


def _pick_longer(material: Material) -> float:
    lengths = [(len(pair.chosen), len(pair.rejected)) for pair in material.held_out]
    return statistics.fmean((1 + (a > b) - (a < b)) / 2 for a, b in lengths)


def missed(grid: Sequence[dict[str, Any]]) -> list[str]:
    """What the scripted taste should reach and does not, in sentences."""
    found: dict[_Key, float] = {
        (each["recipe"], each["epsilon"]): each["accuracy"]
        for each in grid
        if each["data"] == "taste"
    }
    wanted: list[str] = []
    for asked, within in ((8.0, 0.08), (3.0, 0.15)):
        if ("default", asked) in found:
            loss = found["default", None] - found["default", asked]
            if loss > within:
                wanted.append(f"Epsilon {asked:g} lies {loss:.3f} below none, not {within:g}.")
    for (recipe, epsilon), reached in found.items():
        if recipe == "default" and epsilon is not None:
            plain = found["plain", epsilon]
            if reached <= plain:
                wanted.append(f"At epsilon {epsilon:g} the default is not above plain LoRA.")
    return wanted
