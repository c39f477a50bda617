"""Runs the jobs of unlocked profiles, each in a thread, as their turn comes: `xeno queue run`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from xeno.errors import XenoError
from xeno.events import Event, Failure, RunFinished
from xeno.jobs.attempt import Attempt, Order
from xeno.jobs.job import Job
from xeno.jobs.leases import Leases
from xeno.jobs.store import Queue
from xeno.jobs.submission import settle
from xeno.store.profile import Profile

TURN_SECONDS = 1.0  # between two looks whether it is some job's turn


class Runner:
    """Runs jobs of `profiles` (by name, all unlocked) until none of them is left to run.

    Args:
        stay: wait for more when none is left.
        on_event: called with the job and each event of its run, on several threads.
    """

    def __init__(
        self,
        queue: Queue,
        profiles: Mapping[str, Profile],
        on_event: Callable[[Job, Event], None],
        *,
        stay: bool = False,
    ) -> None:
        self._queue = queue
        self._profiles = dict(profiles)
        self._on_event = on_event
        self._stay = stay
        self._leases = Leases(queue)
        self._order: Order | None = None
        self._going: dict[str, tuple[threading.Thread, Attempt]] = {}  # by profile
        self._guard = threading.Lock()
        self._wake = threading.Event()

    def stop(self, order: Order) -> None:
        """Start no more jobs, and ask the running ones to end so; returns at once."""
        with self._guard:
            self._order = order
            for _, attempt in self._going.values():
                attempt.stop(order)
        self._wake.set()

    def run(self) -> None:
        """Run jobs until there is none left, or until `stop`; all have ended then."""
        for profile in self._profiles.values():
            settle(self._queue, profile)
        try:
            while self._order is None:
                free = self._profiles.keys() - self._busy()
                taken = self._leases.claim(free) if free else None
                if taken is not None:
                    self._begin(taken)
                elif not self._stay and not self._busy() and not self._left():
                    break
                else:
                    self._wake.wait(TURN_SECONDS)
                    self._wake.clear()
        finally:
            for thread, _ in list(self._going.values()):
                thread.join()
            self._leases.leave()

    def _busy(self) -> set[str]:
        with self._guard:
            return {name for name, (thread, _) in self._going.items() if thread.is_alive()}

    def _left(self) -> bool:
        """Whether a job waits that this runner would run, now or later."""
        situation = self._queue.situation()
        others = {worker.id for worker in situation.workers} - {self._leases.worker.id}
        return any(
            job.state == "waiting" and job.profile in self._profiles and job.reserved not in others
            for job in situation.jobs
        )

    def _begin(self, taken: Job) -> None:
        attempt = Attempt(
            self._queue,
            self._leases,
            self._profiles[taken.profile],
            taken,
            lambda event: self._on_event(taken, event),
        )
        thread = threading.Thread(
            target=self._carry_out, args=(taken, attempt), name=f"job {taken.id[:8]}"
        )
        with self._guard:
            self._going[taken.profile] = (thread, attempt)
            if self._order is not None:
                attempt.stop(self._order)
            thread.start()

    def _carry_out(self, taken: Job, attempt: Attempt) -> None:
        try:
            attempt.run()
        except XenoError as error:  # the thread's edge: it is told, and the lease lapses
            failure = Failure.of(error)
            self._on_event(taken, failure)
            self._on_event(taken, RunFinished(run_id=taken.run_id, status="failed"))
        finally:
            self._wake.set()
