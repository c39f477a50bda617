"""A dialog beside the window around work in a child: closing it ends the work."""

from __future__ import annotations

from PyQt6.QtCore import QEvent
from PyQt6.QtWidgets import QDialog, QWidget

from ui.session import Session
from ui.widgets.basics import button
from ui.widgets.child_work import ChildWork
from ui.widgets.notice import Notice


class WorkDialog(QDialog):
    """Grows where its words need more room. `show_outcome`, `failed` and `stopped` are for
    subclasses; each is called when the work has come to rest.

    Args:
        work: what is done, as a screen reader says it: "the check".
    """

    def __init__(self, session: Session, title: str, work: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self.setWindowTitle(title)
        self.notice = Notice(session.theme, f"Message about {work}")
        self.work = ChildWork(session, work)
        self.close_button = button("Close", tip="Esc", name=f"Close “{title}”")
        self.close_button.clicked.connect(self.reject)
        self.work.finished.connect(self.show_outcome)
        self.work.failed.connect(self.failed)
        self.work.stopped.connect(self.stopped)
        self.finished.connect(lambda _: self.work.stop())

    def gate(self) -> None:
        """Offer what can be done now."""

    def show_outcome(self, answer: object) -> None:
        """Show what the work came to."""

    def failed(self, error: BaseException) -> None:
        """Say why there is no outcome."""
        self.gate()
        self.notice.explain(error)

    def stopped(self) -> None:
        """Say that the user ended it."""
        self.gate()
        self.notice.inform("It was stopped.", "Nothing is left of it.")

    def event(self, event: QEvent | None) -> bool:
        laid_out = event is not None and event.type() == QEvent.Type.LayoutRequest
        handled = super().event(event)
        if laid_out and (layout := self.layout()) is not None:
            needed = layout.totalHeightForWidth(self.width())
            if needed > self.height():
                self.resize(self.width(), needed)
        return handled
