"""The rows of the machine's queue: which jobs are shown, in which order, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PyQt6.QtCore import QModelIndex, QObject

from ui.rows_model import Column, RowsModel
from ui.words import NONE, duration, moment
from xeno.jobs.foreground import HINDRANCES
from xeno.jobs.job import REASONS, Job
from xeno.jobs.policy import Situation, hindrance, ordered


@dataclass(frozen=True)
class QueueRow:
    """A job as the table shows it. `ran` is in seconds; `first` and `last` say whether it is so
    among the waiting jobs of its profile and priority."""

    job: Job
    note: str
    ran: float
    first: bool
    last: bool


def queue_rows(situation: Situation, ended: Sequence[Job] = ()) -> list[QueueRow]:
    """The running jobs, then the waiting ones in the order in which they are to go, then those
    that have `ended`."""
    waiting = ordered(situation)
    running = [job for job in situation.jobs if job.state == "running"]

    def row_of(job: Job) -> QueueRow:
        peers = [
            each.position
            for each in waiting
            if (each.profile, each.priority) == (job.profile, job.priority)
        ]
        return QueueRow(
            job,
            _note(job, situation),
            job.seconds(situation.now),
            job.state == "waiting" and job.position == min(peers),
            job.state == "waiting" and job.position == max(peers),
        )

    return [row_of(job) for job in (*running, *waiting, *ended)]


class QueueModel(RowsModel[QueueRow]):
    """The rows of the queue. New figures of the same jobs leave the selection as it is."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(
            [
                Column("Profile", lambda row: row.job.profile),
                Column("Run", lambda row: row.job.run_id[:8]),
                Column("Priority", lambda row: row.job.priority),
                Column("State", lambda row: row.job.state),
                Column("Tries", lambda row: str(row.job.tries), right=True),
                Column("Ran", lambda row: duration(row.ran) if row.job.tries else NONE),
                Column("Note", lambda row: row.note),
            ],
            parent,
        )

    def show(self, records: list[QueueRow]) -> None:  # type: ignore[override]
        """Replace what is shown."""
        if [row.job.id for row in records] != [row.job.id for row in self.records]:
            super().show(records)
        elif records != self.records:
            self.records = list(records)
            last = self.index(self.rowCount() - 1, self.columnCount() - 1, QModelIndex())
            self.dataChanged.emit(self.index(0, 0, QModelIndex()), last)


def _note(job: Job, situation: Situation) -> str:
    if job.state == "running":
        return "It was asked to end." if job.cancel else ""
    if job.state != "waiting":
        return f"{moment(job.ended)}. {REASONS[job.reason]}" if job.ended else ""
    why = hindrance(job, situation)
    if job.cancel:
        return f"It was asked to end. {HINDRANCES[why]}"
    if why == "later":
        return f"{REASONS[job.reason]} It is tried again at {moment(job.not_before)}."
    return HINDRANCES[why]
