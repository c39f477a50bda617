"""The runs of this window: what the user starts, and what the queue gives it to do.

One at a time: a profile never has two. Whoever shows a run connects to `opened`.
"""

from __future__ import annotations

from PyQt6.QtCore import QObject, QTimer, pyqtSignal

from ui.tasks import Tasks
from ui.training_thread import TrainingThread
from xeno.jobs.job import Job
from xeno.jobs.leases import Leases
from xeno.jobs.store import Queue
from xeno.jobs.submission import settle
from xeno.store.profile import Profile
from xeno.training.plan import TrainingPlan

LOOK_MILLISECONDS = 2000  # between two looks whether a job of the profile may start


class WindowRuns(QObject):
    """Starts threads for runs of the open profile.

    Args:
        queue: the machine's queue.
        profile: the open profile.
        tasks: does what must not hold the window up.
    """

    opened = pyqtSignal(TrainingThread)  # a run begins; its thread has not started yet
    failed = pyqtSignal(object)  # the queue cannot be read; it is not looked at any more

    def __init__(self, queue: Queue, profile: Profile, tasks: Tasks, parent: QObject) -> None:
        super().__init__(parent)
        self.current: TrainingThread | None = None
        self._queue = queue
        self._profile = profile
        self._tasks = tasks
        self._leases = Leases(queue)
        self._asking = False
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MILLISECONDS)
        self._timer.timeout.connect(self._ask)

    def begin(self) -> None:
        """Take jobs of the profile from the queue from now on, whoever added them."""
        self._tasks.run(
            lambda: settle(self._queue, self._profile),
            lambda _: self._timer.start(),
            self.failed.emit,
            owner=self,
        )

    def start(self, plan: TrainingPlan) -> TrainingThread:
        """Begin a run of `plan` at high priority; it waits where the queue says so."""
        return self._open(plan=plan)

    def resume(self, run_id: str) -> TrainingThread:
        """Go on with a run that was interrupted."""
        return self._open(resume=run_id)

    def put_back(self) -> None:
        """Leave the run in the queue for another time, and take no more jobs."""
        self._timer.stop()
        if self.current is not None:
            self.current.put_back()

    def close(self) -> None:
        """Take no more jobs. Blocks for a moment; at the very end."""
        self._timer.stop()
        if self._asking or self.current is not None:
            return  # what this process holds is free when it ends
        self._leases.leave()

    def _open(self, **which: TrainingPlan | str | Job) -> TrainingThread:
        if self.current is not None:
            raise RuntimeError("a window has one run at a time")
        thread = TrainingThread(self._queue, self._profile, self._leases, self, **which)
        self.current = thread
        self.opened.emit(thread)
        thread.ended.connect(self._ended)
        thread.start()
        return thread

    def _ended(self) -> None:
        thread, self.current = self.current, None
        if thread is not None:
            thread.wait()
            thread.deleteLater()

    def _ask(self) -> None:
        if self._asking or self.current is not None:
            return
        self._asking = True
        name = self._profile.name
        self._tasks.run(
            lambda: self._leases.claim([name]), self._answered, self._unreadable, owner=self
        )

    def _answered(self, taken: Job | None) -> None:
        self._asking = False
        if taken is None:
            return
        if self.current is None:
            self._open(taken=taken)
        else:  # the user was quicker
            self._tasks.run(lambda: self._leases.give_back(taken, "busy", failed=False))

    def _unreadable(self, error: BaseException) -> None:
        self._asking = False
        self._timer.stop()
        self.failed.emit(error)
