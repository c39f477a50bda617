"""The machine's queue of training runs, shared by the window and every command line.

    queue = Queue(home)
    job = queue.add("default", run_id, "medium", Limits())
    queue.move(job.id, "up")

Who runs the jobs asks for them through `xeno.jobs.leases`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import fields
from sqlite3 import Row
from typing import Any, Literal

from pydantic import ValidationError

from xeno.errors import InvalidValueError
from xeno.jobs.database import QueueFile
from xeno.jobs.job import GRACE_SECONDS, LEASE_SECONDS, Job, Limits, Priority, Reason, State
from xeno.jobs.machine import MachineSettings
from xeno.jobs.policy import Situation, Worker, decayed
from xeno.jobs.process import Identity
from xeno.paths import Home
from xeno.store.processes import gone

PRESENCE_SECONDS = 30.0  # a worker that has not asked for work so long is not there
LAPSE_SECONDS = 30.0  # time to cancel a job that took its program, or the machine, down
KEPT = 100  # ended jobs that are still listed


class Queue:
    """The queue of the machine at `home`; one object per process, usable from any thread.

    Args:
        clock: Unix seconds.
        has_ended: whether the process (number, birth) has certainly ended.
    """

    def __init__(
        self,
        home: Home,
        *,
        clock: Callable[[], float] = time.time,
        has_ended: Callable[[int, str], bool] = gone,
    ) -> None:
        self.home = home
        self.file = QueueFile(home)
        self.clock = clock
        self.has_ended = has_ended

    def close(self) -> None:
        """Close the queue's file. A second call does nothing."""
        self.file.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What stands there --------------------------------------------------------------------

    def jobs(self, *, ended: bool = False) -> list[Job]:
        """The jobs that wait or run, in the order in which they were added; or the ended ones,
        the last first."""
        if ended:
            rows = self.file.read("SELECT * FROM jobs WHERE ended IS NOT NULL ORDER BY ended DESC")
        else:
            rows = self.file.read("SELECT * FROM jobs WHERE ended IS NULL ORDER BY position")
        return [_job(row) for row in rows]

    def get(self, job_id: str) -> Job:
        """The job whose id is, or begins with, `job_id`.

        Raises:
            InvalidValueError: there is none, or more than one.
        """
        rows = self.file.read(
            "SELECT * FROM jobs WHERE substr(id, 1, ?) = ? LIMIT 2", (len(job_id), job_id)
        )
        if len(rows) != 1 or not job_id:
            raise InvalidValueError(
                f"There is no single job {job_id!r}.",
                "More than one id begins with that." if rows else "No job's id begins with that.",
                "See 'xeno queue list --all' for the ids.",
            )
        return _job(rows[0])

    def of_run(self, run_id: str) -> Job | None:
        """The job of the run `run_id`, the last one if there were several."""
        rows = self.file.read(
            "SELECT * FROM jobs WHERE run_id = ? ORDER BY position DESC LIMIT 1", (run_id,)
        )
        return _job(rows[0]) if rows else None

    def situation(self) -> Situation:
        """Everything that decides which job goes next, as it is now."""
        now, machine = self.clock(), self.machine()
        return Situation(
            jobs=self.jobs(),
            workers=[
                Worker(row["id"], frozenset(json.loads(row["profiles"])), row["job"])
                for row in self.file.read("SELECT * FROM workers WHERE until > ?", (now,))
                if not self.has_ended(row["pid"], row["birth"])
            ],
            usage=self.usage(),
            machine=machine,
            now=now,
        )

    def usage(self) -> dict[str, float]:
        """Seconds of machine time per profile, older ones counting less."""
        now, machine = self.clock(), self.machine()
        return {
            row["profile"]: decayed(row["seconds"], now - row["at"], machine)
            for row in self.file.read("SELECT * FROM usage")
        }

    def refresh(self) -> None:
        """Find the jobs whose worker is gone, as every worker does that asks for one."""
        if self.file.read("SELECT 1 FROM jobs WHERE state = 'running' LIMIT 1"):
            with self.file.change():
                self.lapse()

    # Settings of the machine --------------------------------------------------------------

    def machine(self) -> MachineSettings:
        """The settings that hold for all profiles."""
        rows = self.file.read("SELECT key, value FROM settings")
        known = {row["key"]: json.loads(row["value"]) for row in rows}
        return MachineSettings.model_validate(
            {key: value for key, value in known.items() if key in MachineSettings.model_fields}
        )

    def set_machine(self, **values: Any) -> MachineSettings:
        """Change settings that hold for all profiles. A run that goes on is left alone.

        Raises:
            InvalidValueError: a setting that there is not, or a value out of its range.
        """
        with self.file.change(durable=True):
            try:
                settings = MachineSettings.model_validate(self.machine().model_dump() | values)
            except ValidationError as error:
                first = error.errors()[0]
                raise InvalidValueError(
                    f"The setting {'.'.join(map(str, first['loc']))!r} cannot be used.",
                    f"{first['msg']}.",
                    f"The settings are: {', '.join(MachineSettings.model_fields)}.",
                ) from error
            for key in values:
                self.file.write(
                    "INSERT INTO settings VALUES (?, ?) "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    (key, json.dumps(getattr(settings, key))),
                )
        return settings

    # What users do ------------------------------------------------------------------------

    def add(
        self,
        profile: str,
        run_id: str,
        priority: Priority = "medium",
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        *,
        reserved: Identity | None = None,
    ) -> Job:
        """Put the run `run_id`, whose plan stands in `profile`, into the queue.

        Args:
            reserved: the worker that will run it itself; while it is there nobody else does.
        """
        now, job_id = self.clock(), uuid.uuid4().hex
        with self.file.change(durable=True):
            self.file.write(
                "INSERT INTO jobs (id, profile, run_id, priority, position, state, retries, wait,"
                " longest_wait, created, since, reserved) SELECT ?, ?, ?, ?,"
                " coalesce(max(position), 0) + 1, 'waiting', ?, ?, ?, ?, ?, ? FROM jobs",
                (
                    job_id, profile, run_id, priority,
                    limits.retries, limits.wait, limits.longest_wait,
                    now, now, reserved.id if reserved else None,
                ),
            )  # fmt: skip
            if reserved is not None:
                self.meet(reserved, (), job_id)
            self.file.write(
                "DELETE FROM jobs WHERE ended IS NOT NULL AND id NOT IN (SELECT id FROM jobs"
                " WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT ?)",
                (KEPT,),
            )
        return self.get(job_id)

    def take_up(self, job_id: str, reserved: Identity | None) -> Job:
        """Make a waiting job the most urgent there is, at once and for `reserved` alone."""
        with self.file.change(durable=True):
            job = self._open(job_id, ("waiting",))
            self.file.write(
                "UPDATE jobs SET priority = 'high', not_before = 0, reserved = ?, cancel = NULL"
                " WHERE id = ?",
                (reserved.id if reserved else None, job.id),
            )
            if reserved is not None:
                self.meet(reserved, (), job.id)
        return self.get(job.id)

    def cancel(self, job_id: str, *, keep: bool = False) -> Job:
        """Take a waiting job out; ask for the end of a running one.

        One that was asked and lost its worker waits to be ended so by another; asked again, it
        is discarded, and asked once more it leaves the queue.

        Args:
            keep: a running one releases what it has learned so far as a version.

        Raises:
            InvalidValueError: it has ended already.
        """
        with self.file.change(durable=True):
            job = self._open(job_id, ("waiting", "running"))
            if job.state == "waiting" and job.cancel in (None, "discard"):
                self.end(job.id, "discarded", "asked")
            else:
                # A second word may turn keep into discard, never the other way: by then the
                # first one has discarded.
                keep = keep and job.state == "running" and job.cancel != "discard"
                wanted = "keep" if keep else "discard"
                self.file.write("UPDATE jobs SET cancel = ? WHERE id = ?", (wanted, job.id))
        return self.get(job.id)

    def set_priority(self, job_id: str, priority: Priority) -> Job:
        """Make a waiting job more or less urgent; it goes behind the others of that priority."""
        with self.file.change(durable=True):
            job = self._open(job_id, ("waiting",))
            if job.priority != priority:
                self.file.write(
                    "UPDATE jobs SET priority = ?,"
                    " position = (SELECT max(position) + 1 FROM jobs) WHERE id = ?",
                    (priority, job.id),
                )
        return self.get(job.id)

    def move(self, job_id: str, where: Literal["up", "down", "first", "last"]) -> Job:
        """Change a waiting job's place among those of its profile and priority.

        Between profiles and priorities fairness and urgency decide, not the order.

        Raises:
            InvalidValueError: it does not wait, or has that place already.
        """
        forward = where in ("up", "first")
        with self.file.change(durable=True):
            job = self._open(job_id, ("waiting",))
            others = self.file.read(
                "SELECT id, position FROM jobs WHERE state = 'waiting' AND profile = ?"
                f" AND priority = ? AND position {'<' if forward else '>'} ?"
                f" ORDER BY position {'DESC' if forward else 'ASC'}",
                (job.profile, job.priority, job.position),
            )
            if not others:
                raise InvalidValueError(
                    f"The job {job.id[:8]} is the {'first' if forward else 'last'} already.",
                    "Jobs are ordered among those of one profile and priority.",
                    "Change its priority to bring it before or behind others.",
                )
            # One after the other past those that are passed, so that their order stays.
            place = job.position
            for other in others[:1] if where in ("up", "down") else others:
                self.file.write("UPDATE jobs SET position = ? WHERE id = ?", (place, other["id"]))
                place = other["position"]
            self.file.write("UPDATE jobs SET position = ? WHERE id = ?", (place, job.id))
        return self.get(job.id)

    # Inside a change ----------------------------------------------------------------------

    def meet(self, worker: Identity, profiles: Collection[str], job: str | None) -> None:
        """Note that `worker` is there, and what it would run."""
        now = self.clock()
        self.file.write(
            "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?)",
            (
                worker.id, worker.pid, worker.birth,
                now + PRESENCE_SECONDS, json.dumps(sorted(profiles)), job,
            ),
        )  # fmt: skip
        self.file.write("DELETE FROM workers WHERE until <= ?", (now,))

    def lapse(self) -> None:
        """Jobs whose worker is not heard of wait again. Not as failed: it was not their fault.

        One that was asked to end waits as well, for who has its profile open: only there can
        what it learned be released, or its checkpoints be destroyed.
        """
        now = self.clock()
        for row in self.file.read("SELECT * FROM jobs WHERE state = 'running'"):
            if not self.has_ended(row["pid"], row["birth"]):
                if row["lease"] > now:
                    continue
                if row["lease"] <= row["renewed"] + LEASE_SECONDS:
                    # The computer may have slept, or its clock was set: whoever wakes first does
                    # not take what another would renew in a moment.
                    self.file.write(
                        "UPDATE jobs SET lease = ? WHERE id = ?", (now + GRACE_SECONDS, row["id"])
                    )
                    continue
            self.wait_again(row["id"], "lapsed", 0.0 if row["cancel"] else LAPSE_SECONDS)

    def wait_again(self, job_id: str, reason: Reason, delay: float) -> None:
        """The job waits for another try, which begins in `delay` seconds at the earliest."""
        now = self.clock()
        self.file.write(
            "UPDATE jobs SET state = 'waiting', worker = NULL, pid = NULL, birth = NULL, lease = 0,"
            " started = NULL, since = ?, not_before = ?, reason = ? WHERE id = ?",
            (now, now + delay, reason, job_id),
        )

    def end(self, job_id: str, state: State, reason: Reason) -> None:
        """The job has ended."""
        self.file.write(
            "UPDATE jobs SET state = ?, reason = ?, ended = ?, worker = NULL, pid = NULL,"
            " birth = NULL, lease = 0 WHERE id = ?",
            (state, reason, self.clock(), job_id),
        )

    def _open(self, job_id: str, states: tuple[State, ...]) -> Job:
        job = self.get(job_id)
        if job.state not in states:
            raise InvalidValueError(
                f"The job {job.id[:8]} is {job.state}.",
                f"Only a job that is {' or '.join(states)} can be changed so.",
                "See 'xeno queue list'.",
            )
        return job


def _job(row: Row) -> Job:
    values: dict[str, Any] = {
        field.name: row[field.name] for field in fields(Job) if field.name != "limits"
    }
    limits = Limits(row["retries"], row["wait"], row["longest_wait"])
    return Job(**values, limits=limits)
