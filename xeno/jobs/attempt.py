"""One try of a job: its run in a trainer child, the lease kept meanwhile, and what came of it.

    finished = Attempt(leases, profile, taken, on_event=print).run()

The job is the queue's again afterwards, ended or waiting for another try.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Literal

from xeno.errors import InvalidValueError, RunGoingOnError, XenoError
from xeno.events import Event, Failure, LogLine, RunFinished, TrainerKilled
from xeno.jobs.job import Job, Reason
from xeno.jobs.leases import Leases
from xeno.jobs.store import Queue
from xeno.store.profile import Profile
from xeno.store.runs import Run, Runs
from xeno.workers.memory_kills import memory_kills
from xeno.workers.training_client import TrainingRun

HEARTBEAT_SECONDS = 10.0
BUSY_SECONDS = 10.0  # until a job is tried again whose profile had another run
_LOOK_SECONDS = 0.5  # between two looks at what was asked of the job

Order = Literal["keep", "discard", "later"]


class Attempt:
    """A try of the job `taken`, which the worker of `leases` has just claimed.

    Args:
        on_event: called with the run's events. A Failure and RunFinished come only where the
            job has ended with them; before another try a LogLine tells what happened.
    """

    def __init__(
        self,
        queue: Queue,
        leases: Leases,
        profile: Profile,
        taken: Job,
        on_event: Callable[[Event], None],
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._profile = profile
        self._runs = Runs(profile.db)
        self._job = taken
        self._on_event = on_event
        self._training: TrainingRun | None = None
        self._order: Order | None = None
        self._reason: Reason = ""
        self._lost = False
        self._failure: Failure | None = None
        self._memory_kills: int | None = None  # of the machine, before the trainer started
        self._asked = threading.Event()

    @property
    def pid(self) -> int | None:
        """The trainer's process id, None before it started."""
        return self._training.pid if self._training else None

    @property
    def failure(self) -> Failure | None:
        """Why the job failed, once it has."""
        return self._failure

    def stop(self, order: Order) -> None:
        """Ask for the end of this try, and return at once.

        Args:
            order: "keep" releases what was learned so far, "discard" leaves nothing, "later"
                puts the job back into the queue to go on from its newest checkpoint.
        """
        self._order = order
        self._asked.set()

    def kill(self) -> None:
        """End the trainer at once; what it had learned since its checkpoint is lost."""
        if self._training is not None:
            self._training.kill()

    def run(self) -> RunFinished | None:
        """Carry out the try. None if the job waits again, or belongs to another worker."""
        try:
            run = self._runs.get(self._job.run_id)
        except InvalidValueError as error:  # the profile was restored, or made anew
            return self._failed(Failure.of(error))
        if (ended := as_finished(run)) is not None:
            # It had ended when the program that ran it was lost; the queue did not hear of it.
            self._leases.finish(self._job, ended.status)
            self._on_event(ended)
            return ended
        if self._job.cancel == "discard":  # its worker was lost before it could obey
            return self._discarded()
        self._training = TrainingRun.resume(self._profile, self._job.run_id, self._tell)
        self._memory_kills = memory_kills()
        try:
            self._training.start()
        except RunGoingOnError as error:
            self._leases.give_back(self._job, "busy", failed=False, wait=BUSY_SECONDS)
            self._say(str(error))
            return None
        except XenoError as error:
            failure = Failure.of(error)
            passing = error.can_pass or not isinstance(error, InvalidValueError)
            return self._again(failure, "crashed") if passing else self._failed(failure)
        return self._judge(self._watched(self._training))

    def _discarded(self) -> RunFinished | None:
        """Give the run up without starting a trainer; None while an earlier one still lives."""
        self._runs.mark_interrupted()
        run = self._runs.get(self._job.run_id)
        if run.status in ("waiting", "running") and not run.queued:
            self._leases.give_back(self._job, "busy", failed=False, wait=BUSY_SECONDS)
            return None
        with contextlib.suppress(InvalidValueError):  # it failed, and nothing of it is kept
            self._runs.discard(run.id)
        self._leases.finish(self._job, "discarded", "asked")
        finished = RunFinished(run_id=run.id, status="discarded")
        self._on_event(finished)
        return finished

    # While it runs ------------------------------------------------------------------------

    def _watched(self, training: TrainingRun) -> RunFinished:
        heard = time.monotonic()
        obeyed: Order | None = None
        while (finished := training.wait(_LOOK_SECONDS)) is None:
            if self._lost:
                continue
            # A queue that cannot be written to (a full disk) is nobody's: the run goes on.
            with contextlib.suppress(XenoError):
                now = self._queue.get(self._job.id)
                if time.monotonic() - heard >= HEARTBEAT_SECONDS:
                    heard = time.monotonic()
                    self._lost = self._leases.renew(self._job) is None
                if self._lost:
                    training.kill()
                    continue
                self._look(now)
            if self._order != obeyed:
                obeyed = self._order
                if obeyed == "later":
                    training.kill()
                elif obeyed is not None:
                    training.stop(keep=obeyed == "keep")
        return finished

    def _look(self, job: Job) -> None:
        """Turn what was asked of the job elsewhere, or its time, into an order."""
        longest = self._queue.machine().longest_run_hours
        if job.cancel is not None and self._order != "discard":
            self._order, self._reason = job.cancel, "asked"
        elif (
            self._order is None
            and longest is not None
            and job.seconds(self._queue.clock()) >= longest * 3600
        ):
            self._order, self._reason = "keep", "time"
            self._say("The run has gone on for the longest time that is allowed.")

    def _tell(self, event: Event) -> None:
        if isinstance(event, Failure):
            self._failure = event  # told when it is known whether the job has ended with it
        elif not isinstance(event, RunFinished):
            self._on_event(event)

    # What came of it ----------------------------------------------------------------------

    def _judge(self, finished: RunFinished) -> RunFinished | None:
        assert self._training is not None
        failure = self._training.failure
        run = self._runs.get(self._job.run_id)
        if self._lost:
            self._say("Another program has taken the run over.")
            return None
        if finished.status != "failed":
            self._leases.finish(self._job, finished.status, self._reason)
            self._on_event(finished)
            return finished
        if self._training.killed and run.status == "interrupted":
            self._note_kill()
        if failure is None:
            failure = Failure(what="The run ended without saying why.")
        if self._order == "later" and run.status == "interrupted":
            self._leases.give_back(self._job, "later", failed=False)
            return None
        if self._order is not None:  # it was to end, and was killed before it could do so
            self._leases.finish(self._job, "stopped", "asked")
            return self._told(failure, finished)
        reason: Reason = "crashed" if run.status == "interrupted" else "passing"
        if reason == "crashed" or failure.can_pass:
            return self._again(failure, reason, finished)
        return self._failed(failure, finished)

    def _note_kill(self) -> None:
        """Keep with the run that something has killed its trainer. Where that may have been for
        want of memory, the next attempt computes in smaller parts.

        A kill that the kernel does not count was somebody's (`kill -9`), and the run goes on bit
        for bit. If it happens again, a program that watches over memory may be behind it.
        """
        before, now = self._memory_kills, memory_kills()
        counted = before is None or now is None or now > before
        run_id = self._job.run_id
        with contextlib.suppress(XenoError):  # without the note it is tried again as it was
            memory = counted or bool(self._runs.kills(run_id))
            self._runs.append_event(run_id, TrainerKilled(run_id=run_id, memory=memory))

    def _again(
        self, failure: Failure, reason: Reason, finished: RunFinished | None = None
    ) -> RunFinished | None:
        """Put the job back for another try; its end if it has had enough of them."""
        back = self._leases.give_back(self._job, reason, failed=True)
        if back is None or back.state == "waiting":
            wait = 0.0 if back is None else back.not_before - self._queue.clock()
            self._say(f"{failure.what} {failure.why} It is tried again in {max(wait, 0):.0f} s.")
            return None
        return self._told(failure, finished)

    def _failed(self, failure: Failure, finished: RunFinished | None = None) -> RunFinished:
        self._leases.finish(self._job, "failed", "run")
        return self._told(failure, finished)

    def _told(self, failure: Failure, finished: RunFinished | None) -> RunFinished:
        self._failure = failure
        self._on_event(failure)
        end = finished or RunFinished(run_id=self._job.run_id, status="failed")
        self._on_event(end)
        return end

    def _say(self, text: str) -> None:
        self._on_event(LogLine(level="warning", text=text))


def as_finished(run: Run) -> RunFinished | None:
    """The end of a run as its row tells it; None if it can go on or never began."""
    seconds = (run.finished or 0.0) - (run.started or run.finished or 0.0)
    match run.status:
        case "completed" | "stopped" | "discarded" as status:
            return RunFinished(run_id=run.id, status=status, version=run.version, seconds=seconds)
        case _:
            return None
