"""Jobs of the queue in real trainer children: turns, retries, kills, and who takes over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from xeno.errors import InvalidValueError
from xeno.events import Event, Failure, LogLine, Progress, RunFinished, RunStarted
from xeno.jobs.attempt import Attempt
from xeno.jobs.foreground import JobRun
from xeno.jobs.job import GRACE_SECONDS, LEASE_SECONDS, Job, Limits
from xeno.jobs.leases import Leases
from xeno.jobs.runner import Runner
from xeno.jobs.store import LAPSE_SECONDS, Queue
from xeno.jobs.submission import limits, resubmit, settle, submit
from xeno.paths import Home
from xeno.store import files
from xeno.store.checkpoint_keys import CheckpointKeys
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.versions.registry import Registry
from xeno.workers.training_client import TrainingRun

ROOT = Path(__file__).parents[1]


@pytest.fixture
def plan(real_base: Path) -> Callable[..., TrainingPlan]:
    def make(**values: Any) -> TrainingPlan:
        settings = {"private": False, "epochs": 1, "batch_size": 8, "retry_seconds": 0}
        return TrainingPlan(base=str(real_base), **(settings | values))

    return make


class Listener:
    """Keeps the events, and lets a test wait for the third step."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stepped = threading.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Progress) and event.step == 3:
            self.stepped.set()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def test_the_more_urgent_job_runs_first_and_each_ends_in_a_version(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    order: list[str] = []
    with Queue(home) as queue:
        low = submit(queue, taught, plan(), "low")
        high = submit(queue, taught, plan(seed=1), "high")
        assert {run.queued for run in Runs(taught.db).all()} == {True}
        assert Runs(taught.db).mark_interrupted() == [], "what is queued has no process to miss"

        def told(job: Job, event: Event) -> None:
            if isinstance(event, RunFinished):
                order.append(job.id)

        Runner(queue, {taught.name: taught}, told).run()
        assert order == [high.id, low.id]
        assert [job.state for job in queue.jobs(ended=True)] == ["completed", "completed"]
        assert queue.usage()[taught.name] > 0
    runs = {version.manifest.run_id for version in Registry(taught).all()}
    assert runs == {low.run_id, high.run_id}


def test_a_crashed_trainer_is_tried_again_and_told_once(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    listener = Listener()
    with Queue(home) as queue:
        run = JobRun(
            queue, taught, plan=plan(epochs=12, niceness=12, checkpoint_steps=1), on_event=listener
        )
        run.start()
        assert listener.stepped.wait(120)
        assert run.pid is not None
        assert psutil.Process(run.pid).nice() == 12
        os.kill(run.pid, signal.SIGKILL)
        finished = run.wait(200)
        assert finished is not None
        assert finished.status == "completed"
        (job,) = queue.jobs(ended=True)
    assert (job.tries, job.failures, job.state) == (2, 1, "completed")
    begun, again = listener.of(RunStarted)
    assert begun.resumed_at == 0
    assert again.resumed_at >= 2, "it goes on from its newest checkpoint"
    assert listener.of(RunFinished) == [finished]
    assert listener.of(Failure) == []
    assert any("tried again" in line.text for line in listener.of(LogLine))
    assert [version.manifest.run_id for version in Registry(taught).all()] == [job.run_id]


def test_after_kill_9_of_its_program_another_one_takes_the_job_over(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    with Queue(home) as queue:
        job = submit(queue, taught, plan(epochs=15))
        command = [sys.executable, "-m", "xeno.cli.main", "queue", "run"]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as program:
            assert program.stdout is not None
            for line in program.stdout:
                if "  step " in line:
                    break
            assert queue.get(job.id).state == "running"
            trainers = psutil.Process(program.pid).children()
            program.kill()
        psutil.wait_procs(trainers, 20)
        assert not any(trainer.is_running() for trainer in trainers), "it ends with its program"
        later = Queue(home, clock=lambda: time.time() + LAPSE_SECONDS + 1)
        with later:
            queue.refresh()  # finds that the process is gone
            assert queue.get(job.id).reason == "lapsed"
            Runner(later, {taught.name: taught}, lambda *_: None).run()
            ended = later.get(job.id)
    assert (ended.state, ended.tries, ended.failures) == ("completed", 2, 0)
    assert len(Registry(taught).all()) == 1


def test_a_running_job_is_cancelled_from_another_program(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    listener = Listener()
    with Queue(home) as queue, Queue(home) as elsewhere:
        run = JobRun(queue, taught, plan=plan(epochs=1000), on_event=listener)
        run.start()
        assert listener.stepped.wait(120)
        (job,) = elsewhere.jobs()
        elsewhere.cancel(job.id)
        finished = run.wait(20)
        assert finished is not None
        assert finished.status == "discarded"
        assert (elsewhere.get(job.id).state, elsewhere.get(job.id).reason) == ("discarded", "asked")
    assert Registry(taught).all() == []


def test_what_was_to_be_kept_is_released_by_the_next_worker_where_the_first_is_lost(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    stepped = threading.Event()
    with Queue(home) as queue:
        job = submit(queue, taught, plan(epochs=1000, checkpoint_steps=1))
        taken = Leases(queue).claim([taught.name])
        assert taken is not None

        def told(event: Event) -> None:
            if isinstance(event, Progress) and event.step == 3:
                stepped.set()

        lost = TrainingRun.resume(taught, job.run_id, told)
        lost.start()
        assert stepped.wait(120)
        queue.cancel(job.id, keep=True)
        lost.kill()
        assert lost.wait(30) is not None
        assert Runs(taught.db).get(job.run_id).status == "interrupted"
        ahead = LEASE_SECONDS + 1
        later = Queue(home, clock=lambda: time.time() + ahead)
        with later:
            later.refresh()
            ahead += GRACE_SECONDS + 1
            later.refresh()
            assert later.get(job.id).state == "waiting"
            Runner(later, {taught.name: taught}, lambda *_: None).run()
            assert later.get(job.id).state == "stopped"
    run = Runs(taught.db).get(job.run_id)
    assert run.status == "stopped"
    assert [version.address for version in Registry(taught).all()] == [run.version]
    assert Runs(taught.db).resumable() == []


def _ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_was_to_be_discarded_is_by_the_next_worker_where_the_first_is_lost(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    ahead = 0.0
    runs, keys = Runs(taught.db), CheckpointKeys(taught.db)
    with Queue(home, clock=lambda: time.time() + ahead) as queue:
        job = submit(queue, taught, plan())
        assert Leases(queue).claim([taught.name]) is not None
        keys.saved(job.run_id, 7)
        runs.start(job.run_id, _ended_process())
        queue.cancel(job.id)
        for seconds in (LEASE_SECONDS, GRACE_SECONDS):
            ahead += seconds + 1
            queue.refresh()
        assert queue.get(job.id).state == "waiting"
        runs.start(job.run_id, os.getpid())
        leases = Leases(queue)
        taken = leases.claim([taught.name])
        assert taken is not None
        assert Attempt(queue, leases, taught, taken, lambda _: None).run() is None
        assert queue.get(job.id).reason == "busy", "its trainer lives"
        ahead += 60
        runs.start(job.run_id, _ended_process())
        assert runs.get(job.run_id).status == "running", "nobody has looked yet"
        Runner(queue, {taught.name: taught}, lambda *_: None).run()
        assert queue.get(job.id).state == "discarded"
    assert runs.get(job.run_id).status == "discarded"
    assert keys.get(job.run_id) is None, "what it had learned cannot be opened any more"


def test_a_run_to_be_discarded_whose_job_was_taken_out_is_discarded_when_its_profile_opens(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    now = time.time()
    with Queue(home, clock=lambda: now) as queue:
        job = submit(queue, taught, plan())
        assert Leases(queue).claim([taught.name]) is not None
        Runs(taught.db).start(job.run_id, _ended_process())
        queue.cancel(job.id)
        for seconds in (LEASE_SECONDS, GRACE_SECONDS):
            now += seconds + 1
            queue.refresh()
        assert queue.cancel(job.id).state == "discarded"
        assert settle(queue, taught) == [job.run_id]
    assert Runs(taught.db).get(job.run_id).status == "discarded"


def test_ctrl_c_puts_the_job_back_and_one_that_may_take_no_longer_ends(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    command = [sys.executable, "-m", "xeno.cli.main", "queue", "run", "--json"]
    with Queue(home) as queue:
        job = submit(queue, taught, plan(epochs=1000))
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background job ignores the signal, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as program:
            assert program.stderr is not None
            for line in program.stderr:
                if "  step " in line:
                    break
            program.send_signal(signal.SIGINT)
            out, _ = program.communicate(timeout=60)
        (told,) = json.loads(out.splitlines()[-1])["jobs"]
        assert (told["state"], told["reason"]) == ("waiting", "later")
        assert queue.get(job.id).failures == 0
        queue.set_machine(longest_run_hours=1e-6)
        Runner(queue, {taught.name: taught}, lambda *_: None).run()
        ended = queue.get(job.id)
    assert ended.reason == "time"
    assert ended.state in ("stopped", "discarded"), "discarded where no step was taken yet"


def test_what_cannot_heal_is_not_tried_again(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan], tmp_path: Path
) -> None:
    with Queue(home) as queue:
        run = JobRun(queue, taught, plan=plan().model_copy(update={"base": str(tmp_path)}))
        finished = run.run()
        assert finished.status == "failed"
        assert run.failure is not None
        assert "cannot be used as a base model" in run.failure.what
        (job,) = queue.jobs(ended=True)
    assert (job.state, job.reason, job.tries) == ("failed", "run", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is kept on Linux only")
def test_a_memory_limit_is_kept(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    with Queue(home) as queue:
        run = JobRun(queue, taught, plan=plan(memory_limit=256, retries=0))
        finished = run.run()
    assert finished.status == "failed"
    assert run.failure is not None
    assert "memory" in run.failure.what.lower(), run.failure


def test_a_second_trainer_of_a_profile_does_not_begin(
    taught: Profile, plan: Callable[..., TrainingPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = files.hold(taught.paths.training_lock, 0)
    assert handle is not None
    assert files.hold(taught.paths.training_lock, 0) is None
    try:
        run = TrainingRun(taught, plan())
        run.start()
        finished = run.wait(60)
    finally:
        os.close(handle)
    assert finished is not None
    assert finished.status == "failed"
    assert run.failure is not None
    assert "Another run of this profile" in run.failure.what
    assert run.failure.can_pass


def test_a_run_that_ended_before_the_queue_heard_of_it_is_not_run_again(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    with Queue(home) as queue:
        job = submit(queue, taught, plan())
        Runs(taught.db).finish(job.run_id, "completed", version=None)
        leases = Leases(queue)
        taken = leases.claim([taught.name])
        assert taken is not None
        attempt = Attempt(queue, leases, taught, taken, lambda _: None)
        finished = attempt.run()
        assert finished is not None
        assert finished.status == "completed"
        assert attempt.pid is None, "no trainer was started"
        assert queue.get(job.id).state == "completed"


def test_a_run_waits_while_the_machine_is_full_and_leaves_the_line_when_stopped(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    listener = Listener()
    waiting = threading.Event()

    def told(event: Event) -> None:
        listener(event)
        if isinstance(event, LogLine):
            waiting.set()

    with Queue(home) as queue:
        queue.add("bob", "another's run")
        assert Leases(queue).claim(["bob"]) is not None
        run = JobRun(queue, taught, plan=plan(), on_event=told)
        run.start()
        assert waiting.wait(20)
        assert "As many runs as the machine allows" in listener.of(LogLine)[0].text
        run.stop("discard")
        finished = run.wait(20)
        assert finished is not None
        assert finished.status == "discarded"
        assert [job.profile for job in queue.jobs()] == ["bob"]
    assert Runs(taught.db).get(finished.run_id).status == "discarded"


def test_the_plan_says_how_often_and_when_a_run_is_tried_again(
    plan: Callable[..., TrainingPlan],
) -> None:
    values = {"retries": 5, "retry_seconds": 7, "longest_retry_minutes": 2}
    assert limits(plan(**values)) == Limits(retries=5, wait=7, longest_wait=120)


def test_a_job_whose_profile_was_locked_when_it_was_cancelled_discards_its_run_later(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Queue(home) as queue:
        kept, gone = submit(queue, taught, plan()), submit(queue, taught, plan())
        queue.cancel(gone.id)
        assert settle(queue, taught) == [gone.run_id]
        assert settle(queue, taught) == []
    assert Runs(taught.db).get(gone.run_id).status == "discarded"
    assert Runs(taught.db).get(kept.run_id).queued


def test_an_interrupted_run_stands_in_line_once_and_is_taken_up_where_it_stands(
    taught: Profile, home: Home, plan: Callable[..., TrainingPlan]
) -> None:
    runs = Runs(taught.db)
    run = runs.create(plan(retries=7))
    with Queue(home) as queue:
        with pytest.raises(InvalidValueError, match="cannot be resumed"):
            resubmit(queue, taught, run.id)
        runs.finish(run.id, "interrupted")
        job = resubmit(queue, taught, run.id)
        assert (job.priority, job.limits.retries) == ("high", 7)
        mine = Leases(queue)
        assert resubmit(queue, taught, run.id, reserved=mine.worker).id == job.id
        assert Leases(queue).claim([taught.name]) is None
        assert mine.claim(job=job.id) is not None
        with pytest.raises(InvalidValueError, match="is running"):
            resubmit(queue, taught, run.id)


def test_from_the_command_line_a_run_is_queued_listed_and_carried_out(
    taught: Profile, home: Home, real_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from xeno.cli.main import main

    def said(*arguments: str) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    options = ["--base", str(real_base), "--no-privacy", "--set", "epochs=1", "--set", "retries=1"]
    first = said("queue", "add", *options)
    second = said("queue", "add", *options, "--priority", "high")
    assert first["limits"] == {"retries": 1, "wait": 30.0, "longest_wait": 3600.0}
    assert "not open" in first["note"]
    assert [job["id"] for job in said("queue")["jobs"]] == [second["id"], first["id"]]
    assert said("queue", "priority", first["id"][:8], "high")["place"] == 2
    assert said("queue", "move", first["id"], "up")["place"] == 1
    assert said("queue", "cancel", second["id"])["state"] == "discarded"
    assert said("queue", "limit", "2", "--set", "ageing_hours=3")["concurrency"] == 2
    (ran,) = said("queue", "run")["jobs"]
    assert (ran["id"], ran["state"], ran["failure"]) == (first["id"], "completed", None)
    assert said("queue", "show", first["id"])["tries"] == 1
    assert said("queue", "list")["jobs"] == []
    assert len(said("queue", "list", "--all")["jobs"]) == 2
    assert main(["queue", "limit", "0"]) == 1
    assert "concurrency" in capsys.readouterr().err
    with open_profile(home) as profile:
        assert Runs(profile.db).get(second["run_id"]).status == "discarded"
