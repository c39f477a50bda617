"""Import of a preference file: choose, watch, read what came in and what did not."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import (
    QDialog,
    QFileDialog,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from ui.words import count, share
from xeno.data.importing import ImportReport, import_preferences

_LISTED = 500  # rejected lines that are shown


class ImportDialog(QDialog):
    """Imports one file; the window stays usable meanwhile."""

    _progressed = pyqtSignal(int, int)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._running = False
        self.setWindowTitle("Import preference pairs")
        self.setAccessibleName("Import preference pairs")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(560)
        self.path = QLineEdit()
        self.path.setAccessibleName("File to import")
        self.path.setPlaceholderText("A .jsonl or .json file")
        self.browse = button("&Browse…", name="Choose a file")
        self.notice = Notice(session.theme)
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Import progress")
        self.progress.setTextVisible(False)
        self.progress.hide()
        self.outcome = label("", "heading")
        self.outcome.hide()
        self.left_out = QPlainTextEdit(readOnly=True)
        self.left_out.setAccessibleName("Lines that were not imported")
        self.left_out.setMinimumHeight(160)
        self.left_out.hide()
        self.start = button("&Import", "primary", name="Start the import")
        self.close_button = button("&Close", name="Close this dialog")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        explanation = (
            "Each line holds a prompt with a chosen and a rejected reply, as text or as a list of "
            "messages. The file is read on this computer only."
        )
        layout.addWidget(label(explanation, "muted"))
        layout.addLayout(row(self.path, self.browse))
        for part in (self.notice, self.progress, self.outcome, self.left_out):
            layout.addWidget(part)
        layout.addLayout(row(None, self.close_button, self.start))
        self.path.textChanged.connect(lambda _: self._gate())
        self.path.returnPressed.connect(self._import)
        self.browse.clicked.connect(self._choose)
        self.start.clicked.connect(self._import)
        self.close_button.clicked.connect(self.close)
        self._progressed.connect(self._show_progress)
        self._gate()

    def _gate(self) -> None:
        reason = "The file is being read." if self._running else ""
        for control in (self.path, self.browse):
            allow(control, reason)
        allow(self.start, reason or ("" if self.path.text().strip() else "Choose a file first."))

    def _choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self,
            "Preference pairs",
            self.path.text(),
            "Preference files (*.jsonl *.json *.txt);;All files (*)",
        )
        if name:
            self.path.setText(name)

    def _import(self) -> None:
        if not self.start.isEnabled():
            return
        path = Path(self.path.text().strip()).expanduser()
        self._running = True
        self._gate()
        self.notice.hide()
        self.outcome.hide()
        self.left_out.hide()
        self.progress.setRange(0, 0)
        self.progress.show()
        profile = self._session.profile
        self._session.do(
            lambda: import_preferences(profile, path, progress=self._report),
            self._finished,
            owner=self,
            failed=self._failed,
        )

    def _report(self, done: int, total: int) -> None:
        """Called on the task's thread."""
        try:
            self._progressed.emit(done, total)
        except RuntimeError:  # the dialog was closed; the import goes on to its end
            return

    def _show_progress(self, done: int, total: int) -> None:
        # A progress bar counts to 2^31 at most; files may be larger.
        self.progress.setRange(0, 1000)
        self.progress.setValue(round(1000 * done / total) if total else 0)

    def _ended(self) -> None:
        self._running = False
        self.progress.hide()
        self._gate()

    def _failed(self, error: BaseException) -> None:
        self._ended()
        self.notice.explain(error)

    def _finished(self, report: ImportReport) -> None:
        self._ended()
        words = [f"{count(report.imported, 'pair')} imported"]
        if report.duplicates:
            words.append(f"{report.duplicates:,} already known")
        if report.rejected_count:
            words.append(f"{count(report.rejected_count, 'line')} not imported")
        self.outcome.setText(", ".join(words) + ".")
        self.outcome.show()
        if report.rejected:
            lines = [f"Line {each.line}: {each.reason}" for each in report.rejected[:_LISTED]]
            if report.rejected_count > len(lines):
                lines.append(f"… and {report.rejected_count - len(lines):,} more.")
            self.left_out.setPlainText("\n".join(lines))
            self.left_out.show()
        if report.imported:
            self.notice.inform(
                f"{count(report.groups, 'conversation')}; the chosen reply is the longer one in "
                f"{share(report.longer_chosen)} of the pairs."
            )
            self._session.pairs_changed.emit()
        self.adjustSize()
        self.close_button.setFocus()
