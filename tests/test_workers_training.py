"""Training runs in real trainer children: end, stop, kill, and what is left afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from xeno.cli.main import main
from xeno.events import ChatMessage, Event, Failure, Progress, RunFinished, RunStarted, Sampling
from xeno.paths import Home
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry
from xeno.workers.child import ChildExit
from xeno.workers.host_client import HostClient
from xeno.workers.training_client import TrainingRun

ROOT = Path(__file__).parents[1]
QUESTION = (ChatMessage(role="user", content="What about tea?"),)
SHORT = Sampling(max_tokens=16)


class Listener:
    """Keeps the events, and lets a test wait for the first step."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stepped = threading.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Progress):
            self.stepped.set()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def running(
    taught: Profile, real_base: Path
) -> Iterator[Callable[..., tuple[TrainingRun, Listener]]]:
    """Starts a run of so many epochs and waits for its first step."""
    runs: list[TrainingRun] = []

    def start(**plan: Any) -> tuple[TrainingRun, Listener]:
        listener = Listener()
        settings = {"private": False, "epochs": 1000, "batch_size": 2, **plan}
        run = TrainingRun(taught, TrainingPlan(base=str(real_base), **settings), listener)
        runs.append(run)
        run.start()
        assert listener.stepped.wait(120), listener.events
        return run, listener

    yield start
    for run in runs:
        run.kill()
        run.wait(20)


def test_a_run_ends_in_a_version_that_answers_and_can_be_rolled_back(
    taught: Profile, real_base: Path, running
) -> None:
    run, listener = running(epochs=2)
    finished = run.wait(120)
    assert finished.status == "completed"
    assert listener.of(RunStarted)[0].pairs_training > 0
    assert listener.events[-1] == finished
    version = Registry(taught).get(finished.version)
    assert Runs(taught.db).get(run.run_id).version == version.address
    with HostClient(taught, real_base) as host:
        before = host.generate(QUESTION, SHORT).result(120)
        Deployment(taught).deploy(version.label, override="a test of replies")
        streaming = threading.Event()
        handle = host.generate(QUESTION, SHORT, on_delta=lambda _: streaming.set())
        assert streaming.wait(60)
        Deployment(taught).rollback()  # while it is being written
        during = handle.result(60)
        after = host.generate(QUESTION, SHORT).result(60)
    assert (before.version, during.version, after.version) == (None, version.address, None)
    assert after.text == before.text


def test_a_damaged_version_is_not_served_and_the_base_answers_saying_so(
    taught: Profile, real_base: Path, running
) -> None:
    run, _ = running(epochs=1)
    version = Registry(taught).get(run.wait(120).version)
    Deployment(taught).deploy(version.label, override="a test of replies")
    (file,) = taught.paths.versions.glob("*.xeno")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with HostClient(taught, real_base) as host:
        reply = host.generate(QUESTION, SHORT).result(120)
    assert reply.version is None
    assert "base model answered" in reply.fallback
    assert "damaged" in reply.fallback


def test_a_killed_trainer_leaves_an_interrupted_run_and_an_intact_profile(
    taught: Profile, running
) -> None:
    run, listener = running()
    os.kill(run.pid, signal.SIGKILL)
    finished = run.wait(20)
    assert finished.status == "failed"
    assert "interrupted" in run.failure.what
    assert "killed" in run.failure.what
    assert isinstance(listener.events[-2], Failure)
    assert isinstance(listener.events[-1], RunFinished)
    stored = Runs(taught.db).get(run.run_id)
    assert stored.status == "interrupted"
    assert taught.db.one("PRAGMA integrity_check")[0] == "ok"
    assert Pairs(taught.db).count() == 24
    assert Registry(taught).all() == []


def test_a_trainer_that_dies_after_the_release_takes_nothing_back(taught: Profile, running) -> None:
    run, _ = running(epochs=1)
    finished = run.wait(120)
    silent = TrainingRun(taught, run.plan)
    silent.run_id = run.run_id
    silent._ended(ChildExit(-9, "The trainer was killed.", wanted=False))
    told = silent.wait(1)
    assert (told.status, told.version) == ("completed", finished.version)
    assert Runs(taught.db).get(run.run_id).status == "completed"


