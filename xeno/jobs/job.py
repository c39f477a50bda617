"""What the queue knows of a run: whose it is, how urgent, how far, and its limits.

Nothing here says what is learned: the plan stands in the profile's own encrypted table of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Priority = Literal["high", "medium", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")

LEASE_SECONDS = 60.0  # how long a job stays with a worker that is not heard of
GRACE_SECONDS = 30.0  # and how long after that was found, if its process may still live

State = Literal["waiting", "running", "completed", "stopped", "discarded", "failed"]

Reason = Literal["", "crashed", "passing", "busy", "lapsed", "later", "time", "asked", "run"]
"""Why a job is where it is; what a run said in words stays in its profile."""

REASONS: dict[Reason, str] = {
    "": "",
    "crashed": "Its process was killed or crashed.",
    "passing": "It failed for a reason that can pass; 'xeno runs' says which.",
    "busy": "Another run of the profile was going on.",
    "lapsed": "The program that ran it is gone.",
    "later": "It was put back to go on later.",
    "time": "It reached the longest time that a run may take.",
    "asked": "It was cancelled.",
    "run": "It failed; 'xeno runs' says why.",
}


@dataclass(frozen=True)
class Limits:
    """How often a job is tried.

    Attributes:
        retries: how often it is tried again after something that can heal.
        wait: seconds before the first retry; doubles with every further one.
        longest_wait: seconds it never waits longer than.
    """

    retries: int = 3
    wait: float = 30.0
    longest_wait: float = 3600.0


@dataclass(frozen=True)
class Job:
    """One run in the queue. Times are Unix seconds.

    Attributes:
        position: its place among the jobs of one profile and priority; smaller goes first.
        since: when it began to wait, last.
        not_before: when it may be tried again.
        tries: how often it was started; with `worker` it names one try and no other.
        failures: how many of the tries failed.
        used: seconds it has run until `renewed`.
        worker: who runs it.
        lease: until when it is `worker`'s without another word from there.
        renewed: when `worker` was heard last.
        reserved: the worker that wants to run it itself, as long as that one is there.
        cancel: what was asked of it while it ran: keep what was learned, or discard it. It holds
            until that is done, by whichever worker.
    """

    id: str
    profile: str
    run_id: str
    priority: Priority
    position: int
    state: State
    limits: Limits
    created: float
    since: float
    not_before: float = 0.0
    started: float | None = None
    ended: float | None = None
    tries: int = 0
    failures: int = 0
    used: float = 0.0
    worker: str | None = None
    lease: float = 0.0
    renewed: float = 0.0
    reserved: str | None = None
    cancel: Literal["keep", "discard"] | None = None
    reason: Reason = ""

    def seconds(self, now: float) -> float:
        """How long it has run until `now`; a computer that sleeps does not run it."""
        if self.state != "running":
            return self.used
        return self.used + min(max(now - self.renewed, 0.0), LEASE_SECONDS)
