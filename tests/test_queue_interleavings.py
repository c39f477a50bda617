"""Two workers on one queue in every order that chance finds: real SQLite, a simulated clock.

Whatever happens (a worker is slow, hangs, is killed; jobs come, move and are cancelled), no job
runs twice at once, none that has ended runs again, no profile has two runs, the limit holds, and
nobody starves.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from xeno.jobs.job import LEASE_SECONDS, PRIORITIES, Job, Limits
from xeno.jobs.leases import Leases
from xeno.jobs.policy import HOUR, hindrance
from xeno.jobs.process import Identity
from xeno.jobs.store import Queue
from xeno.paths import Home

PROFILES = ("ann", "bob", "cleo")
WORKERS = (0, 1)


@dataclass
class Program:
    """A process with the queue open, and the jobs that it is running."""

    queue: Queue
    pid: int
    leases: Leases = field(init=False)
    holding: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.leases = Leases(self.queue, Identity(self.pid, "birth"))


class TwoWorkers(RuleBasedStateMachine):
    """The world: a clock, the processes that live, and what each believes to hold."""

    @initialize(limit=st.integers(1, 3))
    def begin(self, limit: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.home = Home.at(self.folder.name)
        self.now, self.pids, self.living = 1e6, 0, set[int]()
        self.programs = [self._start() for _ in WORKERS]
        self.queue = self.programs[0].queue
        self.queue.set_machine(concurrency=limit)
        self.limit, self.runs = limit, 0
        self.completed: Counter[str] = Counter()
        self.ended: set[str] = set()

    def _start(self) -> Program:
        self.pids += 1
        self.living.add(self.pids)
        queue = Queue(
            self.home, clock=lambda: self.now, has_ended=lambda pid, _: pid not in self.living
        )
        return Program(queue, self.pids)

    # What users do

    @rule(
        profile=st.sampled_from(PROFILES),
        priority=st.sampled_from(PRIORITIES),
        reserve=st.sampled_from([None, *WORKERS]),
    )
    def add(self, profile: str, priority: Any, reserve: int | None) -> None:
        self.runs += 1
        worker = None if reserve is None else self.programs[reserve].leases.worker
        self.queue.add(profile, f"run {self.runs}", priority, Limits(1, 10, 20), reserved=worker)

    @rule(data=st.data(), keep=st.booleans())
    def cancel(self, data: st.DataObject, keep: bool) -> None:
        if jobs := self.queue.jobs():
            job = data.draw(st.sampled_from(jobs))
            after = self.queue.cancel(job.id, keep=keep)
            at_once = job.state == "waiting" and job.cancel != "keep"
            assert (after.state == "discarded") == at_once

    @rule(data=st.data(), priority=st.sampled_from(PRIORITIES))
    def change(self, data: st.DataObject, priority: Any) -> None:
        if waiting := [job for job in self.queue.jobs() if job.state == "waiting"]:
            job = data.draw(st.sampled_from(waiting))
            self.queue.set_priority(job.id, priority)

    @rule(limit=st.integers(1, 3))
    def set_limit(self, limit: int) -> None:
        self.limit = self.queue.set_machine(concurrency=limit).concurrency

    # What workers do

    @rule(who=st.sampled_from(WORKERS), profiles=st.sets(st.sampled_from(PROFILES)))
    def claim(self, who: int, profiles: set[str]) -> None:
        program = self.programs[who]
        taken = program.leases.claim(profiles)
        if taken is None:
            return
        running = [job for job in self.queue.jobs() if job.state == "running"]
        assert len(running) <= self.limit, "more run than the limit allows"
        assert taken.profile in profiles
        assert taken.id not in self.ended, "what has ended runs again"
        assert taken.not_before <= self.now
        for other in self.programs:  # a claim before this one is worth nothing any more
            if taken.id in other.holding:
                assert other.leases.renew(other.holding[taken.id]) is None
        program.holding[taken.id] = taken

    @rule(who=st.sampled_from(WORKERS))
    def renew(self, who: int) -> None:
        program = self.programs[who]
        for job in list(program.holding.values()):
            if program.leases.renew(job) is None:
                del program.holding[job.id]

    @precondition(lambda self: any(program.holding for program in self.programs))
    @rule(data=st.data(), how=st.sampled_from(["completed", "crashed", "busy"]))
    def end(self, data: st.DataObject, how: str) -> None:
        program = data.draw(st.sampled_from([each for each in self.programs if each.holding]))
        job = program.holding.pop(data.draw(st.sampled_from(sorted(program.holding))))
        if how == "completed":
            self.completed[job.id] += program.leases.finish(job, "completed")
        else:
            program.leases.give_back(
                job, "crashed" if how == "crashed" else "busy", failed=how == "crashed", wait=3
            )

    @rule(who=st.sampled_from(WORKERS))
    def die(self, who: int) -> None:
        self.living.discard(self.programs[who].pid)
        self.programs[who].queue.close()
        self.programs[who] = self._start()
        self.queue = self.programs[0].queue

    @rule(seconds=st.sampled_from([1.0, 9.0, 31.0, LEASE_SECONDS + 1, 7 * HOUR]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    # What must hold

    @invariant()
    def nothing_runs_twice(self) -> None:
        running = [job for job in self.queue.jobs() if job.state == "running"]
        assert len({job.profile for job in running}) == len(running)
        assert max(self.completed.values(), default=0) <= 1
        for job in running:
            holders = [
                program
                for program in self.programs
                if (held := program.holding.get(job.id)) is not None
                and (held.worker, held.tries) == (job.worker, job.tries)
            ]
            assert len(holders) <= 1

    @invariant()
    def what_has_ended_stays_so(self) -> None:
        now_ended = {job.id for job in self.queue.jobs(ended=True)}
        assert self.ended <= now_ended
        self.ended = now_ended

    @invariant()
    def every_waiting_job_has_a_reason_or_can_start(self) -> None:
        situation = self.queue.situation()
        room = situation.machine.concurrency - sum(j.state == "running" for j in situation.jobs)
        free = [j for j in situation.jobs if j.state == "waiting" and not hindrance(j, situation)]
        assert len(free) <= max(room, 0)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for program in self.programs:
                program.queue.close()
            self.folder.cleanup()


TwoWorkers.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,  # the same ones each time; more of them by hand: max_examples
    suppress_health_check=[HealthCheck.too_slow],
)
TestTwoWorkers = TwoWorkers.TestCase


class Simulation:
    """One machine that runs jobs of given lengths one after the other, and the waits of each."""

    def __init__(self, folder: Path) -> None:
        self.now = 1e6
        self.queue = Queue(Home.at(folder), clock=lambda: self.now)
        self.leases = Leases(self.queue, Identity(1, "birth"))
        self.runs = 0

    def add(self, profile: str, priority: Any = "medium") -> Job:
        self.runs += 1
        return self.queue.add(profile, f"run {self.runs}", priority)

    def run_one(self, seconds: float) -> Job:
        """Claim a job, run it for `seconds`, and end it."""
        taken = self.leases.claim(PROFILES)
        assert taken is not None
        left = seconds
        while left > 0:
            step = min(left, LEASE_SECONDS / 2)
            self.now += step
            left -= step
            assert self.leases.renew(taken) is not None
        assert self.leases.finish(taken, "completed")
        return taken


def test_a_low_job_under_an_endless_stream_of_high_ones_starts_once_it_has_aged(
    tmp_path: Path,
) -> None:
    machine = Simulation(tmp_path)
    low = machine.add("ann", "low")
    began, length = machine.now, HOUR
    for profile in ("bob", "cleo"):
        machine.add(profile, "high")
    while (ran := machine.run_one(length)).id != low.id:
        machine.add(ran.profile, "high")
        assert machine.now - began < 24 * HOUR, "it starves"
    ageing = machine.queue.machine().ageing_hours * HOUR
    waited = machine.now - length - began
    assert 2 * ageing <= waited <= 2 * ageing + 2 * length
    machine.queue.close()


def test_profiles_share_the_machine_evenly_however_many_jobs_each_has(tmp_path: Path) -> None:
    machine, chance = Simulation(tmp_path), random.Random(0)
    machine.queue.set_machine(ageing_hours=1000, fairness_hours=1000)
    for _ in range(60):  # ann asks for most, and did so first
        machine.add("ann")
    for profile in ("bob", "cleo"):
        for _ in range(25):
            machine.add(profile)
    got: Counter[str] = Counter()
    longest = 400.0
    for _ in range(45):
        seconds = chance.uniform(50, longest)
        got[machine.run_one(seconds).profile] += seconds
        if len(got) == 3:
            assert max(got.values()) - min(got.values()) <= longest + 1
    assert len(got) == 3
    machine.queue.close()


def test_one_who_comes_late_is_next_and_does_not_take_all(tmp_path: Path) -> None:
    machine = Simulation(tmp_path)
    for _ in range(10):
        machine.add("ann")
    for _ in range(5):
        machine.run_one(100)
    for _ in range(6):
        machine.add("bob")
    order = [machine.run_one(100).profile for _ in range(8)]
    assert order[0] == "bob"
    assert "ann" in order
    machine.queue.close()
