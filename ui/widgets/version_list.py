"""The history of versions as a table or as a tree, with a filter; those deleted on request."""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import QPoint, Qt, pyqtSignal
from PyQt6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QLineEdit,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.version_words import accuracy, cost, state
from ui.widgets.basics import row
from ui.widgets.sparkline import SparklineDelegate
from ui.widgets.table import Table
from ui.widgets.version_tree import VersionTree
from ui.words import moment, share, size
from xeno.versions.registry import Version

_NONE_YET = (
    "No versions yet. Each training run that ends well makes one; until then the base model "
    "answers."
)
_NONE_DELETED = "Nothing was deleted in the last 7 days."
_NONE_FOUND = "No version matches."
_NARROW, _MIDDLE = 740, 1080  # px, below which less important columns go
_ACCURACY = 2


class VersionList(QWidget):
    """`chosen_changed` after another selection; `menu_wanted` where, for a context menu;
    `opened` when Enter is pressed on a version or it is clicked twice."""

    chosen_changed = pyqtSignal()
    menu_wanted = pyqtSignal(QPoint)
    opened = pyqtSignal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._versions: list[Version] = []
        self._deleted: list[Version] = []
        self._shown: dict[str, Version] = {}
        self._quiet = False
        self.search = QLineEdit()
        self.search.setAccessibleName("Filter of the versions")
        self.search.setPlaceholderText("Filter by name, tag, state, words")
        self.search.setClearButtonEnabled(True)
        self.which = QComboBox()
        self.which.setAccessibleName("Which versions are shown")
        self.which.addItems(["Kept versions", "Deleted"])
        self.form = QComboBox()
        self.form.setAccessibleName("Form of the history")
        self.form.addItems(["Table", "Tree"])
        self.model: RowsModel[Version] = RowsModel(_columns(), self)
        self.table = Table("Versions", _NONE_YET)
        self.table.show_model(self.model)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.table.widths(6, 17, 10, 10, 4, 16, 6, 8, 7, 12)
        self.table.hide_when_narrow(_NARROW, 5, 10)
        self.table.hide_when_narrow(_MIDDLE, 6, 7, 8, 9)
        self.accuracies = SparklineDelegate(session.theme, lambda each: each.address, self.table)
        self.table.setItemDelegateForColumn(_ACCURACY, self.accuracies)
        self.tree = VersionTree()
        self.stack = QStackedWidget()
        for view in (self.table, self.tree):
            self.stack.addWidget(view)
            view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
            view.setMinimumHeight(120)
        head = row(self.search, self.which, self.form, spacing=8)
        head.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(head)
        layout.addWidget(self.stack, 1)
        self._connect()

    def _connect(self) -> None:
        self.search.textChanged.connect(lambda _: self._refresh())
        self.which.currentIndexChanged.connect(lambda _: self._refresh())
        self.form.currentIndexChanged.connect(self._turn)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._chose())
        self.tree.itemSelectionChanged.connect(self._chose)
        for view in (self.table, self.tree):
            port = view.viewport()
            assert port is not None
            view.customContextMenuRequested.connect(
                lambda where, port=port: self.menu_wanted.emit(port.mapToGlobal(where))
            )
            view.activated.connect(lambda _: self.opened.emit())

    def show_versions(self, versions: Sequence[Version], deleted: Sequence[Version]) -> None:
        """Show these, the newest first; those selected stay so, one that is added is selected."""
        known = {each.address for each in self._versions}
        added = [each.address for each in versions if each.address not in known]
        first = not known
        self._versions, self._deleted = list(versions), list(deleted)
        self.which.setItemText(1, f"Deleted ({len(deleted)})" if deleted else "Deleted")
        points = [(each.address, accuracy(each)) for each in reversed(versions)]
        self.accuracies.show_points([(key, value) for key, value in points if value is not None])
        self._refresh(added[:1] if added and not first else None)

    def chosen(self) -> list[Version]:
        """The selected versions, the oldest first."""
        found = self._addresses()
        return sorted(
            (self._shown[each] for each in found if each in self._shown),
            key=lambda version: version.number,
        )

    @property
    def shows_deleted(self) -> bool:
        """Whether the deleted versions are shown."""
        return self.which.currentIndex() == 1

    @property
    def view(self) -> QAbstractItemView:
        """The table or the tree, whichever is shown."""
        return self.tree if self.form.currentIndex() == 1 else self.table

    def _addresses(self) -> list[str]:
        if self.view is self.tree:
            return self.tree.chosen()
        return [self.model.records[place].address for place in self.table.chosen_rows()]

    def _refresh(self, wanted: Sequence[str] | None = None) -> None:
        """Show what matches the filter, and select `wanted` or what was selected."""
        chosen = list(wanted) if wanted is not None else self._addresses()
        source = self._deleted if self.shows_deleted else self._versions
        words = self.search.text().lower().split()
        shown = [each for each in source if all(word in _searched(each) for word in words)]
        self._shown = {each.address: each for each in shown}
        self.table.empty = (
            _NONE_FOUND if source else _NONE_DELETED if self.shows_deleted else _NONE_YET
        )
        self._quiet = True
        self.model.show(shown)
        self.tree.show_versions(shown)
        kept = [each for each in chosen if each in self._shown]
        self._choose(kept or [each.address for each in shown[:1]])
        self._quiet = False
        self.chosen_changed.emit()

    def _choose(self, addresses: Sequence[str]) -> None:
        rows = [n for n, each in enumerate(self.model.records) if each.address in addresses]
        if rows:
            self.table.choose_row(rows[0])
        self.table.choose_rows(rows)
        self.tree.choose(addresses)

    def _turn(self, place: int) -> None:
        leaving = self.tree if place == 0 else self.table
        chosen = (
            self.tree.chosen()
            if leaving is self.tree
            else [self.model.records[n].address for n in self.table.chosen_rows()]
        )
        self._quiet = True
        self._choose(chosen)
        self._quiet = False
        self.stack.setCurrentIndex(place)
        self.chosen_changed.emit()

    def _chose(self) -> None:
        if not self._quiet:
            self.chosen_changed.emit()


def _searched(version: Version) -> str:
    """The text that the filter looks in."""
    parts = (
        version.label,
        version.semantic,
        state(version),
        cost(version),
        version.manifest.base_name,
        version.description,
        version.address,
        *version.tags,
    )
    return " ".join(parts).lower()


def _columns() -> list[Column[Version]]:
    return [
        Column("Version", lambda v: v.label, lambda v: v.number),
        Column("State", state),
        Column("Accuracy", lambda v: share(accuracy(v)), lambda v: accuracy(v) or -1.0,
               tip="Preference accuracy on held-out pairs; the line goes through all versions"),
        Column("Privacy", cost),
        Column("Tags", lambda v: ", ".join(v.tags)),
        Column("Created", lambda v: moment(v.created), lambda v: v.created),
        Column("Pairs", lambda v: f"{len(v.manifest.pair_ids):,}",
               lambda v: len(v.manifest.pair_ids), right=True),
        Column("Size", lambda v: size(v.bytes), lambda v: v.bytes, right=True),
        Column("Number", lambda v: v.semantic, tip="Its semantic number"),
        Column("Base", lambda v: v.manifest.base_name),
        Column("Description", lambda v: v.description),
    ]  # fmt: skip
