"""Owns one training run: sees it through the queue, turns its events into signals, stops it."""

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
    TrainingContinued,
    TrainingPaused,
)
from xeno.jobs.foreground import JobRun
from xeno.jobs.store import Queue
from xeno.store.profile import Profile
from xeno.training.plan import TrainingPlan


class TrainingThread(QThread):
    """A new run of `plan`, or the run `resume` from its last checkpoint.

    All signals arrive on the thread that made this object. `ended` is always the last one; a
    failure comes before it.
    """

    created = pyqtSignal(str)  # the run's id: its row is written, its child starts
    begun = pyqtSignal(RunStarted)
    progressed = pyqtSignal(Progress)
    evaluated = pyqtSignal(Evaluated)
    sampled = pyqtSignal(SampleReplies)
    logged = pyqtSignal(LogLine)
    paused = pyqtSignal(TrainingPaused)
    continued = pyqtSignal(TrainingContinued)
    failed = pyqtSignal(XenoError)
    ended = pyqtSignal(RunFinished)

    def __init__(
        self,
        profile: Profile,
        plan: TrainingPlan | None = None,
        *,
        resume: str | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._profile = profile
        self._plan = plan
        self._resume = resume
        self._run: JobRun | None = None
        self._stop: bool | None = None
        self._told_end = False
        self._run_id = ""

    @property
    def pid(self) -> int | None:
        """The trainer's process id while it runs."""
        return self._run.pid if self._run else None

    def stop(self, keep: bool) -> None:
        """Ask the run to end after its step; `keep` releases what was learned so far."""
        self._stop = keep
        if self._run is not None:
            self._run.stop("keep" if keep else "discard")

    def run(self) -> None:
        """The thread's body: see the run through to its end."""
        try:
            with Queue(self._profile.home) as queue:
                self._run = JobRun(
                    queue,
                    self._profile,
                    plan=self._plan,
                    resume=self._resume,
                    on_event=self._tell,
                    on_run=self._known,
                )
                if self._stop is not None:  # asked before there was a run
                    self.stop(self._stop)
                self._run.run()
        except XenoError as error:
            if not self._told_end:
                self.failed.emit(error)
        except Exception as error:  # a thread's edge: it becomes a crash report, not an abort
            self.failed.emit(ChildError("The run could not be started.", repr(error)))
        if not self._told_end:
            self.ended.emit(RunFinished(run_id=self._run_id, status="failed"))

    def _known(self, run_id: str) -> None:
        self._run_id = run_id
        self.created.emit(run_id)

    def _tell(self, event: Event) -> None:
        """Called on the thread that the event came on."""
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
