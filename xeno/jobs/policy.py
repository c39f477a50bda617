"""Which job goes next: pure functions of what stands in the queue.

Higher priority first, and within one priority the profile that has used the machine least of
late. A job rises one priority with every `ageing` it has waited, so that a low one goes some
day however many high ones come. A profile has one run at a time, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xeno.jobs.job import PRIORITIES, Job, Limits
from xeno.jobs.machine import MachineSettings

HOUR = 3600.0
Hindrance = Literal["", "later", "profile", "locked", "limit", "behind"]


@dataclass(frozen=True)
class Worker:
    """A process that is there, and what it would start now.

    Attributes:
        profiles: those it has unlocked and would run any job of.
        job: the one job that it waits for, if it does.
    """

    id: str
    profiles: frozenset[str] = frozenset()
    job: str | None = None

    def takes(self, job: Job, present: Iterable[str]) -> bool:
        """Whether it would run `job`; one that is reserved waits for who reserved it."""
        if job.reserved is not None and job.reserved != self.id and job.reserved in present:
            return False
        return self.job == job.id or job.profile in self.profiles


@dataclass(frozen=True)
class Situation:
    """The queue at one moment.

    Attributes:
        jobs: the waiting and the running ones.
        workers: the processes that are there.
        usage: seconds of machine time per profile, older ones counting less.
        now: Unix seconds.
    """

    jobs: Sequence[Job]
    workers: Sequence[Worker]
    usage: Mapping[str, float]
    machine: MachineSettings
    now: float


def level(job: Job, machine: MachineSettings, now: float) -> int:
    """How urgent `job` is, 0 the most: its priority, less one for every ageing it has waited."""
    aged = int(max(now - job.since, 0.0) / (machine.ageing_hours * HOUR))
    return max(PRIORITIES.index(job.priority) - aged, 0)


def ordered(situation: Situation) -> list[Job]:
    """The waiting jobs, the one that should go next first."""
    machine, now, usage = situation.machine, situation.now, situation.usage
    return sorted(
        (job for job in situation.jobs if job.state == "waiting"),
        key=lambda job: (level(job, machine, now), usage.get(job.profile, 0.0), job.position),
    )


def startable(situation: Situation) -> list[Job]:
    """The jobs that may start now, at most as many as the limit has room for."""
    running = [job for job in situation.jobs if job.state == "running"]
    busy = {job.profile for job in running}
    room = situation.machine.concurrency - len(running)
    chosen: list[Job] = []
    for job in ordered(situation):
        if len(chosen) >= room:
            break
        if job.not_before <= situation.now and job.profile not in busy and _served(job, situation):
            chosen.append(job)
            busy.add(job.profile)
    return chosen


def hindrance(job: Job, situation: Situation) -> Hindrance:
    """Why the waiting `job` does not run; "" for one that is running or may start now."""
    if job.state != "waiting":
        return ""
    if job.not_before > situation.now:
        return "later"
    running = [other for other in situation.jobs if other.state == "running"]
    if any(other.profile == job.profile for other in running):
        return "profile"
    if not _served(job, situation):
        return "locked"
    if len(running) >= situation.machine.concurrency:
        return "limit"
    return "" if any(other.id == job.id for other in startable(situation)) else "behind"


def retry_wait(limits: Limits, failures: int) -> float:
    """Seconds to wait after the `failures`-th failed try: doubles each time, up to a ceiling."""
    doublings = min(max(failures - 1, 0), 60)  # 2**60 waits are beyond every ceiling
    return float(min(limits.wait * 2**doublings, limits.longest_wait))


def decayed(seconds: float, age: float, machine: MachineSettings) -> float:
    """What `seconds` of machine time used `age` seconds ago still count."""
    return float(seconds * 0.5 ** (max(age, 0.0) / (machine.fairness_hours * HOUR)))


def _served(job: Job, situation: Situation) -> bool:
    present = {worker.id for worker in situation.workers}
    return any(worker.takes(job, present) for worker in situation.workers)
