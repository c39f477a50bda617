"""Export of what the profile holds: choose what and how, then where."""

from __future__ import annotations

import threading
from pathlib import Path

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QComboBox, QFileDialog, QProgressBar, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from ui.words import count, size
from xeno.data.exporting import KINDS, ExportReport, export, export_all

_FORMATS = {
    "JSONL, one record per line": "jsonl",
    "JSONL, packed (gzip)": "jsonl.gz",
    "JSONL, packed (Zstandard)": "jsonl.zst",
    "JSON, one list": "json",
    "CSV": "csv",
    "CSV, packed (gzip)": "csv.gz",
    "Parquet": "parquet",
}
_ALL = "all"
_NAMES = {
    "pairs": "Pairs",
    "instructions": "Instructions",
    "unpaired": "Rated replies",
    "chats": "Chats",
    "intents": "Intent examples",
    "conversations": "Conversations",
    "preferences": "Preferences",
    "memories": "Memories",
}


class _StoppedError(Exception):
    """Raised by the progress callback to end an export."""


class ExportPanel(QWidget):
    """Writes one kind of thing to a file, or everything to a folder."""

    _progressed = pyqtSignal(int)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._stop = threading.Event()
        self._running = False
        self.what = QComboBox()
        self.what.setAccessibleName("What to export")
        self.what.addItem("Everything, one file each", _ALL)
        for kind in KINDS:
            self.what.addItem(_NAMES.get(kind, kind), kind)
        self.what.setCurrentIndex(1)
        self.form = QComboBox()
        self.form.setAccessibleName("Format of the export")
        for text, ending in _FORMATS.items():
            self.form.addItem(text, ending)
        for combo in (self.what, self.form):  # narrow where there is no room
            combo.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            combo.setMinimumContentsLength(10)
        self.start = button("E&xport…", name="Choose where to, and export")
        self.cancel = button("Stop", name="Stop the export")
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Progress of the export")
        self.progress.setTextVisible(False)
        self.progress.setRange(0, 0)
        self.done = label("", "muted")
        self.done.setAccessibleName("State of the export")
        self.notice = Notice(session.theme)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        line = row(self.what, self.form, self.cancel, self.start, spacing=8)
        line.setStretch(0, 1)
        line.setStretch(1, 1)
        layout.addLayout(line)
        for part in (self.progress, self.done, self.notice):
            layout.addWidget(part)
        self.start.clicked.connect(self._choose)
        self.cancel.clicked.connect(self._stop.set)
        self._progressed.connect(lambda rows: self.done.setText(f"{count(rows, 'record')} written"))
        self._gate()

    def write(self, path: Path) -> None:
        """Export what is chosen to the file `path`, or everything to the folder."""
        if self._running:
            return
        profile = self._session.profile
        what, ending = str(self.what.currentData()), str(self.form.currentData())

        def work() -> list[ExportReport]:
            if what == _ALL:
                return export_all(profile, path, ending)
            return [export(profile, what, path, progress=self._report)]

        self._running = True
        self._stop.clear()
        self.notice.hide()
        self.done.setText("")
        self._gate()
        self._session.do(work, self._finished, owner=self, failed=self._failed)

    def _gate(self) -> None:
        reason = "The export is being written." if self._running else ""
        for control in (self.what, self.form, self.start):
            allow(control, reason)
        one_file = self.what.currentData() != _ALL
        self.cancel.setVisible(self._running and one_file)
        self.progress.setVisible(self._running)
        self.done.setVisible(self._running)

    def _choose(self) -> None:
        what, ending = str(self.what.currentData()), str(self.form.currentData())
        if what == _ALL:
            name = QFileDialog.getExistingDirectory(self, "Export everything to this folder")
        else:
            name, _ = QFileDialog.getSaveFileName(
                self, "Export", f"{what}.{ending}", f"{self.form.currentText()} (*.{ending})"
            )
            if name and not name.endswith(f".{ending}"):
                name += f".{ending}"
        if name:
            self.write(Path(name))

    def _report(self, rows: int) -> None:
        """Called on the task's thread."""
        if self._stop.is_set():
            raise _StoppedError
        try:
            self._progressed.emit(rows)
        except RuntimeError:  # the window is gone
            raise _StoppedError from None

    def _ended(self) -> None:
        self._running = False
        self._gate()

    def _finished(self, reports: list[ExportReport]) -> None:
        self._ended()
        if not reports:
            self.notice.inform("There is nothing to export yet.", kind="warning")
            return
        place = reports[0].path if len(reports) == 1 else reports[0].path.parent
        rows, bytes_ = sum(each.rows for each in reports), sum(each.size for each in reports)
        files = "" if len(reports) == 1 else f" in {count(len(reports), 'file')}"
        self.notice.inform(
            f"{count(rows, 'record')}{files} written to {place}, {size(bytes_)}.",
            "It is not encrypted; only you can read it on this computer.",
        )

    def _failed(self, error: BaseException) -> None:
        self._ended()
        if isinstance(error, _StoppedError):
            self.notice.inform("The export was stopped.", "Nothing was written.")
        else:
            self.notice.explain(error)
