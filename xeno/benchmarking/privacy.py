"""`xeno bench privacy`: what a plain LoRA and the private default learn at each epsilon.

    material -> cells (recipe, epsilon, seed) -> held-out pairs and replies -> intervals

Accuracy is the share of held-out pairs whose chosen reply has the higher mean log-probability
per token, ties one half. The same pairs are scored in every run, so differences are paired.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xeno.benchmarking.privacy_cells import RECIPES, Cell, Found, measured
from xeno.benchmarking.privacy_material import Material, from_file, scripted
from xeno.paths import Home

_ROUNDS = 2000

Say = Callable[[str], None]
Grid = dict[tuple[str, str, float | None, int], list[Found]]
"""(data, recipe, epsilon, pairs) -> the cells of every seed."""


@dataclass(frozen=True)
class Effort:
    """How much is measured. `epsilons` always has None, the run without privacy.

    Attributes:
        fewer: smaller numbers of pairs on which the default is measured as well, with one seed.
        workers: processes at a time.
    """

    seeds: int
    training: int
    held_out: int
    replies: int
    epsilons: tuple[float | None, ...]
    fewer: tuple[int, ...] = ()
    workers: int = 1


def quick(workers: int) -> Effort:
    """Whether it works at all."""
    return Effort(1, 40, 30, replies=3, epsilons=(None, 8.0), workers=workers)


def full(seeds: int, workers: int) -> Effort:
    """The benchmark as it is reported."""
    return Effort(
        seeds,
        training=200,
        held_out=500,
        replies=12,
        epsilons=(None, 8.0, 3.0, 1.0),
        fewer=(50, 100),
        workers=workers,
    )


def measure(
    effort: Effort, data: Path | None, base: Path, say: Say, kept: Path | None = None
) -> tuple[dict[str, Any], Grid]:
    """Measure the scripted taste, and the pairs of `data` on `base` if there are any.

    Args:
        kept: a folder where pairs and cells are kept, so that the same benchmark begun again
            goes on.
    """
    with tempfile.TemporaryDirectory(prefix="xeno-bench-privacy-") as folder:
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
        say(f"Writing {effort.training + effort.held_out} pairs of the scripted taste.")
        taste = scripted(effort.training, effort.held_out, kept and kept / "taste.jsonl")
        materials = [taste]
        if data is not None:
            materials.append(from_file(data, base, Home.at(folder), effort.held_out))
    cells = [cell for material in materials for cell in _cells(material, effort)]
    found = measured(
        cells, materials, effort.replies, effort.workers, kept and kept / "cells.jsonl", say
    )
    grid: Grid = {}
    for each in found:
        cell = each.cell
        key = (cell.data, cell.recipe, cell.epsilon, cell.pairs)
        grid.setdefault(key, []).append(each)
    rows = [_summary(runs) for runs in grid.values()]
    result = {
        "grid": rows,
        "differences": [row for each in materials for row in _differences(each, effort, grid)],
        "pick_longer": {each.name: _pick_longer(each) for each in materials},
        "pairs": {each.name: [len(each.training), len(each.held_out)] for each in materials},
        "missed": missed([row for row in rows if row["pairs"] == len(taste.training)]),
    }
    return result, grid


def _cells(material: Material, effort: Effort) -> list[Cell]:
    """One seed after the other, so that a part of them is a whole grid with fewer seeds. Without
    privacy the default is the plain LoRA, and is measured once."""
    name, everything = material.name, len(material.training)
    private = [epsilon for epsilon in effort.epsilons if epsilon is not None]
    cells = [Cell(name, "base", None, 0, everything)]
    for seed in range(effort.seeds):
        cells.append(Cell(name, "default", None, seed, everything))
        cells += [Cell(name, r, e, seed, everything) for r in RECIPES for e in private]
        if name == "taste" and seed == 0:
            cells += [Cell(name, "default", e, 0, fewer) for fewer in effort.fewer for e in private]
    return cells


def _summary(runs: Sequence[Found]) -> dict[str, Any]:
    cell = runs[0].cell
    means = _means(runs)
    return {
        "data": cell.data,
        "recipe": cell.recipe,
        "epsilon": cell.epsilon,
        "pairs": cell.pairs,
        "learned": runs[0].learned,
        "accuracy": statistics.fmean(means),
        "interval": _interval(means),
        "seeds": [run.accuracy for run in runs],
        "taste": statistics.fmean(run.taste for run in runs),
        "ends": statistics.fmean(run.ends for run in runs),
        "repeats": statistics.fmean(run.repeats for run in runs),
        "seconds": statistics.fmean(run.seconds for run in runs),
        "noise": statistics.fmean(run.noise for run in runs),
        "steps": runs[0].steps,
        "trainable": runs[0].trainable,
    }


def _differences(material: Material, effort: Effort, grid: Grid) -> list[dict[str, Any]]:
    """The default against plain LoRA at each epsilon, and against itself without privacy."""
    everything = len(material.training)

    def means(recipe: str, epsilon: float | None) -> list[float]:
        return _means(grid[material.name, recipe, epsilon, everything])

    found = []
    for epsilon in effort.epsilons:
        if epsilon is None:
            continue
        default = means("default", epsilon)
        for what, other in (
            (f"default - plain at {epsilon:g}", means("plain", epsilon)),
            (f"default at {epsilon:g} - without", means("default", None)),
        ):
            gaps = [a - b for a, b in zip(default, other, strict=True)]
            mean = statistics.fmean(gaps)
            found.append(
                {"data": material.name, "what": what, "mean": mean, "interval": _interval(gaps)}
            )
    return found


def _means(runs: Sequence[Found]) -> list[float]:
    """The mean over the seeds of what each held-out pair scored."""
    return [statistics.fmean(values) for values in zip(*(run.right for run in runs), strict=True)]


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean, by drawing pairs with replacement."""
    draw = random.Random(0)
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(_ROUNDS))
    return means[int(0.025 * _ROUNDS)], means[int(0.975 * _ROUNDS) - 1]


def _pick_longer(material: Material) -> float:
    lengths = [(len(pair.chosen), len(pair.rejected)) for pair in material.held_out]
    return statistics.fmean((1 + (a > b) - (a < b)) / 2 for a, b in lengths)


def missed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the scripted taste should reach and does not, in sentences."""
    found: dict[tuple[str, float | None], float] = {
        (each["recipe"], each["epsilon"]): each["accuracy"]
        for each in rows
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
