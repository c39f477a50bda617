"""The preference pairs as an item model that reads them page by page, off the window's thread."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import QAbstractTableModel, QModelIndex, Qt, pyqtSignal

from ui.session import Session
from ui.words import moment
from xeno.store.pairs import Pair, Pairs

PAGE = 200
TITLES = ("Prompt", "Chosen", "Rejected", "Kind", "Quality", "Created", "Used")
KINDS = {"correction": "correction", "choice": "choice", "import": "imported"}


class PairsModel(QAbstractTableModel):
    """Pairs that match a search text, newest as the store orders them.

    `settled` is emitted after each page, and when there is none to read.
    """

    settled = pyqtSignal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._store = Pairs(session.profile.db)
        self._search: str | None = None
        self._complete = True
        self._loading = False
        self._reading = 0
        self.pairs: list[Pair] = []

    def search(self, text: str) -> None:
        """Show the pairs in which `text` occurs; all of them for an empty text."""
        self._search = text.strip() or None
        self.reload()

    def reload(self) -> None:
        """Read again from the first page; what is shown stays until it is there."""
        self._reading += 1
        self._read(0)

    def changed(self, row: int, pair: Pair) -> None:
        """Put `pair` in place of the one in `row`."""
        self.pairs[row] = pair
        self.dataChanged.emit(self.index(row, 0), self.index(row, len(TITLES) - 1))

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self.pairs)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(TITLES)

    def canFetchMore(self, parent: QModelIndex) -> bool:  # noqa: N802
        return not (parent.isValid() or self._complete or self._loading)

    def fetchMore(self, parent: QModelIndex) -> None:  # noqa: N802
        if self.canFetchMore(parent):
            self._read(len(self.pairs))

    def _read(self, offset: int) -> None:
        self._loading = True
        search, reading = self._search, self._reading
        self._session.do(
            lambda: self._store.all(limit=PAGE, offset=offset, search=search),
            lambda page: self._show(page, offset, reading),
            owner=self,
            failed=self._give_up,
        )

    def _show(self, page: list[Pair], offset: int, reading: int) -> None:
        if reading != self._reading:
            return
        self._loading = False
        self._complete = len(page) < PAGE
        if offset == 0:
            self.beginResetModel()
            self.pairs = list(page)
            self.endResetModel()
        elif page:
            self.beginInsertRows(QModelIndex(), offset, offset + len(page) - 1)
            self.pairs.extend(page)
            self.endInsertRows()
        self.settled.emit()

    def _give_up(self, error: BaseException) -> None:
        self._loading = False
        self._complete = True
        self._session.tasks.failed.emit(error)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        pair = self.pairs[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _cell(pair, index.column())
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == 4 and pair.quality_notes:
            return "\n".join(pair.quality_notes)
        return None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return TITLES[section]
        return None


def question(pair: Pair) -> str:
    """The last turn of the user's in the pair's prompt."""
    turns = [turn.content for turn in pair.prompt if turn.role == "user"]
    return turns[-1] if turns else ""


def _cell(pair: Pair, column: int) -> str:
    text = (
        question(pair),
        pair.chosen,
        pair.rejected,
        KINDS.get(pair.feedback_type, pair.feedback_type),
        f"{pair.quality:.2f}",
        moment(pair.created),
        "yes" if pair.active else "no",
    )[column]
    return " ".join(text[:200].split())
