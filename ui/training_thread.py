"""Owns one training run: starts its child, turns its events into signals, stops it."""

from __future__ import annotations

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
)
from xeno.store.profile import Profile
from xeno.training.plan import TrainingPlan
from xeno.workers.training_client import TrainingRun


class TrainingThread(QThread):
    """A run of `plan`. All signals arrive on the thread that made this object.

    `ended` is always the last one; a failure comes before it.
    """

    created = pyqtSignal(str)  # the run's id: its row is written, its child starts
    begun = pyqtSignal(RunStarted)
    progressed = pyqtSignal(Progress)
    evaluated = pyqtSignal(Evaluated)
    sampled = pyqtSignal(SampleReplies)
    logged = pyqtSignal(LogLine)
    failed = pyqtSignal(XenoError)
    ended = pyqtSignal(RunFinished)

    def __init__(self, profile: Profile, plan: TrainingPlan, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._run = TrainingRun(profile, plan, self._tell)
        self._stop: bool | None = None
        self._told_end = False

    @property
    def run_id(self) -> str | None:
        """The run's id once its row is written."""
        return self._run.run_id

    @property
    def pid(self) -> int | None:
        """The trainer's process id, None before it started."""
        return self._run.pid

    def stop(self, keep: bool) -> None:
        """Ask the run to end after its step; `keep` releases what was learned so far."""
        self._stop = keep
        if self._run.alive:
            self._run.stop(keep)

    def run(self) -> None:
        """The thread's body: start the child, then wait for its end."""
        try:
            run_id = self._run.start()
            self.created.emit(run_id)
            if self._stop is not None:  # asked before there was a child
                self._run.stop(self._stop)
            self._run.wait()
        except XenoError as error:
            if not self._told_end:
                self.failed.emit(error)
        except Exception as error:  # a thread's edge: it becomes a crash report, not an abort
            self.failed.emit(ChildError("The run could not be started.", repr(error)))
        if not self._told_end:
            self.ended.emit(RunFinished(run_id=self._run.run_id or "", status="failed"))

    def _tell(self, event: Event) -> None:
        """Called on the child's reader thread."""
        match event:
            case RunStarted():
                self.begun.emit(event)
            case Progress():
                self.progressed.emit(event)
            case Evaluated():
                self.evaluated.emit(event)
            case SampleReplies():
                self.sampled.emit(event)
            case LogLine():
                self.logged.emit(event)
            case Failure():
                self.failed.emit(XenoError(event.what, event.why, event.todo))
            case RunFinished():
                self._told_end = True
                self.ended.emit(event)
            case _:
                pass
