"""What the user changes on a page: carried out off the window's thread, in order, with undo."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtWidgets import QWidget

from ui.session import Session
from ui.widgets.basics import allow
from ui.widgets.notice import Notice

Undo = Callable[[], object]


class Changes:
    """Carries out changes one after the other; each can be undone while the window is open.

    Args:
        page: what the changes belong to; they end with it.
        notice: hidden by the next change; what was said there is no longer of use.
        reload: called after every change.
        failed: called with the error of a change that could not be made.
    """

    def __init__(
        self,
        session: Session,
        page: QWidget,
        notice: Notice,
        reload: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._session = session
        self._page = page
        self._notice = notice
        self._reload = reload
        self._failed = failed
        self._undo: list[tuple[str, Undo]] = []

    def __len__(self) -> int:
        """How many changes can be undone."""
        return len(self._undo)

    def make(self, change: Callable[[], Undo], undo: str) -> None:
        """Carry out `change`, which returns what undoes it; `undo` says what that would do."""

        def done(back: Undo) -> None:
            self._undo.append((undo, back))
            self._reload()

        self._run(change, done)

    def keep(self, change: Callable[[], object]) -> None:
        """Carry out `change`, which needs no undo: the control that made it shows both ways."""
        self._run(change, lambda _: self._reload())

    def take_back(self) -> None:
        """Undo the latest change that was not undone yet, if there is one."""
        if self._undo:
            self.keep(self._undo.pop()[1])

    def offer(self, button: QWidget) -> None:
        """Let `button` say what it would undo."""
        allow(button, "" if self._undo else "Nothing was changed yet.")
        if self._undo:
            button.setToolTip(f"{self._undo[-1][0]} (Ctrl+Z)")

    def _run(self, work: Callable[[], object], done: Callable[..., None]) -> None:
        self._notice.hide()
        self._session.tasks.run(work, done, self._failed, owner=self._page, in_order=True)
