"""A figure in a table with its course over all rows: a small line, and a dot where the row is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PyQt6.QtCore import QModelIndex, QPointF, QRectF, QSortFilterProxyModel, Qt
from PyQt6.QtGui import QColor, QPainter, QPen, QPolygonF
from PyQt6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

from ui.rows_model import RowsModel
from ui.theme import Theme

_DOT = 3.0  # px, radius
_WIDEST = 120.0  # px of the line


class SparklineDelegate(QStyledItemDelegate):
    """Draws beside the text of its column the line through `points`.

    Args:
        key: what a record is called among the points.
    """

    def __init__(self, theme: Theme, key: Callable[[Any], str], parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._key = key
        self._places: dict[str, QPointF] = {}  # both from 0 to 1

    def show_points(self, points: Sequence[tuple[str, float]]) -> None:
        """The line to draw, from its begin on; the highest value stands at the top."""
        values = [value for _, value in points]
        low, high = min(values, default=0.0), max(values, default=1.0)
        room = (high - low) or 1.0
        last = max(1, len(points) - 1)
        self._places = {
            key: QPointF(place / last, (value - low) / room if high > low else 0.5)
            for place, (key, value) in enumerate(points)
        }

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        super().paint(painter, option, index)
        here = self._places.get(self._key_of(index))
        if painter is None or here is None or len(self._places) < 2:
            return
        text = option.fontMetrics.horizontalAdvance("100 %") + 22
        area = QRectF(option.rect).adjusted(text, 7, -10, -7)
        area.setWidth(min(area.width(), _WIDEST))
        if area.width() < 24:
            return

        def spot(place: QPointF) -> QPointF:
            return QPointF(
                area.left() + place.x() * area.width(), area.bottom() - place.y() * area.height()
            )

        colors = self._theme.colors
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colors.muted), 1.2))
        painter.drawPolyline(QPolygonF([spot(each) for each in self._places.values()]))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colors.accent))
        painter.drawEllipse(spot(here), _DOT, _DOT)
        painter.restore()

    def _key_of(self, index: QModelIndex) -> str:
        model = index.model()
        if isinstance(model, QSortFilterProxyModel):
            index = model.mapToSource(index)
            model = model.sourceModel()
        if not isinstance(model, RowsModel):
            return ""
        return self._key(model.records[index.row()])
