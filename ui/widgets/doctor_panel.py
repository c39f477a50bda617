"""The pair doctor: examine all pairs, and read what the set would teach."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QHBoxLayout, QLineEdit, QProgressBar, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.pair_filters import FINDING_NAMES
from ui.widgets.table import Table
from ui.words import count, duration, moment
from xeno.store.pair_browsing import FINDINGS

if TYPE_CHECKING:
    from xeno.feedback.doctor import SetReport


class _StoppedError(Exception):
    """Raised by the progress callback to end an examination."""


@dataclass(frozen=True)
class _Known:
    report: SetReport | None
    unexamined: int
    region: str


class DoctorPanel(Card):
    """What the doctor says of the set.

    `examined` is emitted after an examination, `wanted` with the kind of finding whose pairs the
    user wants to see.
    """

    examined = pyqtSignal()
    wanted = pyqtSignal(str)
    _progressed = pyqtSignal(int, int)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._stop = threading.Event()
        self._running = False
        self.summary = label("", "muted")
        self.summary.setAccessibleName("State of the doctor")
        self.examine = button("E&xamine", "primary", name="Examine all pairs")
        self.cancel = button("Stop", name="Stop the examination")
        self.more = button("&Report", name="Show or hide the doctor's report")
        self.more.setCheckable(True)
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Progress of the examination")
        self.progress.setTextVisible(False)
        self.notice = Notice(session.theme)
        self.region = QLineEdit()
        self.region.setAccessibleName("Country of telephone numbers, two letters")
        self.region.setPlaceholderText("none")
        self.region.setMaxLength(2)
        self.region.setFixedWidth(self.fontMetrics().horizontalAdvance("0") * 8 + 20)
        self.region.setToolTip(
            "Telephone numbers of this country are found without +, for example DE or US"
        )
        self.teaches = label("")
        self.teaches.setAccessibleName("What the lengths teach")
        self.findings: RowsModel[tuple[str, int]] = RowsModel(
            [
                Column("Finding", lambda each: FINDING_NAMES.get(each[0], each[0])),
                Column("Pairs", lambda each: f"{each[1]:,}", lambda each: each[1], right=True),
                Column("What it is", lambda each: FINDINGS.get(each[0], "")),
            ],
            self,
        )
        self.table = Table("Findings of the doctor", "Nothing was found.")
        self.table.show_model(self.findings, stretch=2)
        self.table.widths(20, 7, 30)
        self.table.setFixedHeight(190)
        self.show_pairs = button("&Show these pairs", name="Show the pairs with this finding")
        self._lay_out()
        self._connect()
        self._running_changed()

    def reload(self) -> None:
        """Read the last report."""
        profile = self._session.profile

        def read() -> _Known:
            from xeno.feedback import doctor  # brings numpy: not on the window's thread

            region = profile.setting(doctor.REGION_SETTING) or ""
            return _Known(doctor.last_report(profile), doctor.unexamined(profile.db), region)

        self._session.do(read, self._show, owner=self, key="doctor")

    def _lay_out(self) -> None:
        words = QVBoxLayout()
        words.setSpacing(4)
        words.addWidget(label("Pair doctor", "heading"))
        words.addWidget(self.summary)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addLayout(words, 1)
        for control in (self.cancel, self.more, self.examine):
            head.addWidget(control, 0, Qt.AlignmentFlag.AlignVCenter)
        self.add(head)
        self.report = QWidget()
        inner = QVBoxLayout(self.report)
        inner.setContentsMargins(0, 4, 0, 0)
        inner.setSpacing(10)
        inner.addWidget(self.teaches)
        inner.addWidget(self.table)
        country = label("Count&ry of telephone numbers", "muted", wrap=False)
        country.setTextFormat(Qt.TextFormat.AutoText)
        country.setBuddy(self.region)
        inner.addLayout(row(country, self.region, None, self.show_pairs))
        self.add(self.progress)
        self.add(self.notice)
        self.add(self.report)
        self.report.hide()

    def _connect(self) -> None:
        self.examine.clicked.connect(self._examine)
        self.cancel.clicked.connect(self._stop.set)
        self.more.toggled.connect(self.report.setVisible)
        self._progressed.connect(self._show_progress)
        self.show_pairs.clicked.connect(self._want)
        self.table.doubleClicked.connect(lambda _: self._want())
        enter = QShortcut(QKeySequence(Qt.Key.Key_Return), self.table)
        enter.setContext(Qt.ShortcutContext.WidgetShortcut)
        enter.activated.connect(self._want)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._gate())
        self.findings.modelReset.connect(self._gate)
        self.region.editingFinished.connect(self._set_region)

    def _gate(self) -> None:
        chosen = self.table.chosen_row() >= 0
        allow(self.show_pairs, "" if chosen else "Select a finding in the table first.")

    def _running_changed(self) -> None:
        allow(self.examine, "The pairs are being examined." if self._running else "")
        self.cancel.setVisible(self._running)
        self.progress.setVisible(self._running)
        self._gate()

    def _examine(self) -> None:
        if self._running:
            return
        self._running = True
        self._stop.clear()
        self.notice.hide()
        self.progress.setRange(0, 0)
        self._running_changed()
        profile = self._session.profile

        def work() -> SetReport:
            from xeno.feedback import doctor

            return doctor.examine(profile, progress=self._report_progress)

        self._session.do(work, self._finished, owner=self, failed=self._failed)

    def _report_progress(self, done: int, total: int) -> None:
        """Called on the task's thread."""
        if self._stop.is_set():
            raise _StoppedError
        try:
            self._progressed.emit(done, total)
        except RuntimeError:  # the window is gone
            raise _StoppedError from None

    def _show_progress(self, done: int, total: int) -> None:
        # After the last pair they are compared with each other, which tells no progress.
        self.progress.setRange(0, 0 if done >= total else total)
        self.progress.setValue(done)

    def _finished(self, report: SetReport) -> None:
        self._running = False
        self._running_changed()
        self._show(_Known(report, 0, self.region.text()))
        self.more.setChecked(True)
        self.examined.emit()

    def _failed(self, error: BaseException) -> None:
        self._running = False
        self._running_changed()
        if isinstance(error, _StoppedError):
            self.notice.inform("The examination was stopped.", "What was looked at is kept.")
            self.examined.emit()
        else:
            self.notice.explain(error)
        self.reload()

    def _show(self, known: _Known) -> None:
        report = known.report
        self.region.setText(known.region)
        allow(self.more, "" if report else "Examine the pairs first.")
        if report is None:
            self.summary.setText(
                "Looks for duplicates, contradictions, secrets, personal data and what lengths "
                "would teach. It changes nothing by itself."
            )
            return
        found = sum(report.findings.values())
        waiting = f" {count(known.unexamined, 'pair')} changed since." if known.unexamined else ""
        self.summary.setText(
            f"{count(report.pairs, 'pair')}, mean score {report.mean_score:.2f}, "
            f"{count(found, 'finding')}. Examined {moment(report.created)} in "
            f"{duration(report.seconds)}.{waiting}"
        )
        self.teaches.setText(
            report.length.teaches if report.length else "No pair is learned from yet."
        )
        self.findings.show(sorted(report.findings.items(), key=lambda each: -each[1]))

    def _want(self) -> None:
        chosen = self.table.chosen_row()
        if chosen >= 0:
            self.wanted.emit(self.findings.records[chosen][0])

    def _set_region(self) -> None:
        if not self.region.isModified():
            return
        self.region.setModified(False)
        profile, text = self._session.profile, self.region.text().strip()

        def work() -> None:
            from xeno.feedback import doctor

            doctor.set_region(profile, text or None)

        self._session.tasks.run(
            work, lambda _: self.reload(), self.notice.explain, owner=self, in_order=True
        )
