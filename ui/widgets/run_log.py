"""The log of a run: every line with its time, a filter, and a way to take it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from PyQt6.QtGui import QGuiApplication
from PyQt6.QtWidgets import QComboBox, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from ui.widgets.basics import allow, button, label, row

Level = Literal["info", "warning", "error"]
_KEPT = 5000  # lines
_LEVELS: dict[str, tuple[Level, ...]] = {
    "All lines": ("info", "warning", "error"),
    "Warnings and errors": ("warning", "error"),
}
_BEGINNINGS = {"info": "", "warning": "Warning: ", "error": "Error: "}


@dataclass(frozen=True)
class Entry:
    """One line of the log; `time` in Unix seconds."""

    time: float
    level: Level
    text: str

    def line(self) -> str:
        moment = datetime.fromtimestamp(self.time).astimezone().strftime("%H:%M:%S")
        return f"{moment}  {_BEGINNINGS[self.level]}{self.text}"


class RunLog(QWidget):
    """Lines are added at the end; the filter shows those that hold its text."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []
        self.level = QComboBox()
        self.level.setAccessibleName("Which lines of the log")
        self.level.addItems(list(_LEVELS))
        self.filter = QLineEdit()
        self.filter.setAccessibleName("Filter of the log")
        self.filter.setPlaceholderText("Filter")
        self.filter.setClearButtonEnabled(True)
        self.copy = button("Cop&y", tip="Copy the lines that are shown", name="Copy the log")
        self.shown = label("", "tiny", wrap=False)
        self.text = QPlainTextEdit(readOnly=True)
        self.text.setAccessibleName("Log of the run")
        self.text.setMaximumBlockCount(_KEPT)
        self.text.setTabChangesFocus(True)
        self.text.setMinimumHeight(150)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        line = row(self.level, self.filter, self.shown, self.copy)
        line.setStretch(1, 1)
        layout.addLayout(line)
        layout.addWidget(self.text, 1)
        self.level.currentIndexChanged.connect(self._show_all)
        self.filter.textChanged.connect(self._show_all)
        self.copy.clicked.connect(self._copy)
        self._count()

    def begin(self) -> None:
        """A run begins: the log is empty."""
        self._entries.clear()
        self._show_all()

    def write(self, text: str, level: Level = "info", time: float | None = None) -> None:
        """Add a line; `time` is now if it is not given."""
        moment = datetime.now().astimezone().timestamp() if time is None else time
        self._entries.append(Entry(moment, level, text))
        del self._entries[:-_KEPT]
        if self._wanted(self._entries[-1]):
            self.text.appendPlainText(self._entries[-1].line())
        self._count()

    def lines(self) -> list[str]:
        """The lines that are shown."""
        return [each.line() for each in self._entries if self._wanted(each)]

    def _wanted(self, entry: Entry) -> bool:
        wanted = self.filter.text().strip().casefold()
        levels = _LEVELS[self.level.currentText()]
        return entry.level in levels and wanted in entry.text.casefold()

    def _show_all(self) -> None:
        self.text.setPlainText("\n".join(self.lines()))
        self._count()

    def _count(self) -> None:
        shown = len(self.lines())
        self.shown.setText(
            "" if shown == len(self._entries) else f"{shown} of {len(self._entries)}"
        )
        allow(self.copy, "" if shown else "There is no line to copy.")

    def _copy(self) -> None:
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText("\n".join(self.lines()))
