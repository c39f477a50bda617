"""Mistakes of ours: kept in a file in the home, shown to the user, never an abort.

PyQt6 aborts the process on an exception in a slot unless `sys.excepthook` is set.
"""

from __future__ import annotations

import platform
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType

from PyQt6.QtCore import PYQT_VERSION_STR, QObject, Qt, pyqtSignal
from PyQt6.QtWidgets import QApplication, QDialog, QPlainTextEdit, QVBoxLayout

from ui.widgets.basics import button, label, row
from xeno import __version__
from xeno.errors import XenoError
from xeno.store.files import private_folder, write_atomic


class CrashReports(QObject):
    """Takes over `sys.excepthook` and `threading.excepthook` until `uninstall`.

    Args:
        folder: where reports are kept.
    """

    _happened = pyqtSignal(str, str)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.dialog: CrashDialog | None = None
        self._before = (sys.excepthook, threading.excepthook)
        self._happened.connect(self._show, Qt.ConnectionType.QueuedConnection)

    def install(self) -> None:
        """Catch from now on what nobody else catches."""
        sys.excepthook = self._caught
        threading.excepthook = self._caught_in_thread

    def uninstall(self) -> None:
        """Give the hooks back."""
        sys.excepthook, threading.excepthook = self._before

    def _caught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
            return
        report = "".join(
            [
                f"XENO {__version__}, Python {platform.python_version()}, "
                f"PyQt {PYQT_VERSION_STR}, {platform.platform()}\n\n",
                *traceback.format_exception(kind, error, trace),
            ]
        )
        sys.stderr.write(report)
        self._happened.emit(report, self._keep(report))

    def _caught_in_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            self._caught(args.exc_type, args.exc_value, args.exc_traceback)

    def _keep(self, report: str) -> str:
        path = self.folder / f"{time.strftime('%Y%m%d-%H%M%S')}.txt"
        try:
            private_folder(self.folder)  # a message in it may hold the user's words
            write_atomic(path, report.encode("utf-8", "replace"))
        except XenoError as error:
            return f"It could not be kept in a file. {error.why}"
        return f"It is kept in {path}."

    def _show(self, report: str, kept: str) -> None:
        if self.dialog is not None and self.dialog.isVisible():
            return  # one at a time; the file has them all
        self.dialog = CrashDialog(report, kept)
        self.dialog.open()


class CrashDialog(QDialog):
    """Says what happened and shows the report; sends nothing anywhere."""

    def __init__(self, report: str, kept: str) -> None:
        super().__init__()
        self.setWindowTitle("XENO made a mistake")
        self.setMinimumSize(620, 420)
        text = QPlainTextEdit(report, readOnly=True)
        text.setAccessibleName("Crash report")
        copy = button("&Copy the report")
        close = button("Go &on", "primary", name="Go on working")
        copy.clicked.connect(lambda: self._copy(report))
        close.clicked.connect(self.close)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(label("XENO made a mistake.", "heading"))
        layout.addWidget(
            label(
                "What you were doing may not be complete; everything that was kept before is "
                f"safe. The report was sent nowhere. {kept}"
            )
        )
        layout.addWidget(text, 1)
        layout.addLayout(row(copy, None, close))

    @staticmethod
    def _copy(report: str) -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(report)
