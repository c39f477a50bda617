"""Trainers that the system ends with SIGKILL: real children, really killed, and what comes next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xeno.events import Event, LogLine, Progress
from xeno.jobs import attempt
from xeno.jobs.foreground import JobRun
from xeno.jobs.store import Queue
from xeno.paths import Home
from xeno.privacy.ledger import PrivacyLedger
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.workers.memory_kills import memory_kills

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

STEPS = 8


class Killer:
    """Listens to a run, and kills its trainer at chosen steps, one after the other."""

    def __init__(self, *steps: int) -> None:
        self.run: JobRun | None = None
        self.log: list[str] = []
        self.seen: list[int] = []
        self._steps = list(steps)

    def __call__(self, event: Event) -> None:
        if isinstance(event, LogLine):
            self.log.append(event.text)
        if isinstance(event, Progress):
            self.seen.append(event.step)
            if self._steps and event.step == self._steps[0]:
                del self._steps[0]
                assert self.run is not None
                assert self.run.pid is not None
                os.kill(self.run.pid, signal.SIGKILL)


def killed_at(
    home: Home, profile: Profile, base: Path, *steps: int, **changes: object
) -> tuple[Killer, str]:
    """A private run whose trainer was killed after these steps, carried to its end; its id."""
    plan = TrainingPlan.model_validate(
        {
            "base": str(base),
            "private": True,
            "max_steps": STEPS,
            "micro_batch_size": 8,
            "checkpoint_steps": 1000,
            "retry_seconds": 0,
            "samples": False,
            "keep_awake": False,
        }
        | changes
    )
    killer = Killer(*steps)
    with Queue(home) as queue:
        killer.run = JobRun(queue, profile, plan=plan, on_event=killer)
        finished = killer.run.run()
    assert finished.status == "completed", killer.run.failure
    return killer, finished.run_id


def test_a_trainer_that_the_kernel_killed_goes_on_in_smaller_parts_and_counts_its_steps(
    taught: Profile, home: Home, real_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter(range(100))
    monkeypatch.setattr(attempt, "memory_kills", lambda: next(kills))  # one more at every look
    killer, run_id = killed_at(home, taught, real_base, 3)
    assert [each.memory for each in Runs(taught.db).kills(run_id)] == [True]
    [said] = [line for line in killer.log if "probably since memory ran out" in line]
    assert "at most 4 pairs" in said
    assert any("count in its epsilon" in line for line in killer.log)
    notes = Runs(taught.db).noisy_steps(run_id)
    assert {note.stream for note in notes} == {0, 1}, "no noise of before was used again"
    [entry] = PrivacyLedger(taught).entries()
    assert entry.mechanism.steps == len(notes) == STEPS
    assert killer.seen[3:] == list(range(1, 1 + sum(note.stream for note in notes)))


def test_a_kill_that_the_kernel_does_not_count_changes_nothing_unless_it_comes_again(
    taught: Profile, home: Home, real_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "memory_kills", lambda: 7)
    killer, run_id = killed_at(home, taught, real_base, 2, 5)
    assert [each.memory for each in Runs(taught.db).kills(run_id)] == [False, True]
    assert killer.seen[:7] == [1, 2, 1, 2, 3, 4, 5]
    assert len([line for line in killer.log if "at most 4 pairs" in line]) == 1
    assert PrivacyLedger(taught).entries()[0].mechanism.steps == STEPS


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A control group with 64 MB of memory."""
    root = Path("/sys/fs/cgroup")
    parent = root / "memory" if (root / "memory").is_dir() else root
    folder = parent / f"xeno-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups can be made here: {error.strerror}")
    limits = [folder / "memory.limit_in_bytes", folder / "memory.max"]
    usable = [file for file in limits if file.exists()]
    try:
        if not usable or memory_kills() is None:
            pytest.skip("control groups do not limit memory here")
        usable[0].write_text(str(64 * 2**20))
        yield folder
    finally:
        folder.rmdir()


def test_the_kernel_counts_what_it_kills_by_a_control_groups_limit(cgroup: Path) -> None:
    before = memory_kills()
    assert before is not None
    script = (
        "import os, pathlib, sys\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "bytearray(os.urandom(1)) * (256 * 2**20)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(cgroup / "cgroup.procs")])
    assert ended.returncode == -signal.SIGKILL
    assert (memory_kills() or 0) > before
