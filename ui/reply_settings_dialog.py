"""How replies are drawn and computed: the settings of the chat, made from their declarations."""

from __future__ import annotations

from typing import Any

from PyQt6.QtWidgets import QDialog, QFormLayout, QLabel, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.setting_editor import SettingEditor
from xeno.events import HostReady, Sampling
from xeno.inference.settings import ReplySettings, write_settings

_UNITS = {"max_tokens": "tokens", "cache_megabytes": "MB", "cache_minutes": "minutes"}


class ReplySettingsDialog(QDialog):
    """Edits the settings of replies; nothing is kept before Save.

    Args:
        session: the open profile.
        settings: as they are now.
    """

    def __init__(
        self, session: Session, settings: ReplySettings, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._before = settings.model_dump()
        self._values = dict(self._before)
        self.setWindowTitle("Reply settings")
        self.setAccessibleName("Reply settings")
        self.setMinimumWidth(460)
        self.notice = Notice(session.theme)
        self.editors = {
            name: SettingEditor(name, declared, self)
            for name, declared in ReplySettings.model_fields.items()
        }
        self.save = button("&Save", "primary", tip="Ctrl+Enter", name="Save the settings")
        self.save.setShortcut("Ctrl+Return")
        self.defaults = button("&Defaults", name="Show the defaults; Save keeps them")
        self.cancel = button("&Cancel", tip="Esc", name="Leave without saving")
        drawn = [name for name in self.editors if name in Sampling.model_fields]
        computed = [name for name in self.editors if name not in Sampling.model_fields]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(self.notice)
        layout.addWidget(label("How replies are drawn", "heading"))
        layout.addLayout(self._form(drawn))
        layout.addWidget(label("How they are computed", "heading"))
        layout.addWidget(label(_in_use(session.host_ready), "muted"))
        layout.addLayout(self._form(computed))
        layout.addWidget(label("A change of these loads the model again.", "tiny"))
        layout.addLayout(row(self.defaults, None, self.cancel, self.save))
        self.save.clicked.connect(self._save)
        self.defaults.clicked.connect(lambda: self._show(ReplySettings().model_dump()))
        self.cancel.clicked.connect(self.reject)
        self._show(self._before)

    def _form(self, names: list[str]) -> QFormLayout:
        form = QFormLayout()
        form.setVerticalSpacing(8)
        form.setHorizontalSpacing(14)
        for name in names:
            editor = self.editors[name]
            declared = ReplySettings.model_fields[name]
            unit = f", {_UNITS[name]}" if name in _UNITS else ""
            title = QLabel(f"{declared.title}{unit}")
            title.setToolTip(declared.description or "")
            title.setBuddy(editor.widget)
            editor.edited.connect(lambda value, name=name: self._edited(name, value))
            form.addRow(title, editor.widget)
        return form

    def _edited(self, name: str, value: Any) -> None:
        self._values[name] = value
        self._gate()

    def _show(self, values: dict[str, Any]) -> None:
        self._values = dict(values)
        for name, editor in self.editors.items():
            editor.show_value(values[name])
        self._gate()

    def _gate(self) -> None:
        allow(self.save, "" if self._changes() else "Nothing was changed.")

    def _changes(self) -> dict[str, Any]:
        return {name: v for name, v in self._values.items() if v != self._before[name]}

    def _save(self) -> None:
        changes = self._changes()
        profile = self._session.profile

        def saved(_: ReplySettings) -> None:
            if changes.keys() - Sampling.model_fields.keys():
                self._session.restart_host()
            self.accept()

        self._session.do(
            lambda: write_settings(profile, changes),
            saved,
            owner=self,
            failed=self.notice.explain,
        )


def _in_use(ready: HostReady | None) -> str:
    """What the probe and the settings came to."""
    if ready is None:
        return "The model is not loaded yet."
    threads = "1 thread" if ready.threads == 1 else f"{ready.threads} threads"
    facts = f"In use: {ready.dtype}, {threads}, computed by {ready.decoder}."
    return " ".join([facts, *ready.notes])
