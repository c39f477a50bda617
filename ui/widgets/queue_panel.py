"""The machine's queue of training runs: what waits, for what, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from PyQt6.QtCore import QTimer
from PyQt6.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QMessageBox,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ui.queue_model import QueueModel, QueueRow, queue_rows
from ui.session import Session
from ui.widgets.basics import allow, button, labelled
from ui.widgets.flow import Flow
from ui.widgets.queue_settings import QueueSettings
from ui.widgets.table import Table
from xeno.errors import XenoError
from xeno.jobs.job import PRIORITIES, Job
from xeno.jobs.policy import Situation
from xeno.jobs.store import Queue
from xeno.jobs.submission import submit
from xeno.training.forecast import forecast

LOOK_MILLISECONDS = 2000
Way = Literal["up", "down", "first", "last"]
_Read = tuple[Situation, list[Job]]  # what waits and runs, and what has ended
_NONE = "Choose a job in the table first."


class QueuePanel(QWidget):
    """The table of jobs with its controls, kept up to date while it can be seen.

    Alt with Up, Down, Home and End moves the chosen job, Delete takes it out.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._queue: Queue = session.queue
        self._chosen: str | None = None
        self.model = QueueModel(self)
        self.table = Table("Queue of training runs", "Nothing waits.", sortable=False)
        self.table.show_model(self.model, stretch=6)
        self.table.widths(7, 9, 7, 8, 5, 7)
        self.table.hide_when_narrow(640, 4, 5)
        self.table.setMinimumHeight(140)
        self.add = button("Add the next run to the &queue", name="Add the next run to the queue")
        self.up = button("Move u&p", tip="Earlier among the jobs of its priority (Alt+Up)")
        self.down = button("Move dow&n", tip="Later among the jobs of its priority (Alt+Down)")
        self.first = button("To the top", tip="First among the jobs of its priority (Alt+Home)")
        self.last = button("To the end", tip="Last among the jobs of its priority (Alt+End)")
        self.cancel = button("Ta&ke out…", name="Take the job out of the queue", tip="Delete")
        self.priority = QComboBox()
        self.priority.setAccessibleName("Priority of the chosen job")
        self.priority.addItems([name.capitalize() for name in PRIORITIES])
        self.concurrency = QSpinBox()
        self.concurrency.setAccessibleName("Runs at once on this computer")
        self.concurrency.setRange(1, 64)
        self.concurrency.setToolTip("A profile never has more than one.")
        self.concurrency.setKeyboardTracking(False)
        self.settings = button("Queue settings…", tip="Longest run, ageing, fairness")
        self.ended = QCheckBox("Show ended &jobs")
        self.ended.setAccessibleName("Show jobs that have ended")
        self._movers: dict[Way, QPushButton] = {
            "up": self.up, "down": self.down, "first": self.first, "last": self.last
        }  # fmt: skip
        line = Flow(
            self.add,
            self.up,
            self.down,
            self.first,
            self.last,
            labelled("P&riority", self.priority),
            self.cancel,
            labelled("Runs at &once", self.concurrency),
            self.settings,
            self.ended,
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
        self._session.do(self._read(), self._show, owner=self, key="queue")

    def open_settings(self) -> QueueSettings:
        """Show what holds for all profiles."""
        dialog = QueueSettings(self._session, self)
        dialog.changed.connect(self.reload)
        dialog.open()
        return dialog

    def choose(self, job_id: str) -> None:
        """Select the row of a job."""
        for place, shown in enumerate(self.model.records):
            if shown.job.id == job_id:
                self.table.choose_row(place)

    # Parts --------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.add.clicked.connect(self._add)
        for way, mover in self._movers.items():
            mover.clicked.connect(partial(self._move, way))
        self.settings.clicked.connect(self.open_settings)
        self.ended.toggled.connect(lambda _: self.reload())
        self.cancel.clicked.connect(self._ask_cancel)
        self.priority.activated.connect(self._set_priority)
        self.concurrency.valueChanged.connect(self._set_concurrency)
        for keys, control in (
            ("Alt+Up", self.up),
            ("Alt+Down", self.down),
            ("Alt+Home", self.first),
            ("Alt+End", self.last),
            ("Del", self.cancel),
        ):
            shortcut = QShortcut(QKeySequence(keys), self.table)
            shortcut.setContext(shortcut.context().WidgetShortcut)
            shortcut.activated.connect(control.click)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._selected)
        self.model.modelReset.connect(self._restore)

    def _read(self) -> Callable[[], _Read]:
        ended, queue = self.ended.isChecked(), self._queue
        return lambda: (queue.situation(), queue.jobs(ended=True) if ended else [])

    def _show(self, found: _Read) -> None:
        situation, ended = found
        self.model.show(queue_rows(situation, ended))
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
        first = waits or ("It is the first of its priority." if row and row.first else "")
        last = waits or ("It is the last of its priority." if row and row.last else "")
        for way, mover in self._movers.items():
            allow(mover, first if way in ("up", "first") else last)
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
        if row.job.ended is not None:
            return "It has ended."
        return ""

    # Actions ------------------------------------------------------------------------------

    def _move(self, way: Way) -> None:
        self._change(lambda job: self._queue.move(job, way))

    def _change(self, work: Callable[[str], object]) -> None:
        row = self.chosen
        if row is None:
            return
        job_id, read = row.job.id, self._read()

        def change() -> _Read:
            work(job_id)
            return read()

        self._session.do(change, self._show, owner=self)

    def _set_priority(self, place: int) -> None:
        self._change(lambda job: self._queue.set_priority(job, PRIORITIES[place]))

    def _set_concurrency(self, runs: int) -> None:
        self._session.do(lambda: self._queue.set_machine(concurrency=runs), owner=self)

    def _add(self) -> None:
        plan, profile, queue = self._session.plan(), self._session.profile, self._queue
        read = self._read()

        def work() -> _Read:
            ahead = forecast(profile, plan)
            if ahead.blockers:
                raise XenoError("The run cannot be queued.", " ".join(ahead.blockers))
            submit(queue, profile, plan)
            return read()

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
