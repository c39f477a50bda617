"""The training runs: plan, state, events and outcome of each."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xeno.errors import InvalidValueError, RunGoingOnError
from xeno.events import Event, Failure, Message, NoiseDrawn, TrainerKilled, decode_event, encode
from xeno.paths import ProfilePaths
from xeno.store import files, processes
from xeno.store.checkpoint_keys import CheckpointKeys
from xeno.store.database import Database, Row
from xeno.training.plan import TrainingPlan

RunStatus = Literal[
    "waiting", "running", "completed", "stopped", "discarded", "interrupted", "failed"
]

_RESUMABLE = ("interrupted", "failed")
_PROCESS = "run.process"  # the setting that says which process the run that goes on has
_GOING = "status IN ('waiting', 'running') AND process_id IS NOT NULL"  # not in the queue


@dataclass(frozen=True)
class Run:
    """One training run. Times are Unix seconds; `version` is a content address.

    `process_id` is the trainer's, or while the run waits, of the process that asked for it; a
    run that waits without one is in the machine's queue.
    """

    id: str
    status: RunStatus
    created: float
    started: float | None
    finished: float | None
    process_id: int | None
    plan: TrainingPlan
    base_hash: str | None
    data_hash: str | None
    environment: Mapping[str, Any]
    metrics: Mapping[str, Any]
    failure: Failure | None
    version: str | None

    @property
    def queued(self) -> bool:
        """Whether it waits in the machine's queue."""
        return self.status == "waiting" and self.process_id is None


@dataclass(frozen=True)
class Resumable:
    """A run that can go on, and with how many steps it begins then."""

    run: Run
    step: int


