"""The Personalization tab: a row of pages, each built when it is first opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from ui.pages.data_page import DataPage
from ui.pages.intents_page import IntentsPage
from ui.pages.learned_page import LearnedPage
from ui.pages.memory_page import MemoryPage
from ui.pages.pairs_page import PairsPage
from ui.pages.preferences_page import PreferencesPage
from ui.session import Session


class Reloads(Protocol):
    """What every page can do besides being a widget."""

    def reload(self) -> None:
        """Read again what is shown."""


class PersonalizationTab(QWidget):
    """Everything that makes the assistant the user's own.

    Ctrl+Page Up and Ctrl+Page Down go from page to page, wherever the focus is.

    Args:
        session: the open profile.
        import_pairs: opens the import dialog.
    """

    def __init__(self, session: Session, import_pairs: Callable[[], object]) -> None:
        super().__init__()
        self._makers: dict[str, Callable[[], QWidget]] = {
            "Preferences": lambda: PreferencesPage(session),
            "Learned": lambda: LearnedPage(session),
            "Memory": lambda: MemoryPage(session),
            "Pairs": lambda: PairsPage(session, import_pairs),
            "Intents": lambda: IntentsPage(session),
            "Data": lambda: DataPage(session, import_pairs),
        }
        self._pages: dict[str, QWidget] = {}
        self.bar = QTabBar()
        self.bar.setProperty("kind", "pages")
        self.bar.setAccessibleName("Pages of Personalization")
        self.bar.setDrawBase(False)
        self.bar.setExpanding(False)
        self.bar.setUsesScrollButtons(True)
        for name in self._makers:
            self.bar.addTab(name)
        self.stack = QStackedWidget()
        head = QHBoxLayout()
        head.setContentsMargins(20, 12, 20, 0)
        head.addWidget(self.bar)
        head.addStretch(1)
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

    def reload(self) -> None:
        """Read again what the open page shows."""
        cast(Reloads, self.stack.currentWidget()).reload()

    def _turn(self, place: int) -> None:
        self.stack.setCurrentWidget(self.page(self.names[place]))

    def _step(self, step: int) -> None:
        self.bar.setCurrentIndex((self.bar.currentIndex() + step) % self.bar.count())
