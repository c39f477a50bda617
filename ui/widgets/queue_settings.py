"""The settings of the machine's queue, which hold for all profiles."""

from __future__ import annotations

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QAbstractSpinBox, QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import Page, label
from ui.widgets.notice import Notice
from ui.widgets.setting_row import SettingRow
from xeno.jobs.machine import MachineSettings


class QueueSettings(QDialog):
    """A row for each setting; what is edited holds at once. `changed` comes when it is kept."""

    changed = pyqtSignal()

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Queue settings")
        self.setAccessibleName("Queue settings")
        self.resize(620, 460)
        self.notice = Notice(session.theme)
        self.rows: dict[str, SettingRow] = {}
        page = Page()
        page.setAccessibleName("Queue settings")
        page.add(label("They hold for all profiles of this computer.", "muted"))
        page.add(self.notice)
        for name, declared in MachineSettings.model_fields.items():
            line = self.rows[name] = SettingRow(session.theme, name, declared)
            line.edited.connect(self._edited)
            line.allow_editing("The settings are being read.")
            page.add(line)
        no_limit = self.rows["longest_run_hours"]
        if isinstance(no_limit.editor.widget, QAbstractSpinBox):
            no_limit.editor.widget.setSpecialValueText("no limit")
        no_limit.reset.setToolTip("Back to no limit")
        page.column.addStretch(1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        buttons.setContentsMargins(0, 0, 16, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 12)
        layout.addWidget(page, 1)
        layout.addWidget(buttons)
        session.do(session.queue.machine, self._show, owner=self, failed=self.notice.explain)

    def _show(self, settings: MachineSettings) -> None:
        for name, line in self.rows.items():
            line.allow_editing("")
            line.show_value(getattr(settings, name))

    def _edited(self, name: str, value: object) -> None:
        def kept(settings: MachineSettings) -> None:
            self._show(settings)
            self.changed.emit()

        queue = self._session.queue
        self._session.do(
            lambda: queue.set_machine(**{name: value}),
            kept,
            owner=self,
            failed=self.notice.explain,
        )