def test_a_run_whose_program_died_too_is_found_at_the_next_start(
    taught: Profile, home: Home
) -> None:
    runs = Runs(taught.db)
    run = runs.create(TrainingPlan(base="/nowhere"))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    runs.start(run.id, gone.pid)
    assert main(["status", "--json"]) == 0
    assert runs.get(run.id).status == "interrupted"


def test_stop_and_discard_takes_at_most_five_seconds_and_leaves_no_version(
    taught: Profile, running
) -> None:
    run, _ = running()
    begun = time.monotonic()
    run.stop(keep=False)
    finished = run.wait(20)
    assert time.monotonic() - begun < 5
    assert finished.status == "discarded"
    assert Runs(taught.db).get(run.run_id).status == "discarded"
    assert Registry(taught).all() == []


def test_stop_and_keep_releases_what_was_learned_so_far(taught: Profile, running) -> None:
    run, _ = running()
    run.stop(keep=True)
    finished = run.wait(60)
    assert finished.status == "stopped"
    assert Registry(taught).get(finished.version).manifest.run_id == run.run_id


def test_a_run_that_cannot_begin_says_why(taught: Profile, tmp_path: Path) -> None:
    listener = Listener()
    run = TrainingRun(taught, TrainingPlan(base=str(tmp_path), private=False), listener)
    run.start()
    finished = run.wait(120)
    assert finished.status == "failed"
    assert "cannot be used as a base model" in run.failure.what
    assert Runs(taught.db).get(run.run_id).status == "failed"


def test_the_trainer_yields_to_others_and_holds_no_secret_in_sight(
    taught: Profile, running
) -> None:
    run, _ = running(niceness=7)
    process = psutil.Process(run.pid)
    assert process.nice() == 7
    assert process.environ()["OMP_WAIT_POLICY"] == "PASSIVE"
    assert taught.key.hex() not in " ".join(process.cmdline()) + str(process.environ())


@pytest.mark.parametrize(("keep", "status"), [("keep", "stopped"), ("discard", "discarded")])
def test_an_interrupt_of_the_command_line_does_what_on_stop_says(
    taught: Profile, home: Home, real_base: Path, keep: str, status: str
) -> None:
    command = [sys.executable, "-m", "xeno.cli.main", "train", "--no-privacy", "--json"]
    command += ["--base", str(real_base), "--set", "epochs=1000", "--on-stop", keep]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores the signal, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        for line in process.stderr:
            if line.startswith("step"):
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    result = json.loads(out.splitlines()[-1])
    assert process.returncode == 0
    assert result["status"] == status
    assert (result["version"] is not None) == (keep == "keep")


def test_real_pairs_train_on_a_small_model_from_the_command_line(
    home: Home,
    tmp_path: Path,
    shared_data: Path,
    shared_models: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = shared_data / "preferences" / "oasst_en100_human.jsonl"
    file = tmp_path / "some.jsonl"  # a part of it: this is about the way, not about the result
    file.write_text("".join(real.read_text("utf-8").splitlines(keepends=True)[:120]), "utf-8")
    assert main(["import", str(file)]) == 0
    small = shared_models / "stories260K"
    training = ["train", "--base", str(small), "--no-privacy", "--set", "epochs=1", "--json"]
    assert main(training) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert result["status"] == "completed"
    assert 0 <= result["heldout_preference_accuracy"] <= 1
    assert 0 <= result["longer_baseline"] <= 1
    assert result["pairs_left_out"] > 0, "the model reads 512 tokens, some pairs have more"
    with open_profile(home) as profile:
        total = Pairs(profile.db).count(active=True)
    told = ("pairs_training", "pairs_heldout", "pairs_left_out")
    assert sum(result[key] for key in told) == total
    assert main(["versions", "--json"]) == 0
    (version,) = json.loads(capsys.readouterr().out.splitlines()[-1])["versions"]
    assert version["private"] is False
