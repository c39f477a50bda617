"""A row of pages, each built when it is first opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget


class Pages(QWidget):
    """Ctrl+Page Up and Ctrl+Page Down go from page to page, wherever the focus is.

    Args:
        name: what a screen reader says of the bar.
        makers: the pages by their names, in their order.
    """

    def __init__(self, name: str, makers: Mapping[str, Callable[[], QWidget]]) -> None:
        super().__init__()
        self._makers = dict(makers)
        self._pages: dict[str, QWidget] = {}
        self.bar = QTabBar()
        self.bar.setProperty("kind", "pages")
        self.bar.setAccessibleName(name)
        self.bar.setDrawBase(False)
        self.bar.setExpanding(False)
        self.bar.setUsesScrollButtons(True)
        for title in self._makers:
            self.bar.addTab(title)
        self.stack = QStackedWidget()
        head = QHBoxLayout()
        head.setContentsMargins(20, 12, 20, 0)
        head.addWidget(self.bar, 1)  # all the room: a chosen page's name is wider than before
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self.stack, 1)
        self.bar.currentChanged.connect(self._turn)
        for keys, step in (("Ctrl+PgUp", -1), ("Ctrl+PgDown", 1)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.activated.connect(lambda step=step: self._step(step))
        self._turn(0)

    @property
    def names(self) -> tuple[str, ...]:
        """The pages' names, in their order."""
        return tuple(self._makers)

    def page(self, name: str) -> QWidget:
        """The page `name`, built if it was not opened before; it is not brought to the front."""
        if name not in self._pages:
            made = self._makers[name]()
            made.setAccessibleName(name)
            self._pages[name] = made
            self.stack.addWidget(made)
        return self._pages[name]

    def open(self, name: str) -> QWidget:
        """Bring the page `name` to the front."""
        self.bar.setCurrentIndex(self.names.index(name))
        return self.page(name)

    def _turn(self, place: int) -> None:
        self.stack.setCurrentWidget(self.page(self.names[place]))

    def _step(self, step: int) -> None:
        self.bar.setCurrentIndex((self.bar.currentIndex() + step) % self.bar.count())
