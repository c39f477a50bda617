"""The machine's queue of training runs: what waits, for what, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtCore import QModelIndex, QObject, Qt, QTimer
from PyQt6.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from PyQt6.QtWidgets import QComboBox, QMessageBox, QSpinBox, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.flow import Flow
from ui.widgets.table import Table
from ui.words import NONE, duration, moment
from xeno.errors import XenoError
from xeno.jobs.foreground import HINDRANCES
from xeno.jobs.job import PRIORITIES, REASONS, Job
from xeno.jobs.policy import Situation, hindrance, ordered
from xeno.jobs.store import Queue
from xeno.jobs.submission import submit
from xeno.training.forecast import forecast

LOOK_MILLISECONDS = 2000
_NONE = "Choose a job in the table first."


@dataclass(frozen=True)
class QueueRow:
    """A job as the table shows it. `ran` is in seconds; `first` and `last` say whether it is so
    among the waiting jobs of its profile and priority."""

    job: Job
    note: str
    ran: float
    first: bool
    last: bool


def queue_rows(situation: Situation) -> list[QueueRow]:
    """The running jobs, then the waiting ones in the order in which they are to go."""
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

    return [row_of(job) for job in (*running, *waiting)]


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


class QueuePanel(QWidget):
    """The table of jobs with its controls, kept up to date while it can be seen.

    Alt+Up and Alt+Down move the chosen job, Delete takes it out.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._queue: Queue = session.queue
        self._chosen: str | None = None
        self.model = QueueModel(self)
        self.table = Table("Queue of training runs", "Nothing waits.", sortable=False)
        self.table.show_model(self.model, stretch=6)
        self.table.widths(9, 9, 8, 8, 5, 7)
        self.table.setMinimumHeight(140)
        self.add = button("Add the next run to the &queue", name="Add the next run to the queue")
        self.up = button("Move u&p", tip="Earlier among the jobs of its priority (Alt+Up)")
        self.down = button("Move dow&n", tip="Later among the jobs of its priority (Alt+Down)")
        self.cancel = button("Ta&ke out…", name="Take the job out of the queue", tip="Delete")
        self.priority = QComboBox()
        self.priority.setAccessibleName("Priority of the chosen job")
        self.priority.addItems([name.capitalize() for name in PRIORITIES])
        self.concurrency = QSpinBox()
        self.concurrency.setAccessibleName("Runs at once on this computer")
        self.concurrency.setRange(1, 64)
        self.concurrency.setToolTip("A profile never has more than one.")
        self.concurrency.setKeyboardTracking(False)
        line = Flow(
            self.add,
            self.up,
            self.down,
            _labelled("P&riority", self.priority),
            self.cancel,
            _labelled("Runs at &once", self.concurrency),
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(line)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MILLISECONDS)
        self._timer.timeout.connect(self.reload)
        self._connect()
        self._gate()

    @property
    def chosen(self) -> QueueRow | None:
        """The row that is selected."""
        return next((row for row in self.model.records if row.job.id == self._chosen), None)

    def reload(self) -> None:
        """Read the queue again, off this thread."""
        self._session.do(self._queue.situation, self._show, owner=self, key="queue")

    def choose(self, job_id: str) -> None:
        """Select the row of a job."""
        for place, shown in enumerate(self.model.records):
            if shown.job.id == job_id:
                self.table.choose_row(place)

    # Parts --------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.add.clicked.connect(self._add)
        self.up.clicked.connect(lambda: self._change(lambda job: self._queue.move(job, "up")))
        self.down.clicked.connect(lambda: self._change(lambda job: self._queue.move(job, "down")))
        self.cancel.clicked.connect(self._ask_cancel)
        self.priority.activated.connect(self._set_priority)
        self.concurrency.valueChanged.connect(self._set_concurrency)
        for keys, control in (
            ("Alt+Up", self.up), ("Alt+Down", self.down), ("Del", self.cancel)
        ):  # fmt: skip
            shortcut = QShortcut(QKeySequence(keys), self.table)
            shortcut.setContext(shortcut.context().WidgetShortcut)
            shortcut.activated.connect(control.click)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._selected)
        self.model.modelReset.connect(self._restore)

    def _show(self, situation: Situation) -> None:
        self.model.show(queue_rows(situation))
        if not self.concurrency.hasFocus():
            self.concurrency.blockSignals(True)
            self.concurrency.setValue(situation.machine.concurrency)
            self.concurrency.blockSignals(False)
        self._gate()

    def _selected(self) -> None:
        place = self.table.chosen_row()
        if place >= 0:
            self._chosen = self.model.records[place].job.id
        self._gate()

    def _restore(self) -> None:
        if self.chosen is None:
            self._chosen = None
        else:
            self.choose(self.chosen.job.id)

    def _gate(self) -> None:
        row = self.chosen
        why = self._why_not(row)
        waits = why or ("" if row and row.job.state == "waiting" else "It runs already.")
        allow(self.up, waits or ("It is the first of its priority." if row and row.first else ""))
        allow(self.down, waits or ("It is the last of its priority." if row and row.last else ""))
        allow(self.priority, waits)
        asked = row is not None and row.job.cancel is not None
        allow(self.cancel, why or ("It was asked to end." if asked else ""))
        if row is not None and not self.priority.view().isVisible():  # type: ignore[union-attr]
            self.priority.setCurrentIndex(PRIORITIES.index(row.job.priority))

    def _why_not(self, row: QueueRow | None) -> str:
        if row is None:
            return _NONE if self.model.records else "Nothing waits."
        if row.job.profile != self._session.profile.name:
            return f"It belongs to the profile {row.job.profile}."
        return ""

    # Actions ------------------------------------------------------------------------------

    def _change(self, work: Callable[[str], object]) -> None:
        row = self.chosen
        if row is None:
            return
        job_id = row.job.id

        def change() -> Situation:
            work(job_id)
            return self._queue.situation()

        self._session.do(change, self._show, owner=self)

    def _set_priority(self, place: int) -> None:
        self._change(lambda job: self._queue.set_priority(job, PRIORITIES[place]))

    def _set_concurrency(self, runs: int) -> None:
        self._session.do(lambda: self._queue.set_machine(concurrency=runs), owner=self)

    def _add(self) -> None:
        plan, profile, queue = self._session.plan(), self._session.profile, self._queue

        def work() -> Situation:
            ahead = forecast(profile, plan)
            if ahead.blockers:
                raise XenoError("The run cannot be queued.", " ".join(ahead.blockers))
            submit(queue, profile, plan)
            return queue.situation()

        self._session.do(work, self._show, owner=self)

    def _ask_cancel(self) -> None:
        row = self.chosen
        if row is None:
            return
        question = QMessageBox(self)
        question.setWindowTitle("Take the job out")
        if row.job.state == "waiting":
            question.setText("Take this job out of the queue?")
            keep = None
            out = question.addButton("&Take out", QMessageBox.ButtonRole.DestructiveRole)
        else:
            question.setText("End this run?")
            keep = question.addButton("&Keep what it learned", QMessageBox.ButtonRole.AcceptRole)
            out = question.addButton("&Discard it", QMessageBox.ButtonRole.DestructiveRole)
        stay = question.addButton("&Leave it", QMessageBox.ButtonRole.RejectRole)
        question.setDefaultButton(stay)
        question.setEscapeButton(stay)
        question.exec()
        clicked = question.clickedButton()
        if clicked is stay or clicked is None:
            return
        kept = clicked is not out and clicked is keep
        self._change(lambda job: self._queue.cancel(job, keep=kept))

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        super().showEvent(event)
        self.reload()
        self._timer.start()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        self._timer.stop()
        super().hideEvent(event)


def _labelled(text: str, editor: QWidget) -> QWidget:
    """An editor with its label at its left; they stay together where the line is broken."""
    words = label(text, wrap=False)
    words.setTextFormat(Qt.TextFormat.AutoText)
    words.setBuddy(editor)
    together = QWidget()
    line = row(words, editor)
    line.setContentsMargins(0, 0, 0, 0)
    together.setLayout(line)
    return together


def _note(job: Job, situation: Situation) -> str:
    if job.state == "running":
        return "It was asked to end." if job.cancel else ""
    why = hindrance(job, situation)
    if job.cancel:
        return f"It was asked to end. {HINDRANCES[why]}"
    if why == "later":
        return f"{REASONS[job.reason]} It is tried again at {moment(job.not_before)}."
    return HINDRANCES[why]