class Runs:
    """The runs of a profile, of which one goes on at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._keys = CheckpointKeys(db)

    def create(self, plan: TrainingPlan, *, queued: bool = False) -> Run:
        """Note that a run of `plan` is wanted; it waits until its trainer starts it.

        Args:
            queued: it waits in the machine's queue, beside others, until `reopen` takes it.

        Raises:
            RunGoingOnError: if another run of the profile waits or runs, in any process.
        """
        run_id = uuid.uuid4().hex
        with self._db.transaction() as connection:
            if not queued:
                self._require_none_going()
            connection.execute(
                "INSERT INTO runs (id, status, created, process_id, plan) "
                "VALUES (?, 'waiting', ?, ?, ?)",
                (run_id, time.time(), None if queued else os.getpid(), plan.model_dump_json()),
            )
            self._keys.make(run_id)
            if not queued:
                self._note_process(run_id, os.getpid())
        return self.get(run_id)

    def resumable(self) -> list[Resumable]:
        """The runs that were interrupted, or failed after their first checkpoint, newest first."""
        steps = self._keys.steps()
        ended = [run for run in self.all(-1) if run.status in _RESUMABLE and run.id in steps]
        return [Resumable(run, steps[run.id]) for run in ended]

    def queued(self) -> list[Run]:
        """The runs that wait in the machine's queue, the oldest first."""
        rows = self._db.read(
            "SELECT * FROM runs WHERE status = 'waiting' AND process_id IS NULL ORDER BY created"
        )
        return [_run(row) for row in rows]

    def reopen(self, run_id: str) -> Run:
        """Let a queued, interrupted or failed run wait for a trainer that goes on with it.

        Raises:
            InvalidValueError: if it has ended for good.
            RunGoingOnError: if another run of the profile waits or runs, in any process.
        """
        with self._db.transaction():
            self._require_none_going()
            self.require_resumable(run_id)
            self._set(
                run_id,
                "status = 'waiting', started = NULL, finished = NULL, "
                "failure = NULL, process_id = ?",
                os.getpid(),
            )
            self._note_process(run_id, os.getpid())
        return self.get(run_id)

    def require_resumable(self, run_id: str) -> None:
        """Check that the run is queued, or was interrupted, or failed for a reason that can pass.

        Raises:
            InvalidValueError: if it has ended for good, or goes on.
        """
        run = self.get(run_id)
        if run.queued:
            return
        if run.status not in _RESUMABLE or self._keys.get(run_id) is None:
            raise InvalidValueError(
                f"The run {run_id[:8]} cannot be resumed.",
                f"It is {run.status}, and nothing is kept to go on from.",
                "Start a new run with the same settings.",
            )

    def discard(self, run_id: str) -> None:
        """Give up a run that is queued or could go on; its checkpoints cannot be opened any more.

        Raises:
            InvalidValueError: if it has ended for good.
        """
        with self._db.transaction():
            self.require_resumable(run_id)
            self.finish(run_id, "discarded", self.get(run_id).metrics)

    def rewind(self, run_id: str, step: int) -> None:
        """Drop the events of steps after `step`: they will be taken again."""
        with self._db.transaction() as connection:
            connection.execute(
                "DELETE FROM run_events WHERE run_id = ? AND json_extract(event, '$.step') > ?",
                (run_id, step),
            )

    def noisy_steps(self, run_id: str) -> list[NoiseDrawn]:
        """The notes of the noisy steps of all attempts at the run."""
        return [NoiseDrawn.model_validate_json(each) for each in self._of(run_id, "noise_drawn")]

    def kills(self, run_id: str) -> list[TrainerKilled]:
        """How often the run's trainer was killed and nobody here had asked for it."""
        found = self._of(run_id, "trainer_killed")
        return [TrainerKilled.model_validate_json(each) for each in found]

    def last_step(self, run_id: str) -> int:
        """The highest step that any event of the run tells of, 0 without one."""
        row = self._db.one(
            "SELECT max(json_extract(event, '$.step')) FROM run_events WHERE run_id = ?", (run_id,)
        )
        return int(row[0]) if row is not None and row[0] is not None else 0

    def get(self, run_id: str) -> Run:
        """The run. Raises InvalidValueError if there is none."""
        row = self._db.one("SELECT * FROM runs WHERE id = ?", (run_id,))
        if row is None:
            raise InvalidValueError(
                f"There is no run {run_id!r}.",
                "It was deleted, or belongs to another profile.",
                "Choose one from the list of runs.",
            )
        return _run(row)

    def all(self, limit: int = 50) -> list[Run]:
        """The `limit` newest runs, newest first; all of them if it is negative."""
        rows = self._db.read(
            "SELECT * FROM runs ORDER BY created DESC, rowid DESC LIMIT ?", (limit,)
        )
        return [_run(row) for row in rows]

    def some(self, ids: Sequence[str]) -> list[Run]:
        """Those of the runs `ids` that there are, in the order in which they were created."""
        places = ", ".join("?" * len(ids))
        rows = self._db.read(
            f"SELECT * FROM runs WHERE id IN ({places}) ORDER BY created, rowid", list(ids)
        )
        return [_run(row) for row in rows]

    def count(self) -> int:
        """How many runs there are."""
        row = self._db.one("SELECT count(*) FROM runs")
        assert row is not None
        return int(row[0])

    def start(self, run_id: str, process_id: int) -> None:
        """The trainer with `process_id` begins."""
        with self._db.transaction():
            self._set(
                run_id, "status = 'running', started = ?, process_id = ?", time.time(), process_id
            )
            self._note_process(run_id, process_id)

    def describe(
        self, run_id: str, base_hash: str, data_hash: str, environment: Mapping[str, Any]
    ) -> None:
        """Note what the run works on: hashes of base and data, versions of libraries."""
        self._set(
            run_id,
            "base_hash = ?, data_hash = ?, environment = ?",
            base_hash,
            data_hash,
            json.dumps(dict(environment)),
        )

    def finish(
        self,
        run_id: str,
        status: RunStatus,
        metrics: Mapping[str, Any] | None = None,
        failure: Failure | None = None,
        version: str | None = None,
    ) -> None:
        """The run has ended. It can go on only where it was interrupted, or has failed and left
        a checkpoint; otherwise its checkpoints are closed for good."""
        with self._db.transaction():
            self._set(
                run_id,
                "status = ?, finished = ?, metrics = ?, failure = ?, version = ?",
                status,
                time.time(),
                json.dumps(dict(metrics or {})),
                failure.model_dump_json() if failure else None,
                version,
            )
            if status not in _RESUMABLE or (status == "failed" and not self._keys.has_file(run_id)):
                self._keys.destroy(run_id)

    def append_event(self, run_id: str, event: Message) -> None:
        """Keep `event` with the run; the curves are drawn from it later."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO run_events (run_id, seq, event) SELECT ?, coalesce(max(seq), 0) + 1, ?"
                " FROM run_events WHERE run_id = ?",
                (run_id, encode(event).decode("ascii").rstrip("\n"), run_id),
            )

    def events(self, run_id: str) -> list[Event]:
        """The run's events in their order."""
        rows = self._db.read("SELECT event FROM run_events WHERE run_id = ? ORDER BY seq", [run_id])
        return [decode_event(row["event"]) for row in rows]

    def _of(self, run_id: str, kind: str) -> list[str]:
        """The run's events of one type, as they are kept."""
        rows = self._db.read(
            "SELECT event FROM run_events WHERE run_id = ? "
            "AND json_extract(event, '$.type') = ? ORDER BY seq",
            (run_id, kind),
        )
        return [row["event"] for row in rows]

    def mark_interrupted(self) -> list[Run]:
        """Mark the runs whose process is gone without a word; the ones just marked."""
        with self._db.transaction():
            rows = self._db.read(f"SELECT * FROM runs WHERE {_GOING}")
            gone = [run for run in map(_run, rows) if not self._alive(run)]
            for run in gone:
                self._set(run.id, "status = 'interrupted', finished = ?", time.time())
        return [self.get(run.id) for run in gone]

    def _require_none_going(self) -> None:
        self.mark_interrupted()
        row = self._db.one(f"SELECT id FROM runs WHERE {_GOING}")
        if row is not None:
            raise RunGoingOnError(
                "Another run of this profile is going on.",
                f"It is the run {row['id']}.",
                "Wait until it has ended, or stop it where it was started.",
            )

    def _alive(self, run: Run) -> bool:
        """Whether the run's process lives.

        Of one before a reboot or in another container only the lock tells, which a trainer holds
        while it lives; its program, while it starts the trainer, is not known from here.
        """
        row = self._db.one("SELECT value FROM settings WHERE key = ?", (_PROCESS,))
        noted = {} if row is None else json.loads(row["value"])
        born = str(noted.get("birth", "")) if noted.get("run") == run.id else ""
        if run.process_id is not None and processes.known_here(born):
            return not processes.gone(run.process_id, born)
        return files.held(ProfilePaths(self._db.path.parent).training_lock)

    def _note_process(self, run_id: str, process_id: int) -> None:
        """Keep when the process of the run that goes on was born; a profile has one such run."""
        noted = {"run": run_id, "birth": processes.birth(process_id) or ""}
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO settings (key, value) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (_PROCESS, json.dumps(noted)),
            )

    def _set(self, run_id: str, assignments: str, *values: Any) -> None:
        with self._db.transaction() as connection:
            connection.execute(f"UPDATE runs SET {assignments} WHERE id = ?", (*values, run_id))


def _run(row: Row) -> Run:
    values = dict(row)
    values["plan"] = TrainingPlan.model_validate_json(values["plan"])
    values["environment"] = json.loads(values["environment"])
    values["metrics"] = json.loads(values["metrics"])
    if values["failure"] is not None:
        values["failure"] = Failure.model_validate_json(values["failure"])
    return Run(**values)
