"""Choosing the base model: the starter, or a folder, inspected before it is taken."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QComboBox, QFileDialog, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from xeno.models.base import BaseModel, inspect_base
from xeno.models.starter import starter_folder
from xeno.workers.host_client import BASE_SETTING

_STARTER = "Starter model"


class BasePicker(QWidget):
    """Shows the base in use and lets the user take another one."""

    inspected = pyqtSignal(BaseModel)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.choice = QComboBox()
        self.choice.setAccessibleName("Base model")
        self.choice.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.choice.setMinimumContentsLength(14)
        self.choose_button = button(
            "Choose a &folder…", tip="A folder with config.json and safetensors"
        )
        self.about = label("", "muted")
        self.notice = Notice(session.theme)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        line = row(self.choice, self.choose_button)
        line.setStretch(0, 1)
        layout.addLayout(line)
        layout.addWidget(self.about)
        layout.addWidget(self.notice)
        self.choice.activated.connect(self._activated)
        self.choose_button.clicked.connect(self._choose)
        self.reload()

    def reload(self) -> None:
        """Show the base in use again: it was chosen elsewhere."""
        self._show_choice()
        self.inspect_current()

    def inspect_current(self) -> None:
        """Look at the base in use and say what it is, or what is wrong with it."""
        self._session.do(
            lambda: inspect_base(self._session.base(), self._session.profile.home),
            self._describe,
            owner=self,
            key="inspect",
            failed=self.notice.explain,
        )

    def allow_choice(self, reason: str = "") -> None:
        """Enable the choice, or disable it with the reason."""
        allow(self.choice, reason)
        allow(self.choose_button, reason)

    def take(self, folder: Path | None) -> None:
        """Use the base in `folder` (None: the starter) if it passes the inspection."""

        def look() -> BaseModel:
            return inspect_base(folder or starter_folder(), self._session.profile.home)

        def good(base: BaseModel) -> None:
            self.notice.hide()
            self._session.use_base(folder)
            self._show_choice()
            self._describe(base)

        def bad(error: BaseException) -> None:
            self._show_choice()
            self.notice.explain(error)

        self._session.do(look, good, owner=self, key="inspect", failed=bad)

    def _show_choice(self) -> None:
        chosen = self._session.setting(BASE_SETTING)
        self.choice.clear()
        self.choice.addItem(_STARTER, None)
        if chosen:
            self.choice.addItem(str(chosen), chosen)
            self.choice.setCurrentIndex(1)

    def _activated(self) -> None:
        chosen = self.choice.currentData()
        if chosen != self._session.setting(BASE_SETTING):
            self.take(Path(chosen) if chosen else None)

    def _choose(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder of the base model")
        if name:
            self.take(Path(name))

    def _describe(self, base: BaseModel) -> None:
        words = (
            f"{base.architecture}, {base.parameters / 1e6:.1f} million parameters, "
            f"reads up to {base.context:,} tokens."
        )
        self.about.setText(" ".join((words, *base.notes)))
        self.inspected.emit(base)
