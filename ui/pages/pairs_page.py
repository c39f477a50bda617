"""The preference pairs collected so far."""

from __future__ import annotations

from collections.abc import Callable

from ui.session import Session
from ui.widgets.basics import Card, Page, button, row
from ui.widgets.pairs_browser import PairsBrowser


class PairsPage(Page):
    """All pairs, and the way to import more.

    Args:
        session: the open profile.
        import_pairs: opens the import dialog.
    """

    def __init__(self, session: Session, import_pairs: Callable[[], object]) -> None:
        super().__init__()
        card = Card(
            "What was learned from you so far",
            "Each pair is a question with a reply you prefer and one you do not; training uses it.",
        )
        self.import_button = button("&Import pairs…", tip="Read pairs from a file (Ctrl+I)")
        self.import_button.clicked.connect(import_pairs)
        self.pairs = PairsBrowser(session)
        card.add(row(self.import_button, None))
        card.add(self.pairs, 1)
        self.add(card, 1)

    def reload(self) -> None:
        """Read the pairs again."""
        self.pairs.reload()
