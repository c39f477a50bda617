"""What comes in and goes out: import, the imports so far, export, and collecting."""

from __future__ import annotations

from collections.abc import Callable

from ui.session import Session
from ui.widgets.basics import Card, Page
from ui.widgets.collect_panel import CollectPanel
from ui.widgets.export_panel import ExportPanel
from ui.widgets.import_panel import ImportPanel
from ui.widgets.past_imports import PastImports


class DataPage(Page):
    """Data in and out.

    Args:
        session: the open profile.
        import_pairs: opens the import dialog; the page has the same panel in itself.
    """

    def __init__(self, session: Session, import_pairs: Callable[[], object]) -> None:
        super().__init__()
        self.importing = ImportPanel(session)
        self.past = PastImports(session)
        self.collecting = CollectPanel(session)
        self.exporting = ExportPanel(session)
        for heading, explanation, panel in (
            (
                "Import",
                "Any file of preferences, examples or chats; it is looked at first, and read on "
                "this computer only.",
                self.importing,
            ),
            ("Imports so far", "", self.past),
            (
                "Collect from what you have",
                "It shows first what it will read. What is new is added to a file, and nothing "
                "is written twice.",
                self.collecting,
            ),
            (
                "Export",
                "In the same formats. An export is not encrypted; the file can be read by you "
                "only.",
                self.exporting,
            ),
        ):
            card = Card(heading, explanation)
            card.add(panel)
            self.add(card)
        self.column.addStretch(1)
        self.importing.imported.connect(self.past.reload)
        self.collecting.imported.connect(self.past.reload)
        session.pairs_changed.connect(self._pairs_changed)

    def reload(self) -> None:
        """Read the imports and the teacher again."""
        self.past.reload()
        self.collecting.teacher.reload()

    def _pairs_changed(self) -> None:
        if self.isVisible():
            self.past.reload()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()
