"""A line of text that changes often: unlike a label's, its new text lays nothing out again."""

from __future__ import annotations

from PyQt6.QtCore import QSize, Qt
from PyQt6.QtGui import QPainter, QPaintEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget


class Readout(QWidget):
    """One line in the muted colour that ends in … where there is no room for all of it.

    Args:
        name: what a screen reader says before the text.
        strong: in the colour of text instead.
    """

    def __init__(self, name: str, *, strong: bool = False) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._text = ""
        self._strong = strong
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def text(self) -> str:
        """What stands there."""
        return self._text

    def setText(self, text: str) -> None:  # noqa: N802
        """Show `text`."""
        if text != self._text:
            self._text = text
            self.setAccessibleDescription(text)
            self.setToolTip(text)
            self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(80, self.fontMetrics().height() + 4)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(30, self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        painter = QPainter(self)
        palette = self.palette()
        painter.setPen((palette.text() if self._strong else palette.placeholderText()).color())
        width = self.width()
        shown = self.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideRight, width)
        painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignVCenter), shown)
        painter.end()
