"""Short texts, each behind a dot in its colour: a legend, or the last values of some lines."""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QPainter, QPaintEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

_DOT, _AFTER_DOT, _APART = 7, 4, 12  # pixels


class Swatches(QWidget):
    """Right-aligned parts (colour as #rrggbb, text). Its new texts lay nothing out again.

    Args:
        name: what a screen reader says before the texts.
        whole: never narrower than all its parts.
    """

    def __init__(self, name: str, *, whole: bool = False) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._parts: tuple[tuple[str, str], ...] = ()
        self._whole = whole
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_parts(self, parts: Sequence[tuple[str, str]], spoken: str = "") -> None:
        """Show `parts`; `spoken` is what a screen reader says instead of the texts alone."""
        if tuple(parts) == self._parts:
            return
        self._parts = tuple(parts)
        words = spoken or ", ".join(text for _, text in parts)
        self.setAccessibleDescription(words)
        self.setToolTip(words)
        if self._whole:
            self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(90, self.fontMetrics().height() + 4)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        width = 30
        if self._whole:
            dot = _DOT + _AFTER_DOT + _APART
            widths = (self.fontMetrics().horizontalAdvance(text) for _, text in self._parts)
            width = sum(each + dot for each in widths)
        return QSize(width, self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics, middle = self.fontMetrics(), self.height() / 2
        right = float(self.width())
        for color, text in reversed(self._parts):
            width = metrics.horizontalAdvance(text)
            left = right - width - _AFTER_DOT - _DOT
            if left < 0:  # what has no room is left out rather than cut
                break
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(color))
            painter.drawEllipse(QRectF(left, middle - _DOT / 2, _DOT, _DOT))
            painter.setPen(self.palette().placeholderText().color())
            area = QRectF(left + _DOT + _AFTER_DOT, 0, width + 2, self.height())
            painter.drawText(area, int(Qt.AlignmentFlag.AlignVCenter), text)
            right = left - _APART
        painter.end()
