"""What those who run jobs say to the queue: claim one, go on with it, be done with it.

    leases = Leases(queue, Identity())
    taken = leases.claim(profiles=["default"])  # None until it is some job's turn
    leases.renew(taken)  # at least every LEASE_SECONDS
    leases.finish(taken, "completed")

A job belongs to the worker that claimed it for as long as the lease is renewed. Every later word
names the job, the worker and the try: once another has the job, the words of the earlier one
count no more. A lease that is not renewed lapses, at once when the worker's process is found to
be gone, otherwise GRACE_SECONDS after it was found to be over; the job then waits again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from xeno.errors import XenoError
from xeno.jobs.job import LEASE_SECONDS, Job, Reason, State
from xeno.jobs.policy import Worker, retry_wait, startable
from xeno.jobs.process import Identity
from xeno.jobs.store import Queue


class Leases:
    """The claims of one worker. Usable from any thread."""

    def __init__(self, queue: Queue, worker: Identity | None = None) -> None:
        self.worker = worker or Identity()
        self._queue = queue
        self._file = queue.file

    def claim(self, profiles: Collection[str] = (), job: str | None = None) -> Job | None:
        """The job that this worker is to start now, already its own; None if there is none.

        Asking also tells that the worker is there: jobs of a profile that nobody has unlocked
        are passed over.

        Args:
            profiles: those that it has unlocked and would run any job of.
            job: the one that it waits for.
        """
        if not self._file.read("SELECT 1 FROM jobs WHERE ended IS NULL LIMIT 1"):
            return None  # an idle worker writes nothing
        with self._file.change():
            self._queue.meet(self.worker, profiles, job)
            self._queue.lapse()
            situation = self._queue.situation()
            wish = Worker(self.worker.id, frozenset(profiles), job)
            present = {other.id for other in situation.workers}
            mine = next((each for each in startable(situation) if wish.takes(each, present)), None)
            if mine is None:
                return None
            now, me = situation.now, self.worker
            self._file.write(
                "UPDATE jobs SET state = 'running', started = ?, renewed = ?, lease = ?,"
                " tries = tries + 1, worker = ?, pid = ?, birth = ?, reason = '' WHERE id = ?",
                (now, now, now + LEASE_SECONDS, me.id, me.pid, me.birth, mine.id),
            )
        return self._queue.get(mine.id)

    def renew(self, taken: Job) -> Job | None:
        """Keep the claim for another LEASE_SECONDS: the job as it is now, with what was asked of
        it; None if the claim is lost, and with it the right to run.

        A lease that ran out while the computer slept is renewed, if nobody took the job back.
        """
        with self._file.change():
            if not self._holds(taken):
                return None
            self._charge(taken.id)
            self._file.write(
                "UPDATE jobs SET lease = renewed + ? WHERE id = ?", (LEASE_SECONDS, taken.id)
            )
        return self._queue.get(taken.id)

    def finish(self, taken: Job, state: State, reason: Reason = "") -> bool:
        """The claimed job has ended as `state`; False if the claim was lost."""
        with self._file.change(durable=True):
            if not self._holds(taken):
                return False
            self._charge(taken.id)
            self._queue.end(taken.id, state, reason)
        return True

    def give_back(
        self,
        taken: Job,
        reason: Reason,
        *,
        failed: bool,
        wait: float = 0.0,
        run_id: str | None = None,
    ) -> Job | None:
        """The claimed job waits for another try, or has failed when it had enough of them.

        Args:
            failed: the try counts as one that failed, and the wait doubles with each.
            wait: seconds before the next try, for one that did not fail.
            run_id: the run that the next try is, if it is another.

        Returns:
            The job as it is now; None if the claim was lost.
        """
        with self._file.change(durable=True):
            if not self._holds(taken):
                return None
            self._charge(taken.id)
            failures = taken.failures + failed
            if failed and failures > taken.limits.retries:
                self._queue.end(taken.id, "failed", reason)
            else:
                delay = retry_wait(taken.limits, failures) if failed else wait
                self._queue.wait_again(taken.id, reason, delay)
                self._file.write(
                    "UPDATE jobs SET failures = ?, run_id = coalesce(?, run_id) WHERE id = ?",
                    (failures, run_id, taken.id),
                )
        return self._queue.get(taken.id)

    def leave(self) -> None:
        """This worker asks for no more work: what it reserved is anybody's.

        Where that cannot be written it is forgotten after PRESENCE_SECONDS.
        """
        with contextlib.suppress(XenoError), self._file.change():
            self._file.write("DELETE FROM workers WHERE id = ?", (self.worker.id,))

    # Inside a change ----------------------------------------------------------------------

    def _charge(self, job_id: str) -> None:
        """Count the time since the worker was heard last against the job and its profile; what
        is more than a lease the computer slept."""
        job, now = self._queue.get(job_id), self._queue.clock()
        seconds = job.seconds(now) - job.used
        used = self._queue.usage().get(job.profile, 0.0)
        self._file.write(
            "INSERT OR REPLACE INTO usage VALUES (?, ?, ?)", (job.profile, used + seconds, now)
        )
        self._file.write(
            "UPDATE jobs SET used = used + ?, renewed = ? WHERE id = ?", (seconds, now, job_id)
        )

    def _holds(self, taken: Job) -> bool:
        rows = self._file.read(
            "SELECT 1 FROM jobs WHERE id = ? AND state = 'running' AND worker = ? AND tries = ?",
            (taken.id, self.worker.id, taken.tries),
        )
        return bool(rows)
