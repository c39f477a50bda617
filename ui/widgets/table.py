"""A table in the look of the window, with words in place of nothing when it is empty."""

from __future__ import annotations

from PyQt6.QtCore import (
    QAbstractItemModel,
    QItemSelectionModel,
    QModelIndex,
    QSortFilterProxyModel,
    Qt,
)
from PyQt6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QResizeEvent
from PyQt6.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from ui.rows_model import SORT_ROLE


class Table(QTableView):
    """Rows are selected whole; `empty` is what stands there while there is no row."""

    def __init__(self, name: str, empty: str, *, sortable: bool = True) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.empty = empty
        self._sortable = sortable
        self._dispensable: dict[int, int] = {}  # columns, and the width that they need
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setCornerButtonEnabled(False)
        rows = self.verticalHeader()
        columns = self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(round(self.fontMetrics().height() * 2.0))
        columns.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        columns.setHighlightSections(False)
        columns.setStretchLastSection(True)
        columns.setMinimumSectionSize(48)

    def show_model(self, model: QAbstractItemModel, stretch: int | None = None) -> None:
        """Show `model`; the column `stretch` takes the room that is left."""
        if self._sortable:
            proxy = QSortFilterProxyModel(self)
            proxy.setSourceModel(model)
            proxy.setSortRole(SORT_ROLE)
            self.setModel(proxy)
            self.setSortingEnabled(True)
            self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        else:
            self.setModel(model)
        columns = self.horizontalHeader()
        assert columns is not None
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        if stretch is not None:
            columns.setStretchLastSection(False)
            columns.setSectionResizeMode(stretch, QHeaderView.ResizeMode.Stretch)

    def widths(self, *characters: int) -> None:
        """Set the columns' widths, in characters."""
        one = self.fontMetrics().horizontalAdvance("0")
        for column, count in enumerate(characters):
            self.setColumnWidth(column, one * count + 18)

    def hide_when_narrow(self, pixels: int, *columns: int) -> None:
        """Hide these columns while the table is narrower than so many pixels."""
        self._dispensable.update(dict.fromkeys(columns, pixels))

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        for column, least in self._dispensable.items():
            self.setColumnHidden(column, self.width() < least)
        super().resizeEvent(event)

    def chosen_row(self) -> int:
        """The selected row of the source model, -1 if none is selected."""
        index = self.currentIndex()
        selection = self.selectionModel()
        if selection is None or not index.isValid() or not selection.hasSelection():
            return -1
        model = self.model()
        if isinstance(model, QSortFilterProxyModel):
            index = model.mapToSource(index)
        return index.row()

    def chosen_rows(self) -> list[int]:
        """The selected rows of the source model, in the order of the model."""
        selection, model = self.selectionModel(), self.model()
        if selection is None:
            return []
        found = selection.selectedRows()
        if isinstance(model, QSortFilterProxyModel):
            found = [model.mapToSource(index) for index in found]
        return sorted(index.row() for index in found)

    def choose_rows(self, rows: list[int]) -> None:
        """Select these rows of the source model, and no others."""
        selection, model = self.selectionModel(), self.model()
        source = model.sourceModel() if isinstance(model, QSortFilterProxyModel) else model
        if selection is None or source is None:
            return
        selection.clearSelection()
        flag = QItemSelectionModel.SelectionFlag
        for row in rows:
            index: QModelIndex = source.index(row, 0)
            if isinstance(model, QSortFilterProxyModel):
                index = model.mapFromSource(index)
            selection.select(index, flag.Select | flag.Rows)

    def choose_row(self, row: int) -> None:
        """Select the row `row` of the source model."""
        model = self.model()
        source = model.sourceModel() if isinstance(model, QSortFilterProxyModel) else model
        if source is None:
            return
        index: QModelIndex = source.index(row, 0)
        if isinstance(model, QSortFilterProxyModel):
            index = model.mapFromSource(index)
        self.setCurrentIndex(index)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        super().paintEvent(event)
        model, port = self.model(), self.viewport()
        if port is None or (model is not None and model.rowCount() > 0):
            return
        painter = QPainter(port)
        painter.setPen(QColor(self.palette().color(QPalette.ColorRole.PlaceholderText)))
        area = port.rect().adjusted(24, 8, -24, -8)
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self.empty)
        painter.end()
