"""When an interrupted run may go on from a checkpoint, and how its privacy is accounted then.

Going on means to take the steps after the checkpoint once more. A private run whose noise came
from a fresh cipher stream would thereby show two noisy sums of the same pairs where its account
has one; a run that used the *same* stream on anything *else* would do worse: whoever sees both
sums subtracts them, the noise cancels, and what is left is the difference of the inputs, in the
clear. Between the two lies one safe case, and it is also what a user wants:

1. Same stream, bit-identical inputs. A step is a function of adapter, optimizer state, rows,
   sampling, cut into micro-batches, noise, and the machine's arithmetic. If all are equal, the
   repeated steps are bit for bit those of the first attempt. Nothing is shown twice that was not
   the same both times, the released adapter is the one of a run that was never interrupted, and
   so is its account. The stream's state is therefore restored exactly when the rows (hash over
   their tokens and weights), the plan, the numbers chosen from it, the base, the libraries, the
   number format, the number of threads, the processor and the device are all equal, and the
   device is the CPU: graphics cards add in an order of their own.

2. Different inputs (a pair was edited or deleted, the base or the plan's meaning changed): the
   run is refused. A part of it would have learned from what the user has taken away.

3. Same inputs, different arithmetic (a library was updated, another number of threads): the sums
   would differ by rounding, so the old stream is destroyed and a fresh one continues. The steps
   in the checkpoint are in the released adapter and count. The steps after it that the first
   attempt took are not in the adapter; but losses, samples or evaluations that came from them
   may have been seen, so they count as well. They are known, since every noisy step is noted on
   the disk before its noise is drawn (`xeno.training.noisy_steps`), and they are taken from the
   steps that are left, so that the run still spends at most the epsilon it was granted. The
   checkpoint with the fresh stream is written, and the old ones deleted, before the first step.

When memory runs out the micro-batches become smaller, which changes rounding. That is case 3
where an earlier attempt has taken steps after the one that the run is at: its streams are
renewed and those steps counted. Otherwise no noise has been drawn for the step yet, so the
streams go on, and the new cut is in a checkpoint before the noise is drawn.

A run that is interrupted and never resumed releases nothing and costs nothing. When a run ends,
the key of its checkpoints is destroyed in the same transaction.

Without differential privacy the same rules hold, where "fresh stream" means nothing and "counts"
means nothing: case 1 gives the same adapter, case 2 is refused, case 3 goes on and says so.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel

from xeno.errors import XenoError
from xeno.training.checkpoint import Origin, Units
from xeno.training.dataset import units_again
from xeno.training.plan import TrainingPlan
from xeno.training.stages import StageData, empty_stages
from xeno.words import count

if TYPE_CHECKING:
    from xeno.store.profile import Profile
    from xeno.training.encoding import StageRows

_NEW_RUN = "Start a new run with the same settings; 'xeno runs discard' gives this one up."


def origin(
    plan: TrainingPlan,
    base_hash: str,
    data: Sequence[StageData],
    stages: Sequence[StageRows],
    environment: dict[str, str | int],
    noise: Sequence[float],
) -> Origin:
    """What a run's numbers are made from."""
    return Origin(
        plan=_digest(plan.model_dump(mode="json")),
        recipe=_digest([asdict(stage.recipe) for stage in stages]),
        base_hash=base_hash,
        rows=_digest([[asdict(row) for row in stage.rows + stage.measured] for stage in stages]),
        stages=tuple(
            Units(
                training={unit.id: unit.weight for unit in stage.training},
                held_out={unit.id: unit.weight for unit in stage.held_out},
            )
            for stage in data
        ),
        environment=environment,
        noise=tuple(noise),
    )


def processor() -> str:
    """What the results of the same arithmetic may depend on besides the libraries."""
    return f"{platform.processor() or platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def same_data(profile: Profile, plan: TrainingPlan, before: Origin) -> list[StageData]:
    """What each stage began with; units that came since wait for another run.

    Raises:
        XenoError: if one of them is gone or no longer used.
    """
    found, gone = [], 0
    for stage, units in zip(empty_stages(plan), before.stages, strict=True):
        weights = units.training | units.held_out
        known = units_again(profile, stage.name, weights)
        gone += len(weights.keys() - known.keys())
        training, held_out = (
            tuple(known[each] for each in ids if each in known)
            for ids in (units.training, units.held_out)
        )
        found.append(replace(stage, training=training, held_out=held_out))
    if gone:
        raise XenoError(
            "This run cannot be resumed.",
            f"{count(gone, 'of its pairs was', 'of its pairs were')} changed, deleted or set "
            "aside since.",
            _NEW_RUN,
        )
    return found


def differences(before: Origin, now: Origin) -> tuple[str, ...]:
    """In what the arithmetic of now differs from before, in words; empty where the run goes on
    bit for bit.

    Raises:
        XenoError: if the inputs differ: the run cannot go on.
    """
    inputs = {
        "the pairs": before.rows == now.rows,
        "the base model": before.base_hash == now.base_hash,
        "the plan": before.plan == now.plan,
        "the numbers that follow from the plan": before.recipe == now.recipe,
    }
    changed = [name for name, same in inputs.items() if not same]
    if changed:
        raise XenoError(
            "This run cannot be resumed.",
            f"It began with others: {', '.join(changed)}.",
            _NEW_RUN,
        )
    names = sorted(before.environment.keys() | now.environment.keys())
    found = [name for name in names if before.environment.get(name) != now.environment.get(name)]
    if now.environment["device"] != "cpu":
        found.append("the order in which a graphics card adds")
    return tuple(found)


def _digest(value: object) -> str:
    def inner(model: BaseModel) -> object:
        return model.model_dump(mode="json")

    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=inner)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
