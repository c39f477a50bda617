"""One setting in a form: what it means and does, its editor, and the way back to its default."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo
from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QGridLayout, QWidget

from ui.theme import Theme
from ui.widgets.basics import Tool, allow, label, row, set_kind
from ui.widgets.setting_editor import SettingEditor
from xeno.training.settings.declaration import effects
from xeno.training.settings.values import shown

_EDITOR_WIDTH = 170


class SettingRow(QWidget):
    """Words at the left, editor and reset at the right. `edited` gives the name and the value."""

    edited = pyqtSignal(str, object)

    def __init__(self, theme: Theme, name: str, declared: FieldInfo) -> None:
        super().__init__()
        self._default = declared.default
        self.editor = SettingEditor(name, declared, self)
        self.editor.edited.connect(lambda value: self.edited.emit(name, value))
        title = declared.title or name
        self._title = label(title, wrap=False)
        self._title.setBuddy(self.editor.widget)
        self.mark = label("changed", "tag", wrap=False)
        default = str(shown(self._default)).replace("\n", " / ")
        self.reset = Tool(theme, "refresh", f"Reset {title}", tip=f"Back to {default}")
        self.reset.clicked.connect(lambda: self.edited.emit(name, self._default))
        for part in (self.mark, self.reset):
            policy = part.sizePolicy()
            policy.setRetainSizeWhenHidden(True)
            part.setSizePolicy(policy)
        words = [declared.description or ""]
        words += [f"{what.capitalize()}: {text}" for what, text in effects(declared).items()]
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(1)
        head = row(self._title, self.mark, None)
        grid.addLayout(head, 0, 0)
        grid.addWidget(label("\n".join(words), "tiny"), 1, 0)
        grid.setColumnStretch(0, 1)
        top = Qt.AlignmentFlag.AlignTop
        if self.editor.multiline:
            grid.addWidget(self.editor.widget, 2, 0)
        else:
            self.editor.widget.setFixedWidth(_EDITOR_WIDTH)
            grid.addWidget(self.editor.widget, 0, 1, 2, 1, top)
        grid.addWidget(self.reset, 0, 2, 2, 1, top)

    def show_value(self, value: Any) -> None:
        """Show `value`, and whether it is another than the default."""
        self.editor.show_value(value)
        changed = value != self._default
        self.mark.setVisible(changed)
        self.reset.setVisible(changed)

    def allow_editing(self, reason: str) -> None:
        """Enable the editor, or disable it with the reason."""
        allow(self.editor.widget, reason)
        allow(self.reset, reason)
        set_kind(self._title, "muted" if reason else "")
