"""One training run from outside: the row in the table of runs, the trainer child, the stop.

    run = TrainingRun(profile, plan, on_event=print)
    run.start()
    finished = run.wait()

Light, and without Qt. `on_event` is called on the child's reader thread; the last event is
always a RunFinished, also when the child was killed. `TrainingRun.resume` goes on with a run that
was interrupted.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from xeno.errors import ChildError, XenoError
from xeno.events import Event, Failure, RunFinished, StopTraining, Train
from xeno.store.profile import Profile
from xeno.store.runs import Runs, RunStatus
from xeno.training.plan import TrainingPlan
from xeno.versions.registry import Registry
from xeno.workers.child import Child, ChildExit, opening

MODULE = "xeno.workers.trainer"
DISCARD_SECONDS = 4.0  # a stop without keeping takes at most 5 s
KEEP_SECONDS = 120.0  # releasing a version takes its time: a large step, the ledger, the file


class TrainingRun:
    """A run of `plan` in a trainer child.

    Args:
        profile: the open profile; its pairs are learned from.
        plan: what to do.
        on_event: called with every event, on the reader thread.
    """

    def __init__(
        self,
        profile: Profile,
        plan: TrainingPlan,
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.run_id: str | None = None
        self.failure: Failure | None = None  # why the run failed, once it has
        self.killed = False  # whether a SIGKILL ended the trainer that nobody here sent
        self._resumes: str | None = None  # the run to go on with
        self._profile = profile
        self._on_event = on_event
        self._child: Child | None = None
        self._started = 0.0
        self._stop: StopTraining | None = None
        self._finished: RunFinished | None = None
        self._done = threading.Event()

    @classmethod
    def resume(
        cls,
        profile: Profile,
        run_id: str,
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> TrainingRun:
        """The run `run_id`: queued, or to be started from its newest checkpoint where it was
        interrupted or failed for a passing reason; see `Runs.resumable`.

        Raises:
            InvalidValueError: if there is no such run.
        """
        run = cls(profile, Runs(profile.db).get(run_id).plan, on_event)
        run._resumes = run_id
        return run

    @property
    def alive(self) -> bool:
        """Whether the run has started and not ended."""
        return self._child is not None and not self._done.is_set()

    @property
    def pid(self) -> int | None:
        """The trainer's process id, None before `start`."""
        return self._child.pid if self._child else None

    def start(self) -> str:
        """Write the run's row, start the trainer, and return the run's id.

        Raises:
            RunGoingOnError: if another run of the profile waits or runs, in any process.
            InvalidValueError: if a run that has ended for good was to be resumed.
            ChildError: if the process cannot be started (the row then says "failed", or
                "interrupted" where it was to be resumed).
        """
        if self._child is not None:
            raise ChildError("This run was already started.")
        runs = Runs(self._profile.db)
        resumes = self._resumes
        self.run_id = (runs.create(self.plan) if resumes is None else runs.reopen(resumes)).id
        self._started = time.monotonic()
        self._child = Child(
            MODULE,
            on_event=self._receive,
            on_exit=self._ended,
            nice=self.plan.niceness,
            log=self._profile.paths.logs / "trainer.log",
        )
        try:
            self._child.start([opening(self._profile), Train(run_id=self.run_id)])
        except ChildError as error:
            self.failure = Failure.of(error)
            status: RunStatus = "failed" if resumes is None else "interrupted"
            runs.finish(self.run_id, status, failure=self.failure)
            self._finish(RunFinished(run_id=self.run_id, status="failed"))
            raise
        return self.run_id

    def stop(self, keep: bool) -> None:
        """Ask the run to end and return at once.

        Args:
            keep: True releases what was learned so far as a version; False discards it and
                takes at most 5 s.
        """
        if self._child is not None and self.alive:
            self._stop = StopTraining(keep=keep)
            self._child.stop(self._stop, grace=KEEP_SECONDS if keep else DISCARD_SECONDS)

    def kill(self) -> None:
        """End the trainer at once; the run becomes "interrupted"."""
        if self._child is not None:
            self._child.kill()

    def wait(self, timeout: float | None = None) -> RunFinished | None:
        """The end of the run; None if it goes on after `timeout` seconds.

        Status "failed" has its reason in `failure`; a run whose trainer was killed is failed
        here and "interrupted" in the table of runs.
        """
        if not self._done.wait(timeout):
            return None
        if self._child is not None:
            self._child.wait(5.0)
        return self._finished

    def _receive(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self._finished = event  # told to the listener when the process is really gone
            return
        if isinstance(event, Failure):
            self.failure = event
        self._on_event(event)

    def _ended(self, end: ChildExit) -> None:
        self.killed = not end.wanted and end.code == -getattr(signal, "SIGKILL", 9)
        if self._finished is None:
            try:
                self._finished = self._explained(end)
            except XenoError as error:  # the profile was closed meanwhile: the row waits
                self.failure = Failure.of(error)
                self._finished = RunFinished(run_id=self.run_id or "", status="failed")
        self._finish(self._finished)

    def _explained(self, end: ChildExit) -> RunFinished:
        """What it means that the trainer ended without saying so; written to the run's row."""
        assert self.run_id is not None
        seconds = time.monotonic() - self._started
        runs = Runs(self._profile.db)
        run = runs.get(self.run_id)
        if run.version is not None:  # released, and ended before it could say so
            version = Registry(self._profile).get(run.version)
            return RunFinished(
                run_id=self.run_id,
                status="completed" if run.status == "completed" else "stopped",
                version=version.address,
                number=version.number,
                epsilon=version.manifest.epsilon,
                seconds=seconds,
            )
        if self._stop is not None and not self._stop.keep:
            runs.finish(self.run_id, "discarded")
            return RunFinished(run_id=self.run_id, status="discarded", seconds=seconds)
        if self.failure is None:
            self.failure = Failure(
                what=f"The run was interrupted. {end.sentence}",
                why="The profile and its versions are as before, and so is the privacy budget.",
                todo="Resume it: it goes on from its newest checkpoint.",
                can_pass=True,
            )
            runs.finish(self.run_id, "interrupted", failure=self.failure)
            self._on_event(self.failure)
        elif run.status in {"waiting", "running"}:
            runs.finish(self.run_id, "failed", failure=self.failure)
        return RunFinished(run_id=self.run_id, status="failed", seconds=seconds)

    def _finish(self, finished: RunFinished) -> None:
        self._finished = finished
        try:
            self._on_event(finished)
        finally:
            self._done.set()
