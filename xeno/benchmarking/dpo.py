"""How fast and how small DPO training is beside TRL's DPOTrainer, on this machine.

Every contender runs in a process of its own; rounds alternate, so that a busy machine slows all
of them, and medians are compared. The machine's own matrix rate is measured in every round, with
the same number of threads. Speed is that of the steps; what is computed before them (the
reference log-probabilities) is reported beside it, and a total with it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xeno.benchmarking import dpo_material as material
from xeno.benchmarking.dpo_contenders import Task, Timing
from xeno.errors import ChildError

DEFAULTS, TUNED, XENO, PRIVATE = "trl defaults", "trl tuned", "xeno", "xeno private"

TARGETS = {
    "speed beside TRL's defaults": (True, 5.0),
    "speed beside TRL tuned": (True, 3.0),
    "memory beside TRL tuned": (False, 0.5),
    "share of the matrix rate": (True, 0.6),
    "time with privacy": (False, 1.15),
    "memory with privacy": (False, 1.2),
}
"""(whether at least, bound)."""


@dataclass(frozen=True)
class Effort:
    """How much is measured. The slowest contender gets fewer pairs, and is compared by the
    operations that these need; `batches` are tried for TRL (larger ones of long texts take more
    than 16 GB)."""

    rounds: int
    pairs: int
    pairs_defaults: int
    batches: tuple[int, ...]


FULL = Effort(rounds=3, pairs=24, pairs_defaults=4, batches=(1, 2, 4))
QUICK = Effort(rounds=1, pairs=9, pairs_defaults=3, batches=(2,))

Progress = Callable[[str], None]


def measure(data: Path | None, effort: Effort, threads: int, progress: Progress) -> dict[str, Any]:
    """Run all contenders.

    Raises:
        ChildError: if a contender fails.
    """
    with _model() as folder:
        task = Task(XENO, folder, effort.pairs, str(data) if data else None, threads)
        tuned_batch = _best_batch(task, effort, progress)
        tasks = [
            replace(task, contender=DEFAULTS, pairs=effort.pairs_defaults),
            replace(task, contender=TUNED, batch=tuned_batch),
            task,
            replace(task, contender=PRIVATE),
        ]
        timings: dict[str, list[Timing]] = {each.contender: [] for each in tasks}
        rates = []
        for number in range(effort.rounds):
            rates.append(_run(replace(task, contender="matrix rate"))["rate"])
            for each in tasks if number % 2 == 0 else reversed(tasks):
                timings[each.contender].append(Timing(**_run(each)))
                progress(f"round {number + 1} of {effort.rounds}: {each.contender}")
    contenders = {each.contender: _summary(each, timings[each.contender], rates) for each in tasks}
    return _compared(contenders, timings) | {
        "contenders": contenders,
        "matrix_rate": statistics.median(rates),
        "matrix_rates": rates,
        "tuned_batch": tuned_batch,
        "threads": threads,
        "effort": asdict(effort),
    }


def missed(measures: dict[str, float]) -> list[str]:
    """The names of the targets that were not reached."""
    return [
        name
        for name, (at_least, bound) in TARGETS.items()
        if (measures[name] < bound if at_least else measures[name] > bound)
    ]


def curve(threads: int, progress: Progress) -> dict[str, Any]:
    """The losses of three epochs beside TRL's: the same pairs in the same order, the same batches
    and the same adapter to begin with, on four layers of the model.

    Both in float32, where they should agree, and in bfloat16, where what differs is rounding; two
    runs of TRL that differ in nothing but their number format say how large that is.
    """
    with _model(layers=4) as folder:
        adapter = str(Path(folder) / "start.safetensors")
        _write_adapter(folder, adapter)
        task = Task(XENO, folder, 16, None, threads, batch=4, epochs=3, adapter=adapter)
        losses: dict[str, list[float]] = {}
        for contender in (TUNED, XENO):
            for dtype in ("float32", "bfloat16"):
                name = f"{contender} {dtype}"
                found = _run(replace(task, contender=contender, dtype=dtype))
                losses[name] = found["losses"]
                progress(name)
    return {
        "losses": losses,
        "float32": _deviation(losses[f"{XENO} float32"], losses[f"{TUNED} float32"]),
        "bfloat16": _deviation(losses[f"{XENO} bfloat16"], losses[f"{TUNED} bfloat16"]),
        "of TRL's two formats": _deviation(losses[f"{TUNED} bfloat16"], losses[f"{TUNED} float32"]),
    }


def _deviation(found: Sequence[float], wanted: Sequence[float]) -> dict[str, float]:
    distances = [abs(f - w) for f, w in zip(found, wanted, strict=True)]
    return {"largest": max(distances), "mean": statistics.mean(distances)}


@contextmanager
def _model(layers: int = material.LAYERS) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        code = (
            "import sys; from pathlib import Path; "
            "from xeno.benchmarking.dpo_material import write_model; "
            "write_model(Path(sys.argv[1]), int(sys.argv[2]))"
        )
        # In a process of its own, which gives its memory back.
        _python(["-c", code, folder, str(layers)], "")
        yield folder


def _write_adapter(folder: str, file: str) -> None:
    """An adapter whose B is not 0, so that the losses differ from the first step on."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    from xeno.training.adapters import attach, extract
    from xeno.versions.adapter import AdapterConfig

    models: Any = AutoModelForCausalLM
    config = AdapterConfig(
        rank=material.RANK, alpha=material.ALPHA, target_modules=material.MODULES
    )
    adapted = attach(models.from_pretrained(folder).requires_grad_(False), config, seed=0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    save_file(extract(adapted), file)


def _best_batch(task: Task, effort: Effort, progress: Progress) -> int:
    """The batch size at which TRL is quickest here."""
    speeds = {}
    for batch in effort.batches if len(effort.batches) > 1 else ():
        found = Timing(**_run(replace(task, contender=TUNED, pairs=8, batch=batch)))
        speeds[batch] = found.pairs / found.seconds
        progress(f"TRL tuned, batch {batch}: {speeds[batch]:.2f} pairs/s")
    return max(speeds, key=speeds.__getitem__) if speeds else effort.batches[0]


def _summary(task: Task, timings: list[Timing], rates: Sequence[float]) -> dict[str, float]:
    """Medians of a contender's rounds; the share is that of its own round's matrix rate."""

    def median(of: Callable[[Timing], float]) -> float:
        return statistics.median(map(of, timings))

    flops = sum(map(material.useful_flops, task.examples())) / task.pairs  # of a pair
    pairs_per_second = median(lambda t: t.pairs / t.seconds)
    return {
        "pairs_per_second": pairs_per_second,
        "pairs_per_second_with_reference": median(lambda t: t.pairs / (t.seconds + t.before)),
        "pairs_per_processor_second": median(lambda t: t.pairs / t.processor_seconds),
        "seconds_before": median(lambda t: t.before),
        "peak_memory_bytes": median(lambda t: float(t.peak_memory)),
        "useful_flops_per_second": flops * pairs_per_second,
        "share_of_matrix_rate": statistics.median(
            flops * t.pairs / t.seconds / rate for t, rate in zip(timings, rates, strict=True)
        ),
    }


def _compared(
    contenders: dict[str, dict[str, float]], timings: dict[str, list[Timing]]
) -> dict[str, Any]:
    ours, tuned, defaults = contenders[XENO], contenders[TUNED], contenders[DEFAULTS]

    def ratio(name: str, ours: dict[str, float], theirs: dict[str, float]) -> float:
        return ours[name] / theirs[name]

    # Neighbours in time, since a busy machine changes from round to round.
    private = statistics.median(
        with_privacy.seconds / without.seconds
        for with_privacy, without in zip(timings[PRIVATE], timings[XENO], strict=True)
    )
    measures = {
        "speed beside TRL's defaults": ratio("useful_flops_per_second", ours, defaults),
        "speed beside TRL tuned": ratio("pairs_per_second", ours, tuned),
        "memory beside TRL tuned": ratio("peak_memory_bytes", ours, tuned),
        "share of the matrix rate": ours["share_of_matrix_rate"],
        "time with privacy": private,
        "memory with privacy": ratio("peak_memory_bytes", contenders[PRIVATE], ours),
        "speed with the reference, beside TRL tuned": ratio(
            "pairs_per_second_with_reference", ours, tuned
        ),
        "processor time beside TRL tuned": 1 / ratio("pairs_per_processor_second", ours, tuned),
        "processor time with privacy": ratio(
            "pairs_per_processor_second", ours, contenders[PRIVATE]
        ),
    }
    return {"measures": measures, "missed": missed(measures)}


def _run(task: Task) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        _python(["-m", "xeno.benchmarking.dpo_contenders"], json.dumps(asdict(task)))
    )
    return found


def _python(arguments: list[str], stdin: str) -> str:
    environment = os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",  # as the trainer runs
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["It said nothing."]
        raise ChildError("A part of the benchmark failed.", lines[-1][:500])
    return done.stdout
