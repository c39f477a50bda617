"""The preference pairs collected so far: looked through, examined, changed."""

from __future__ import annotations

from collections.abc import Callable

from ui.session import Session
from ui.widgets.basics import Card, Page, button
from ui.widgets.doctor_panel import DoctorPanel
from ui.widgets.pairs_browser import PairsBrowser


class PairsPage(Page):
    """All pairs, the doctor, and the way to import more.

    Args:
        session: the open profile.
        import_pairs: opens the import dialog.
    """

    def __init__(self, session: Session, import_pairs: Callable[[], object]) -> None:
        super().__init__()
        self._session = session
        self.doctor = DoctorPanel(session)
        self.pairs = PairsBrowser(session)
        self.import_button = button("&Import…", tip="Read pairs from a file (Ctrl+I)")
        self.import_button.clicked.connect(import_pairs)
        self.pairs.head.addWidget(self.import_button)
        card = Card()
        card.add(self.pairs, 1)
        self.add(self.doctor)
        self.add(card, 1)
        self.doctor.examined.connect(self.pairs.reload)
        self.doctor.wanted.connect(self.pairs.filters.show_finding)
        session.pairs_changed.connect(self._pairs_changed)

    def reload(self) -> None:
        """Read the pairs and the last report again."""
        self.pairs.reload()
        self.doctor.reload()

    def _pairs_changed(self) -> None:
        if self.isVisible():
            self.doctor.reload()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.doctor.reload()
