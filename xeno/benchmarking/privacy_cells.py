"""One cell of the privacy benchmark: a run, its version on held-out pairs, some replies of it.

Cells do not depend on each other. They are computed in processes of their own, one thread each,
and appended to a file as they come, so that an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from xeno.benchmarking.privacy_material import Material, as_score
from xeno.benchmarking.reply_rules import is_brief_bullets, repeated_4grams
from xeno.events import Sampling
from xeno.inference.engine import Engine
from xeno.models.base import inspect_base
from xeno.paths import Home
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.training.trainer import train
from xeno.versions.registry import Registry

_REPLY = Sampling(max_tokens=160)

PLAIN: dict[str, Any] = {
    "adapter_kind": "lora",
    "lora_rank": 8,
    "lora_modules": "attention",
}
"""The LoRA that a run without privacy trains by default."""
RECIPES: dict[str, dict[str, Any]] = {"default": {}, "plain": PLAIN}


@dataclass(frozen=True)
class Cell:
    """What is measured.

    Attributes:
        data: the name of the material.
        recipe: a name in `RECIPES`, or "base" for what was there before any run.
        epsilon: None without privacy.
        pairs: how many pairs there are to learn from.
    """

    data: str
    recipe: str
    epsilon: float | None
    seed: int
    pairs: int


@dataclass(frozen=True)
class Found:
    """What a cell showed.

    Attributes:
        right: 1, 0.5 or 0 for each held-out pair.
        noise: the run's noise multiplier; 0 without privacy.
        learned: how many pairs the run learned from; the others are too long for the base.
    """

    cell: Cell
    right: tuple[float, ...]
    taste: float
    ends: float
    repeats: float
    seconds: float
    noise: float = 0.0
    steps: int = 0
    trainable: int = 0
    learned: int = 0

    @property
    def accuracy(self) -> float:
        return statistics.fmean(self.right)


def measured(
    cells: Sequence[Cell],
    materials: Sequence[Material],
    replies: int,
    workers: int,
    kept: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Found]:
    """What `cells` show, in their order.

    Args:
        replies: how many are written in each cell.
        workers: processes at a time.
        kept: a file of JSON lines, whose cells are not computed again, and to which others are
            appended.
    """
    found = {each.cell: each for each in _read(kept)}
    missing = [cell for cell in cells if cell not in found]
    by_name = {material.name: material for material in materials}
    # A forked child would share the threads and locks of its parent's libraries.
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        begun = [pool.submit(measure, by_name[cell.data], cell, replies) for cell in missing]
        for number, done in enumerate(as_completed(begun), start=1):
            if done.exception() is not None:
                continue  # raised below; what the others cost is not lost
            new = done.result()
            found[new.cell] = new
            keep(new, kept)
            say(
                f"{number} of {len(missing)}: {new.cell.data}, {new.cell.recipe}, epsilon "
                f"{new.cell.epsilon or 'none'}, {new.cell.pairs} pairs, seed {new.cell.seed}: "
                f"{new.accuracy:.3f} in {new.seconds:.0f} s"
            )
    for done in begun:
        done.result()
    return [found[cell] for cell in cells]


def keep(found: Found, kept: Path | None) -> None:
    """Append `found` to the file `kept`, where there is one."""
    if kept is not None:
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found)) + "\n")


def _read(kept: Path | None) -> Iterator[Found]:
    if kept is None or not kept.exists():
        return
    for line in kept.read_text("utf-8").splitlines():
        values = json.loads(line)
        cell = Cell(**values.pop("cell"))
        yield Found(cell, tuple(values.pop("right")), **values)


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def measure(material: Material, cell: Cell, replies: int) -> Found:
    """Compute one cell."""
    with tempfile.TemporaryDirectory(prefix="xeno-bench-privacy-") as folder:
        home = Home.at(folder)
        begun = time.monotonic()
        engine = Engine(inspect_base(material.base, home), threads=1)
        run: dict[str, Any] = {}
        if cell.recipe != "base":
            with open_profile(home, protection="file") as profile:
                run = _trained(profile, material, cell, engine)
        seconds = time.monotonic() - begun
        scores = engine.score([as_score(pair) for pair in material.held_out])
        written = [engine.generate(p.prompt, _REPLY) for p in material.held_out[:replies]]
    return Found(
        cell,
        tuple(0.5 if s.chosen == s.rejected else float(s.chosen > s.rejected) for s in scores),
        taste=statistics.fmean(is_brief_bullets(each.text) for each in written),
        ends=statistics.fmean(each.reason == "end" for each in written),
        repeats=statistics.fmean(repeated_4grams(each.text) for each in written),
        seconds=seconds,
        **run,
    )


def _trained(profile: Profile, material: Material, cell: Cell, engine: Engine) -> dict[str, Any]:
    """Train a version, let `engine` serve it, and say with how much noise it was made."""
    privacy = {"private": False} if cell.epsilon is None else {"epsilon": cell.epsilon}
    plan = TrainingPlan.model_validate(
        {"base": str(material.base), "seed": cell.seed, "force": True, "heldout_share": 0.0,
         "threads": 1, **RECIPES[cell.recipe], **privacy}
    )  # fmt: skip
    Pairs(profile.db).add_many(material.training[: cell.pairs])
    finished = train(profile, Runs(profile.db).create(plan).id, lambda _: None, lambda: None)
    assert finished.version is not None, "a run that nobody stops makes a version"
    tensors, version = Registry(profile).load(finished.version)
    manifest = version.manifest
    engine.activate(version.address, tensors, manifest.adapter)
    return {
        "noise": (manifest.mechanism or {}).get("noise_multiplier", 0.0),
        "steps": int(manifest.metrics["steps"] or 0),
        "trainable": int(manifest.metrics["trainable"] or 0),
        "learned": len(manifest.pair_ids),
    }
