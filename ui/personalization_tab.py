"""The Personalization tab: a row of pages, each built when it is first opened.

The modules of all pages but the first are loaded after the window is on screen, by `prepare`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, cast

from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from ui.pages.preferences_page import PreferencesPage
from ui.session import Session

_MODULES = tuple(
    f"ui.pages.{name}_page" for name in ("learned", "memory", "pairs", "intents", "data")
)


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
        self._session = session
        self._makers: dict[str, Callable[[], QWidget]] = {
            "Preferences": lambda: PreferencesPage(session),
            "Learned": lambda: _class("learned")(session),
            "Memory": lambda: _class("memory")(session),
            "Pairs": lambda: _class("pairs")(session, import_pairs),
            "Intents": lambda: _class("intents")(session),
            "Data": lambda: _class("data")(session, import_pairs),
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

    def prepare(self) -> None:
        """Load the pages' modules on another thread, so that each opens at once."""
        self._session.do(lambda: [importlib.import_module(name) for name in _MODULES])

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


def _class(name: str) -> Callable[..., QWidget]:
    """The class of the page in `ui/pages/<name>_page.py`."""
    module = importlib.import_module(f"ui.pages.{name}_page")
    made: Callable[..., QWidget] = getattr(module, f"{name.capitalize()}Page")
    return made
