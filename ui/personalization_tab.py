"""The Personalization tab: a row of pages, each built when it is first opened.

The modules of all pages but the first are loaded after the window is on screen, by `prepare`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, cast

from PyQt6.QtWidgets import QWidget

from ui.pages.preferences_page import PreferencesPage
from ui.session import Session
from ui.widgets.pages import Pages

_MODULES = tuple(
    f"ui.pages.{name}_page" for name in ("learned", "memory", "pairs", "intents", "data")
)


class Reloads(Protocol):
    """What every page can do besides being a widget."""

    def reload(self) -> None:
        """Read again what is shown."""


class PersonalizationTab(Pages):
    """Everything that makes the assistant the user's own.

    Args:
        session: the open profile.
        import_pairs: opens the import dialog.
    """

    def __init__(self, session: Session, import_pairs: Callable[[], object]) -> None:
        self._session = session
        super().__init__(
            "Pages of Personalization",
            {
                "Preferences": lambda: PreferencesPage(session),
                "Learned": lambda: _class("learned")(session),
                "Memory": lambda: _class("memory")(session),
                "Pairs": lambda: _class("pairs")(session, import_pairs),
                "Intents": lambda: _class("intents")(session),
                "Data": lambda: _class("data")(session, import_pairs),
            },
        )

    def prepare(self) -> None:
        """Load the pages' modules on another thread, so that each opens at once."""
        self._session.do(lambda: [importlib.import_module(name) for name in _MODULES])

    def reload(self) -> None:
        """Read again what the open page shows."""
        cast(Reloads, self.stack.currentWidget()).reload()


def _class(name: str) -> Callable[..., QWidget]:
    """The class of the page in `ui/pages/<name>_page.py`."""
    module = importlib.import_module(f"ui.pages.{name}_page")
    made: Callable[..., QWidget] = getattr(module, f"{name.capitalize()}Page")
    return made
