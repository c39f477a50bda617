"""What the forecast says a run needs, against what the trainer's process then took.

    python benchmarks/memory_prediction.py [--only NAME]... [--json]

Real runs in real trainer children, each with a profile of its own: the starter model with and
without privacy, and a model of SmolLM2-135M's shape with random weights in bfloat16 on short and
on long pairs, and in 4 bits. Memory is the peak resident size of the child. Time is measured on a
second run of the same settings, since the first one is the probe that the forecast learns the
machine's speed from. Fails if a memory prediction is off by more than a quarter.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xeno.events import ChatMessage
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.forecast import forecast
from xeno.training.plan import TrainingPlan
from xeno.workers.training_client import TrainingRun

LIMIT = 0.25
_WORDS = ("time", "water", "light", "house", "river", "stone", "music", "garden", "letter")


@dataclass(frozen=True)
class Configuration:
    """A run to predict and to measure, on so many `pairs` of texts of so many `words`."""

    name: str
    pairs: int
    words: int
    large: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


CONFIGURATIONS = (
    Configuration("starter", 40, 60, settings={"max_steps": 20}),
    Configuration(
        "starter private", 40, 60, settings={"private": True, "private_steps": 6, "epsilon": 8.0}
    ),
    Configuration(
        "135M bfloat16 short", 24, 40, large=True, settings={"max_steps": 3, "dtype": "bfloat16"}
    ),
    Configuration(
        "135M 4 bits short",
        24,
        40,
        large=True,
        settings={"max_steps": 3, "dtype": "bfloat16", "quantisation": "nf4"},
    ),
    Configuration(
        "135M bfloat16 long",
        8,
        300,
        large=True,
        settings={"max_steps": 2, "dtype": "bfloat16", "batch_size": 4},
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[each.name for each in CONFIGURATIONS])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    wanted = [each for each in CONFIGURATIONS if not arguments.only or each.name in arguments.only]
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(Path(folder), each) for each in wanted]
    if arguments.json:
        print(json.dumps({"configurations": results}))
    else:
        for result in results:
            print(
                f"{result['name']:22} memory {result['predicted_bytes'] / 1e6:6.0f} MB predicted, "
                f"{result['measured_bytes'] / 1e6:6.0f} measured, ratio "
                f"{result['memory_ratio']:.2f}; time {result['predicted_seconds']:5.0f} s "
                f"predicted, {result['measured_seconds']:5.0f} measured, ratio "
                f"{result['time_ratio']:.2f}"
            )
    worst = max(abs(result["memory_ratio"] - 1) for result in results)
    return 0 if worst <= LIMIT else 1


def measure(folder: Path, wanted: Configuration) -> dict[str, Any]:
    """The prediction and the measurement of one configuration."""
    base = large_model(folder / "large") if wanted.large else starter_folder()
    home = Home.at(folder / wanted.name.replace(" ", "-"))
    with open_profile(home, protection="file") as profile:
        add_pairs(profile, wanted.pairs, wanted.words)
        plan = TrainingPlan.model_validate(
            {"base": str(base), "private": False, "samples": False, "evaluations": 1, "force": True}
            | wanted.settings
        )
        first = ran(profile, plan)  # from it the forecast knows the machine's speed
        ahead = forecast(profile, plan.model_copy(update={"seed": 1}))
        second = ran(profile, plan.model_copy(update={"seed": 1}))
    assert ahead.memory_bytes is not None
    assert ahead.seconds is not None
    peak = max(first["peak_memory_bytes"], second["peak_memory_bytes"])
    return {
        "name": wanted.name,
        "predicted_bytes": ahead.memory_bytes,
        "measured_bytes": peak,
        "memory_ratio": ahead.memory_bytes / peak,
        "predicted_seconds": ahead.seconds,
        "measured_seconds": second["seconds"],
        "time_ratio": ahead.seconds / second["seconds"],
    }


def ran(profile: Profile, plan: TrainingPlan) -> dict[str, Any]:
    """The metrics of a run of `plan` in a trainer child."""
    run = TrainingRun(profile, plan)
    run_id = run.start()
    finished = run.wait()
    if finished is None or finished.status != "completed":
        raise SystemExit(f"The run failed: {run.failure}")
    return dict(Runs(profile.db).get(run_id).metrics)


def add_pairs(profile: Profile, pairs: int, words: int) -> None:
    """Pairs of random words, of like length within a fifth."""
    draw = random.Random(0)

    def some() -> str:
        return " ".join(draw.choices(_WORDS, k=round(words * draw.uniform(0.8, 1.0))))

    Pairs(profile.db).add_many(
        new_pair(
            profile.name,
            [ChatMessage(role="user", content=f"{number}: {some()}")],
            some(),
            some(),
            feedback_type="import",
            confidence=1.0,
            quality=1.0,
        )
        for number in range(pairs)
    )


def large_model(folder: Path) -> Path:
    """A model of SmolLM2-135M's shape with random weights in bfloat16, and the starter's
    tokenizer (the vocabulary that it does not use costs as much as if it did)."""
    if folder.exists():
        return folder
    import shutil

    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(starter_folder() / name, folder / name)
    return folder


if __name__ == "__main__":
    sys.exit(main())
