"""What comes in and goes out: import of pairs."""

from __future__ import annotations

from collections.abc import Callable

from ui.session import Session
from ui.widgets.basics import Card, Page, button, row


class DataPage(Page):
    """Import of preference pairs.

    Args:
        session: the open profile.
        import_pairs: opens the import dialog.
    """

    def __init__(self, session: Session, import_pairs: Callable[[], object]) -> None:
        super().__init__()
        self._session = session
        card = Card("Import", "Read preference pairs from a file on this computer.")
        self.import_button = button("&Import pairs…", tip="Read pairs from a file (Ctrl+I)")
        self.import_button.clicked.connect(import_pairs)
        card.add(row(self.import_button, None))
        self.add(card)
        self.column.addStretch(1)

    def reload(self) -> None:
        """Nothing is read so far."""
