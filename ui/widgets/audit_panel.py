"""The audit: is the protection what it claims to be? Runs in a child, with progress and a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QProgressBar, QSpinBox, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from xeno.events import AuditProgress
from xeno.models.starter import starter_folder
from xeno.privacy.audit.words import checks_of, contradicted, leak_sentences
from xeno.workers.audit_client import AuditRun

_STEPS = 1000
_ABOUT = (
    "Random pairs, none of them yours, are put by coin into a throw-away run on the starter model; "
    "then it is guessed which were in. Beside it the mechanism itself is measured, and the records "
    "of your versions are compared with the ledger."
)
_Line = tuple[str, bool, str]


class AuditPanel(QWidget):
    """Starts an audit, shows how far it is, and then what it found."""

    _progressed = pyqtSignal(float, str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._run: AuditRun | None = None
        self._busy = False
        self._wanted = False
        self.canaries = QSpinBox()
        self.canaries.setAccessibleName("Random pairs")
        self.canaries.setRange(20, 2000)
        self.canaries.setSingleStep(20)
        self.canaries.setValue(200)
        self.canaries.setToolTip("More can prove more, and take longer.")
        self.start = button("Run the &check", name="Run the leak check")
        self.stop = button("Stop", name="Stop the leak check")
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Progress of the leak check")
        self.progress.setTextVisible(False)
        self.progress.setRange(0, _STEPS)
        self.state = label("", "muted")
        self.state.setAccessibleName("State of the leak check")
        self.notice = Notice(session.theme, "Message about the leak check")
        self.checks: RowsModel[_Line] = RowsModel(
            [
                Column("Check", lambda line: line[0]),
                Column("Result", lambda line: "ok" if line[1] else "FAILED"),
                Column("What was measured", lambda line: line[2]),
            ],
            self,
        )
        self.table = Table("Checks", "No check was run yet.", sortable=False)
        self.table.show_model(self.checks)
        self.table.widths(46, 8)
        self.table.setMinimumHeight(140)
        self.leak = label("")
        self.leak.setAccessibleName("What the leak check found")
        self._lay_out()
        self.start.clicked.connect(self.begin)
        self.stop.clicked.connect(self.end)
        self._progressed.connect(self._show_progress)
        self._gate()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(label(_ABOUT, "muted"))
        title = label("&Random pairs", wrap=False)
        title.setBuddy(self.canaries)
        layout.addLayout(row(title, self.canaries, None, self.stop, self.start))
        for part in (self.progress, self.state, self.notice, self.table, self.leak):
            layout.addWidget(part)

    def begin(self) -> None:
        """Start an audit with the next run's epsilon."""
        if self._busy:
            return
        self._busy, self._wanted = True, True
        self.notice.hide()
        self._show_progress(0.0, "Starting…")
        self._gate()
        session, canaries = self._session, self.canaries.value()

        def work() -> dict[str, Any]:
            plan = {"private": True, "epsilon": session.plan().epsilon}
            base: Path = starter_folder()
            run = AuditRun(session.profile, base, canaries, plan, self._tell)
            self._run = run
            if not self._wanted:  # stopped while the child was being started
                run.stop()
            return run.wait()

        session.do(work, self._show, owner=self, failed=self._failed)

    def end(self) -> None:
        """Stop the audit; its child ends within seconds."""
        self._wanted = False
        if self._run is not None:
            self._run.stop()
        self.state.setText("Stopping…")

    def _tell(self, progress: AuditProgress) -> None:
        self._progressed.emit(progress.share, progress.text)

    def _show_progress(self, share: float, text: str) -> None:
        if self._busy and self._wanted:
            self.progress.setValue(round(_STEPS * share))
            self.state.setText(text)

    def _show(self, found: dict[str, Any]) -> None:
        self._done("")
        lines = checks_of(found)
        self.checks.show(lines)
        self.leak.setText("\n".join(leak_sentences(found)))
        if contradicted(found):
            self.notice.inform(
                "The run leaks more than it claims.",
                "The mechanism is broken on this computer. Do not rely on private versions.",
                kind="error",
            )
        elif not all(passed for _, passed, _ in lines):
            self.notice.inform("A check failed.", "The table says what was measured.", kind="error")

    def _failed(self, error: BaseException) -> None:
        stopped = not self._wanted
        self._done("Stopped; nothing was found out." if stopped else "")
        if not stopped:
            self.notice.explain(error)

    def _done(self, words: str) -> None:
        self._busy, self._wanted, self._run = False, False, None
        self.state.setText(words)
        self._gate()

    def _gate(self) -> None:
        allow(self.start, "A check is running." if self._busy else "")
        allow(self.canaries, "A check is running." if self._busy else "")
        allow(self.stop, "" if self._busy else "No check is running.")
        self.progress.setVisible(self._busy)

    def close_run(self) -> None:
        """End the child at once, before the window goes."""
        if self._busy:
            self.end()
