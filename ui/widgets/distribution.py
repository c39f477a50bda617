"""How likely each value of a preference is: a bar in a table, and bars one under the other."""

from __future__ import annotations

from PyQt6.QtCore import QModelIndex, QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PyQt6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

from ui.preference_words import value_name
from ui.rows_model import RowsModel
from ui.theme import Theme
from xeno.personalization.learning import Belief

_BAR = 10  # px
_GAP = 2


def spoken(belief: Belief) -> str:
    """The distribution in words, the likeliest value first."""
    pairs = sorted(zip(belief.distribution, belief.values, strict=True), reverse=True)
    return ", ".join(f"{value_name(value)} {likely(part)}" for part, value in pairs)


def likely(part: float) -> str:
    """A probability as a percentage; a belief is never certain, and never said to be."""
    if part > 0.99:
        return "over 99 %"
    return f"{100 * part:.0f} %" if part >= 0.01 else "under 1 %"


class DistributionDelegate(QStyledItemDelegate):
    """Draws a belief as one bar in parts; the likeliest value's part has the accent colour."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        option.text = ""
        super().paint(painter, option, index.siblingAtColumn(-1))
        model = index.model()
        if painter is None or not isinstance(model, RowsModel):
            return
        belief: Belief = model.records[index.row()]
        colors = self._theme.colors
        chosen = option.state & option.state.State_Selected  # type: ignore[attr-defined]
        if chosen:
            painter.fillRect(option.rect, QColor(colors.accent_soft))
        area = QRectF(option.rect).adjusted(8, 0, -12, 0)
        area = QRectF(area.left(), area.center().y() - _BAR / 2, area.width(), _BAR)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        clip = QPainterPath()
        clip.addRoundedRect(area, _BAR / 2, _BAR / 2)
        painter.setClipPath(clip)
        left = area.left()
        for value, part in zip(belief.values, belief.distribution, strict=True):
            width = area.width() * part
            best = belief.evidence > 0 and value == belief.value
            painter.fillRect(
                QRectF(left, area.top(), max(1.0, width - _GAP), _BAR),
                QColor(colors.accent if best else colors.border),
            )
            left += width
        painter.restore()


class Distribution(QWidget):
    """One bar per value with its name and its share."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._belief: Belief | None = None
        self.setAccessibleName("How likely each value is")
        theme.changed.connect(self.update)

    def show_belief(self, belief: Belief) -> None:
        """Show the distribution of `belief`."""
        self._belief = belief
        self.setAccessibleDescription(spoken(belief))
        self.setToolTip(spoken(belief))
        self.setFixedHeight(self._line() * len(belief.values))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        lines = len(self._belief.values) if self._belief else 4
        return QSize(320, self._line() * lines)

    def _line(self) -> int:
        return self.fontMetrics().lineSpacing() + 8

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        belief = self._belief
        if belief is None:
            return
        colors, metrics, line = self._theme.colors, self.fontMetrics(), self._line()
        names = max(metrics.horizontalAdvance(value_name(value)) for value in belief.values) + 14
        shares = metrics.horizontalAdvance(likely(1.0)) + 10
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(colors.text))
        for place, (value, part) in enumerate(zip(belief.values, belief.distribution, strict=True)):
            row = QRectF(0, place * line, self.width(), line)
            middle = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(row, middle | Qt.AlignmentFlag.AlignLeft, value_name(value))
            painter.drawText(row, middle | Qt.AlignmentFlag.AlignRight, likely(part))
            bar = QRectF(names, row.center().y() - _BAR / 2, self.width() - names - shares, _BAR)
            painter.setBrush(QColor(colors.raised))
            painter.save()
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(bar, _BAR / 2, _BAR / 2)
            bar.setWidth(max(_BAR, bar.width() * part))
            best = belief.evidence > 0 and value == belief.value
            painter.setBrush(QColor(colors.accent if best else colors.border))
            painter.drawRoundedRect(bar, _BAR / 2, _BAR / 2)
            painter.restore()
        painter.end()
