"""Memory that really runs out, in a child under a limit: smaller parts, the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xeno.paths import Home
from xeno.store.profile import open_profile
from xeno.versions.registry import Registry

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits memory the Linux way"),
    pytest.mark.timeout(900),
]

CHILD = """
import ctypes, gc, json, resource, sys
from fixed_noise import system
from pathlib import Path
from run_parts import Fit, Killed, after_step, plan_for
from tiny_models import make_llama
from xeno.errors import MemoryFullError
from xeno.events import ChatMessage, Evaluated, LogLine, Progress, RunStarted
from xeno.paths import Home
from xeno.privacy import noise
from xeno.privacy.noise import CipherStream
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import open_profile
from xeno.store.runs import Runs
from xeno.training.checkpoint import Checkpoints
from xeno.training.trainer import train

folder = Path(sys.argv[1])
base = make_llama(
    folder / "base", hidden_size=256, intermediate_size=1024, num_hidden_layers=4,
    num_attention_heads=8, num_key_value_heads=8, initializer_range=0.05,
)
unlimited = resource.getrlimit(resource.RLIMIT_DATA)
drawn = []
gaussian = CipherStream.gaussian

def counted(stream, count, *rest):
    drawn.append(stream.state.position)
    return gaussian(stream, count, *rest)

CipherStream.gaussian = counted

def data():
    for line in open("/proc/self/status"):
        if line.startswith("VmData"):
            return int(line.split()[1]) * 1024

def pair(name, n):
    return new_pair(
        name, [ChatMessage(role="user", content=f"Tell me {n} " + "more " * 20)],
        "- yes. " * (4 + n % 5), "Well, no " * (6 + n % 7),
        feedback_type="correction", confidence=1.0, quality=1.0,
    )

def run(name, megabytes, **changes):
    noise.os = system()
    drawn.clear()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    losses, log = [], []

    def emit(event):
        # Where nothing is to fit, the limit comes after what is done without gradients.
        if isinstance(event, Evaluated if name == "too_little" else RunStarted) and megabytes:
            limit = data() + megabytes * 10**6
            resource.setrlimit(resource.RLIMIT_DATA, (limit, unlimited[1]))
        if isinstance(event, Progress):
            losses.append(event.loss)
        if isinstance(event, LogLine):
            log.append(event.text)

    with open_profile(Home.at(folder / "home"), name) as profile:
        Pairs(profile.db).add_many(pair(name, n) for n in range(20))
        created = Runs(profile.db).create(
            plan_for(str(base), heldout_share=0.0, **{"epochs": 1, **changes})
        )
        what = ""
        try:
            train(profile, created.id, emit, lambda: None, Fit())
        except MemoryFullError as error:
            what = error.what
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, unlimited)
        if name == "too_little":
            kept = Checkpoints(profile, created.id).latest()
            log.append(f"kept at {kept.at if kept else None}")
            log.append(Runs(profile.db).resumable()[0].run.id == created.id)
    return {"losses": losses, "log": log, "noise": list(drawn), "what": what}

found = {
    "whole": run("whole", 0),
    "parts": run("parts", 22, memory_halvings=1),
    "private_whole": run("private_whole", 0, private=True, epochs=2),
    "private_parts": run("private_parts", 50, private=True, epochs=2),
    "stop": run("stop", 40, on_memory="stop"),
    "too_little": run("too_little", 6, memory_halvings=0, memory_checkpointing=False),
}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict]:
    """What the runs of the child say: with all memory, and under limits."""
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)]),
        "XENO_HOME": str(folder / "home"),
        # What is freed goes back to the system, so that the limits mean the same in every run.
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=800,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def _adapter(folder: Path, name: str) -> dict[str, torch.Tensor]:
    with open_profile(Home.at(folder / "home"), name) as profile:
        return Registry(profile).load(1)[0]


def _shrinkings(log: list[str]) -> list[str]:
    return [line for line in log if str(line).startswith("Memory ran out")]


@pytest.mark.parametrize(
    ("limited", "whole"),
    [("parts", "whole"), ("private_parts", "private_whole")],
)
def test_a_run_that_is_short_of_memory_learns_the_same_in_smaller_parts(
    folder: Path, found: dict[str, dict], limited: str, whole: str
) -> None:
    assert _shrinkings(found[whole]["log"]) == []
    assert _shrinkings(found[limited]["log"])
    assert found[limited]["losses"] == pytest.approx(found[whole]["losses"], rel=1e-4)
    expected, got = _adapter(folder, whole), _adapter(folder, limited)
    largest = max(float(each.abs().max()) for name, each in expected.items() if "lora_B" in name)
    for name, tensor in expected.items():
        assert (got[name] - tensor).abs().max() <= 0.01 * largest, name


def test_first_the_micro_batch_then_the_tokens_at_once_then_activations(found) -> None:
    said = _shrinkings(found["parts"]["log"])
    assert "pairs are computed at once" in said[0]
    assert "tokens are computed at once" in said[1]
    assert "activations are computed twice" in said[-1]


def test_the_noise_of_a_repeated_step_is_drawn_once(found) -> None:
    assert _shrinkings(found["private_parts"]["log"])
    assert found["private_parts"]["noise"] == found["private_whole"]["noise"]
    assert len(set(found["private_whole"]["noise"])) == len(found["private_whole"]["noise"])


def test_a_plan_can_stop_instead(found) -> None:
    assert found["stop"]["what"] == "Training needs more memory than there is."
    assert _shrinkings(found["stop"]["log"]) == []
    assert found["stop"]["losses"] == []


def test_a_run_that_does_not_fit_at_all_is_kept_to_be_resumed(found) -> None:
    told = found["too_little"]
    assert told["what"] == "Training needs more memory than there is."
    assert len(_shrinkings(told["log"])) >= 1
    assert told["log"][-2:] == ["kept at 0", True]
