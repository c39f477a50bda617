"""A job that somebody waits for: its turn, its tries, its end, in this process.

    run = JobRun(queue, profile, plan=plan, on_event=print)
    finished = run.run()  # blocks; `stop` may be called from other threads
    run.start(); run.wait(0.2)  # the same on a thread of its own

`xeno train` and the window start their runs like this, so that they stand in the same line as
all others of the machine.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future

from xeno.errors import InvalidValueError
from xeno.events import Event, Failure, LogLine, RunFinished
from xeno.jobs.attempt import Attempt, Order, as_finished
from xeno.jobs.job import Job
from xeno.jobs.leases import Leases
from xeno.jobs.policy import Hindrance, hindrance
from xeno.jobs.store import Queue
from xeno.jobs.submission import resubmit, submit
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan

TURN_SECONDS = 1.0  # between two looks whether it is the job's turn

HINDRANCES: dict[Hindrance, str] = {
    "": "It starts soon.",
    "later": "It waits before it is tried again.",
    "profile": "Another run of its profile is going on.",
    "locked": "Its profile is not open in the window or in 'xeno queue run'.",
    "limit": "As many runs as the machine allows are going on.",
    "behind": "Other jobs go first.",
}
"""What a waiting job waits for, as a sentence."""


class JobRun:
    """A run that goes through the queue with this process waiting for it.

    Exactly one of `plan`, `resume`, `queued` and `taken` says which.

    Args:
        plan: a new run of this plan, at high priority.
        resume: the id of an earlier run that can go on, at high priority.
        queued: a job of before that waits; where another program runs it, its end is waited for.
        taken: a job that `leases` has claimed already.
        on_event: called with the run's events; the last one is RunFinished.
        on_run: called with the run's id and its plan when it is known which run it is.
        leases: the worker that this process is; one of its own by default.
    """

    def __init__(
        self,
        queue: Queue,
        profile: Profile,
        *,
        plan: TrainingPlan | None = None,
        resume: str | None = None,
        queued: Job | None = None,
        taken: Job | None = None,
        on_event: Callable[[Event], None] = lambda _: None,
        on_run: Callable[[str], None] = lambda _: None,
        leases: Leases | None = None,
    ) -> None:
        if sum(given is not None for given in (plan, resume, queued, taken)) != 1:
            raise ValueError("one of plan, resume, queued and taken")
        self.job = taken or queued
        self.failure: Failure | None = None  # why the run failed, once it has
        self._queue = queue
        self._profile = profile
        self._plan = plan
        self._resume = resume
        self._taken = taken
        self._on_event = on_event
        self._on_run = on_run
        self._own = leases is None
        self._leases = leases or Leases(queue)
        self._order: Order | None = None
        self._attempt: Attempt | None = None
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._result: Future[RunFinished] | None = None

    @property
    def run_id(self) -> str | None:
        """The run's id once it is in the queue."""
        return self.job.run_id if self.job else self._resume

    @property
    def pid(self) -> int | None:
        """The trainer's process id while one runs."""
        return self._attempt.pid if self._attempt else None

    def stop(self, order: Order) -> None:
        """Ask for the end, and return at once.

        Args:
            order: "keep" releases what was learned so far, "discard" leaves nothing, "later"
                leaves the job in the queue, for whoever has the profile open next.
        """
        with self._guard:
            self._order = order
            if self._attempt is not None:
                self._attempt.stop(order)
        self._wake.set()

    def kill(self) -> None:
        """End the trainer at once; after `stop`, when that takes too long."""
        with self._guard:
            if self._attempt is not None:
                self._attempt.kill()

    def start(self) -> None:
        """Do `run` on a thread of its own."""
        self._result = result = Future[RunFinished]()

        def work() -> None:
            try:
                result.set_result(self.run())
            except BaseException as error:  # the thread's edge: `wait` raises it
                result.set_exception(error)

        threading.Thread(target=work, name="run", daemon=True).start()

    def wait(self, timeout: float | None = None) -> RunFinished | None:
        """The end of the run that `start` began; None if it goes on after `timeout` seconds.

        Raises:
            XenoError: what `run` raised.
        """
        assert self._result is not None
        try:
            return self._result.result(timeout)
        except TimeoutError:
            return None

    def run(self) -> RunFinished:
        """Wait for the job's turn and carry it out, tries and all.

        Raises:
            XenoError: if it could not be queued.
        """
        try:
            given = self._taken  # claimed by whoever made this object
            if self.job is None:
                self.job = self._submitted()
            self._on_run(self.job.run_id)
            while True:
                taken = given or self._turn()
                given = None
                if taken is None:
                    return self._ended_waiting()
                if (finished := self._tried(taken)) is not None:
                    return finished
        finally:
            if self._own:
                self._leases.leave()

    def _submitted(self) -> Job:
        worker = self._leases.worker
        if self._plan is not None:
            return submit(self._queue, self._profile, self._plan, "high", reserved=worker)
        assert self._resume is not None
        return resubmit(self._queue, self._profile, self._resume, reserved=worker)

    def _turn(self) -> Job | None:
        """The job, claimed, when it is its turn; None if it left the queue or is to be left."""
        assert self.job is not None
        told: Hindrance = ""
        while self._order is None:
            taken = self._leases.claim(job=self.job.id)
            if taken is not None:
                return taken
            self.job = self._queue.get(self.job.id)
            if self.job.ended is not None:
                return None
            why = hindrance(self.job, self._queue.situation())
            if why not in (told, "later"):  # of a retry the try before has told
                told = why
                self._on_event(LogLine(text=f"The run waits. {HINDRANCES[why]}"))
            self._wake.wait(TURN_SECONDS)
            self._wake.clear()
        return None

    def _tried(self, taken: Job) -> RunFinished | None:
        with self._guard:
            self.job = taken
            self._attempt = Attempt(self._queue, self._leases, self._profile, taken, self._on_event)
            if self._order is not None:
                self._attempt.stop(self._order)
        finished = self._attempt.run()
        self.failure = self._attempt.failure
        with self._guard:
            self._attempt = None
        return finished

    def _ended_waiting(self) -> RunFinished:
        """The end of a job that does not run here any more.

        A run that never began is discarded with its job; one that did can be resumed later,
        unless it was to be discarded.
        """
        assert self.job is not None
        job = self._queue.get(self.job.id)
        if job.state == "waiting" and self._order in ("keep", "discard"):
            job = self._queue.cancel(job.id)
        runs = Runs(self._profile.db)
        run = runs.get(job.run_id)
        if job.state == "discarded" and (run.queued or self._order == "discard"):
            with contextlib.suppress(InvalidValueError):  # it has ended elsewhere meanwhile
                runs.discard(run.id)
        left = RunFinished(run_id=run.id, status="failed" if job.state == "failed" else "stopped")
        finished = as_finished(runs.get(run.id)) or left
        self._on_event(finished)
        return finished
