"""Owns one training run: waits for its turn, turns its events into signals, stops it."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import QObject, QThread, pyqtSignal

from xeno.errors import ChildError, XenoError
from xeno.events import (
    Evaluated,
    Event,
    Failure,
    LogLine,
    Progress,
    RunFinished,
    RunStarted,
    SampleReplies,
    TrainingContinued,
    TrainingPaused,
)
from xeno.jobs.foreground import JobRun
from xeno.jobs.job import Job
from xeno.jobs.leases import Leases
from xeno.jobs.store import Queue
from xeno.store.profile import Profile
from xeno.training.plan import TrainingPlan


class TrainingThread(QThread):
    """A run that goes through the machine's queue. All signals arrive on the thread that made
    this object; `ended` is always the last one, and a failure comes before it.

    Args:
        leases: the window as a worker of the queue.
        which: one of `plan` (a new run), `resume` (the id of an earlier one) and `taken` (a job
            that `leases` has claimed).
    """

    created = pyqtSignal(str)  # the run's id: it is in the queue
    begun = pyqtSignal(RunStarted)
    progressed = pyqtSignal(Progress)
    evaluated = pyqtSignal(Evaluated)
    sampled = pyqtSignal(SampleReplies)
    paused = pyqtSignal(TrainingPaused)
    continued = pyqtSignal(TrainingContinued)
    logged = pyqtSignal(LogLine)
    failed = pyqtSignal(XenoError)
    ended = pyqtSignal(RunFinished)

    def __init__(
        self,
        queue: Queue,
        profile: Profile,
        leases: Leases,
        parent: QObject | None = None,
        **which: TrainingPlan | str | Job,
    ) -> None:
        super().__init__(parent)
        self._told_end = False
        given: dict[str, Any] = which
        self._run = JobRun(
            queue,
            profile,
            on_event=self._tell,
            on_run=self.created.emit,
            leases=leases,
            **given,
        )

    @property
    def run_id(self) -> str | None:
        """The run's id once it is in the queue."""
        return self._run.run_id

    @property
    def pid(self) -> int | None:
        """The trainer's process id while one runs."""
        return self._run.pid

    def stop(self, keep: bool) -> None:
        """Ask the run to end after its step; `keep` releases what was learned so far."""
        self._run.stop("keep" if keep else "discard")

    def put_back(self) -> None:
        """Leave the run in the queue, to go on from its newest checkpoint another time."""
        self._run.stop("later")

    def run(self) -> None:
        """The thread's body: wait for the run's turn, then for its end."""
        try:
            self._run.run()
        except XenoError as error:
            if not self._told_end:
                self.failed.emit(error)
        except Exception as error:  # a thread's edge: it becomes a crash report, not an abort
            self.failed.emit(ChildError("The run could not be started.", repr(error)))
        if not self._told_end:
            self.ended.emit(RunFinished(run_id=self._run.run_id or "", status="failed"))

    def _tell(self, event: Event) -> None:
        """Called on this thread and on the child's reader thread."""
        match event:
            case RunStarted():
                self.begun.emit(event)
            case Progress():
                self.progressed.emit(event)
            case Evaluated():
                self.evaluated.emit(event)
            case SampleReplies():
                self.sampled.emit(event)
            case TrainingPaused():
                self.paused.emit(event)
            case TrainingContinued():
                self.continued.emit(event)
            case LogLine():
                self.logged.emit(event)
            case Failure():
                self.failed.emit(XenoError(event.what, event.why, event.todo))
            case RunFinished():
                self._told_end = True
                self.ended.emit(event)
            case _:
                pass
