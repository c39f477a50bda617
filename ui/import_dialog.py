"""Import of a file from anywhere in the window: the same panel as on the Data page."""

from __future__ import annotations

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QCloseEvent
from PyQt6.QtWidgets import QDialog, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import button, label
from ui.widgets.import_panel import ImportPanel


class ImportDialog(QDialog):
    """Imports one file; the window stays usable meanwhile."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Import preference pairs")
        self.setAccessibleName("Import preference pairs")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(760)
        self.panel = ImportPanel(session)
        self.path, self.look, self.start = self.panel.path, self.panel.look, self.panel.start
        self.notice, self.outcome = self.panel.notice, self.panel.outcome
        self.left_out = self.panel.left_out
        self.close_button = button("&Close", name="Close this dialog")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        explanation = (
            "A prompt with a chosen and a rejected reply in each record, or one of the other "
            "forms that are known. The file is read on this computer only; you see first what "
            "would be stored."
        )
        layout.addWidget(label(explanation, "muted"))
        layout.addWidget(self.panel)
        layout.addStretch(1)
        self.panel.foot.insertWidget(0, self.close_button)
        self.close_button.clicked.connect(self.close)
        self.panel.settled.connect(self._fit)
        self.path.setFocus()

    def _fit(self) -> None:
        """As large as what is shown; back on screen where it was closed before the end."""
        QTimer.singleShot(0, self.adjustSize)
        if self.isHidden():
            self.show()

    def reject(self) -> None:
        """Closed by Esc."""
        if self.panel.running:
            self.hide()
        else:
            super().reject()

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802
        if self.panel.running and event is not None:
            self.hide()  # the import goes on to its end, and is told then
            event.ignore()
        else:
            super().closeEvent(event)
