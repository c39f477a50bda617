"""The next run's settings from a YAML file and into one."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import allow, button
from ui.widgets.flow import Flow
from ui.widgets.notice import Notice
from xeno.training.plan import TrainingPlan
from xeno.training.plan_files import checked, read, write

_FILES = "Settings (*.yaml *.yml);;All files (*)"


class PlanFileButtons(QWidget):
    """Two buttons, and below them what is wrong with a file.

    Settings that a file does not name get their defaults; the base stays where it names none.
    """

    opened = pyqtSignal(TrainingPlan)  # the plan of a file that can be used

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.notice = Notice(session.theme, "Message about a file of settings")
        self.open = button("Open settings…", tip="Take all settings from a YAML file")
        self.save = button("Save settings…", tip="Write all settings but the base to a YAML file")
        self.open.clicked.connect(self._ask_open)
        self.save.clicked.connect(self._ask_save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(Flow(self.open, self.save))
        layout.addWidget(self.notice)

    def allow_editing(self, reason: str = "") -> None:
        """Let a file be opened, or not, with the reason."""
        allow(self.open, reason)

    def open_file(self, path: Path) -> None:
        """Read the settings in `path`; `opened` tells of them, or the notice what is wrong."""
        session = self._session

        def work() -> TrainingPlan:
            values = {"base": str(session.base()), **read(path)}
            values["base"] = str(Path(str(values["base"])).expanduser().resolve())
            return checked(values)

        self.notice.hide()
        session.do(
            work,
            self.opened.emit,
            owner=self,
            failed=self.notice.explain,
        )

    def save_file(self, path: Path) -> None:
        """Write the settings as they are now to `path`."""
        session = self._session
        self.notice.hide()
        session.do(
            lambda: write(session.plan(), path),
            lambda _: session.told.emit("The settings of the next run are saved.", str(path)),
            owner=self,
            failed=self.notice.explain,
        )

    def _ask_open(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open settings", "", _FILES)
        if name:
            self.open_file(Path(name))

    def _ask_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save settings", "settings.yaml", _FILES)
        if name:
            self.save_file(Path(name))
