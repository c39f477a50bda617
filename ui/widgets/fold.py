"""A heading that folds what stands under it up and down, with an arrow that says which."""

from __future__ import annotations

from PyQt6.QtWidgets import QPushButton, QSizePolicy

from ui.theme import Theme
from ui.widgets.basics import set_kind


class Fold(QPushButton):
    """A checkable link: checked is unfolded. `&` in `text` marks its mnemonic."""

    def __init__(self, theme: Theme, text: str, name: str = "") -> None:
        super().__init__(text)
        self._theme = theme
        self.setCheckable(True)
        self.setAccessibleName(name or text.replace("&", ""))
        self.setAutoDefault(False)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        set_kind(self, "link")
        self.toggled.connect(self._draw)
        theme.changed.connect(self._draw)
        self._draw()

    def _draw(self) -> None:
        arrow = "chevron-up" if self.isChecked() else "chevron-down"
        self.setIcon(self._theme.icon(arrow, self._theme.colors.accent))
        self.setAccessibleDescription("unfolded" if self.isChecked() else "folded up")
