"""The preference pairs as an item model that reads them page by page, off the window's thread."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import QAbstractTableModel, QModelIndex, Qt, pyqtSignal

from ui.session import Session
from ui.words import moment
from xeno.store.pair_browsing import ListedPair, Listing, PairBrowser, PairFilter, SortKey
from xeno.store.pairs import Pair

PAGE = 200
TITLES = ("Prompt", "Chosen", "Rejected", "Kind", "Score", "Weight", "Created", "Used")
SORTED_BY: dict[int, SortKey] = {1: "length", 3: "kind", 4: "score", 5: "weight", 6: "created"}
KINDS = {"correction": "correction", "choice": "choice", "import": "imported"}
_CUT = 200  # characters of a text in its cell


class PairsModel(QAbstractTableModel):
    """The pairs that a filter lets through, in the order of one column.

    The database answers a filter once, with the places of its pairs (`Listing`); pages of them
    are fetched as the view comes near their end. `settled` is emitted after each page.
    """

    settled = pyqtSignal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._browser = PairBrowser(session.profile.db)
        self._filter = PairFilter()
        self._sort: tuple[SortKey, bool] = ("created", True)
        self._listing: Listing | None = None
        self._loading = False
        self._reading = 0
        self._taken = 0  # of the listing's places; some may be of pairs deleted since
        self.listed: list[ListedPair] = []

    @property
    def pairs(self) -> list[Pair]:
        """The pairs that are read so far."""
        return [each.pair for each in self.listed]

    @property
    def found(self) -> int:
        """How many pairs the filter lets through, read or not."""
        return len(self._listing) if self._listing is not None else 0

    @property
    def filter(self) -> PairFilter:
        """Which pairs are shown."""
        return self._filter

    def show(self, wanted: PairFilter) -> None:
        """Show the pairs that `wanted` describes."""
        self._filter = wanted
        self._read(PAGE)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column of `SORTED_BY`; others keep the order."""
        if column in SORTED_BY:
            self._sort = (SORTED_BY[column], order == Qt.SortOrder.DescendingOrder)
            self._read(PAGE)

    def reload(self) -> None:
        """Ask the database again; what is shown stays until the answer is there."""
        self._read(max(PAGE, -(-len(self.listed) // PAGE) * PAGE))

    def _read(self, shown: int) -> None:
        """Ask the database for the pairs, and show the first `shown`."""
        self._reading += 1
        self._loading = True
        wanted, (key, descending), reading = self._filter, self._sort, self._reading

        def read() -> tuple[Listing, list[ListedPair]]:
            listing = self._browser.listing(wanted, key, descending)
            return listing, listing.page(0, shown)

        self._session.do(
            read,
            lambda answer: self._begin(*answer, shown, reading),
            owner=self,
            failed=self._give_up,
        )

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self.listed)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(TITLES)

    def canFetchMore(self, parent: QModelIndex) -> bool:  # noqa: N802
        return not (parent.isValid() or self._loading) and self._taken < self.found

    def fetchMore(self, parent: QModelIndex) -> None:  # noqa: N802
        if not self.canFetchMore(parent) or self._listing is None:
            return
        self._loading = True
        listing, offset, reading = self._listing, self._taken, self._reading
        self._session.do(
            lambda: listing.page(offset, PAGE),
            lambda page: self._extend(page, reading),
            owner=self,
            failed=self._give_up,
        )

    def ids(self) -> list[str]:
        """The ids of all pairs found. Reads the database: for a task."""
        return self._listing.ids() if self._listing is not None else []

    def _begin(self, listing: Listing, page: list[ListedPair], shown: int, reading: int) -> None:
        if reading != self._reading:
            return
        self._loading = False
        self.beginResetModel()
        self._listing, self.listed = listing, page
        self._taken = min(shown, len(listing))
        self.endResetModel()
        self.settled.emit()

    def _extend(self, page: list[ListedPair], reading: int) -> None:
        if reading != self._reading:
            return
        self._loading = False
        self._taken += PAGE
        if page:
            first = len(self.listed)
            self.beginInsertRows(QModelIndex(), first, first + len(page) - 1)
            self.listed.extend(page)
            self.endInsertRows()
        self.settled.emit()

    def _give_up(self, error: BaseException) -> None:
        self._loading = False
        self._taken = self.found
        self._session.tasks.failed.emit(error)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        each = self.listed[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _cell(each, index.column())
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == 4:
            if not each.examined:
                return "Not examined yet; this is the quality at the time it was stored."
            return "\n".join(finding.reason for finding in each.findings) or "Nothing was found."
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


def _cell(each: ListedPair, column: int) -> str:
    pair = each.pair
    text = (
        question(pair),
        pair.chosen,
        pair.rejected,
        KINDS.get(pair.feedback_type, pair.feedback_type),
        f"{each.score:.2f}",
        f"{pair.weight:g}",
        moment(pair.created)[:10],
        "yes" if pair.active else "no",
    )[column]
    return " ".join(text[:_CUT].split())
