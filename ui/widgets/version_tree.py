"""The versions as a tree: each stands under the one that it continued."""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QAbstractItemView, QTreeWidget, QTreeWidgetItem, QTreeWidgetItemIterator

from ui.version_words import accuracy, cost, state
from ui.words import share
from xeno.versions.lineage import tree
from xeno.versions.registry import Version

_ADDRESS = int(Qt.ItemDataRole.UserRole)


class VersionTree(QTreeWidget):
    """Rows are selected whole; a version whose parent is not shown stands at the root."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Versions as a tree of parents")
        self.setHeaderLabels(["Version", "State", "Accuracy", "Privacy", "Tags"])
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setUniformRowHeights(True)
        self.setAllColumnsShowFocus(True)
        self.setIndentation(18)
        one = self.fontMetrics().horizontalAdvance("0")
        for column, characters in enumerate((18, 17, 9, 12)):
            self.setColumnWidth(column, one * characters + 18)

    def show_versions(self, versions: Sequence[Version]) -> None:
        """Replace what is shown."""
        self.clear()
        line: list[QTreeWidgetItem] = []  # from the root to the last one added
        for branch in tree(versions):
            version = branch.version
            texts = (version.label, state(version), share(accuracy(version)), cost(version))
            item = QTreeWidgetItem([*texts, ", ".join(version.tags)])
            item.setData(0, _ADDRESS, version.address)
            item.setToolTip(0, version.description)
            del line[branch.depth :]
            if line:
                line[-1].addChild(item)
            else:
                self.addTopLevelItem(item)
            line.append(item)
        self.expandAll()

    def chosen(self) -> list[str]:
        """The content addresses of the selected versions."""
        return [str(item.data(0, _ADDRESS)) for item in self.selectedItems()]

    def choose(self, addresses: Sequence[str]) -> None:
        """Select these versions, and no others."""
        self.clearSelection()
        every = QTreeWidgetItemIterator(self)
        while (item := every.value()) is not None:
            if item.data(0, _ADDRESS) in addresses:
                if not self.selectedItems():
                    self.setCurrentItem(item)
                item.setSelected(True)
            every += 1
