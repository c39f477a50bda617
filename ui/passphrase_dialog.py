"""Asks for the passphrase of a profile, or for a first one."""

from __future__ import annotations

from PyQt6.QtCore import QObject, Qt, pyqtSignal
from PyQt6.QtWidgets import QDialog, QLineEdit, QVBoxLayout

from ui.widgets.basics import allow, button, label, row
from xeno.errors import LockedProfileError

SHORTEST = 8


class PassphraseDialog(QDialog):
    """`creating`: a passphrase is chosen, and written twice."""

    def __init__(self, creating: bool, problem: str = "") -> None:
        super().__init__()
        self._creating = creating
        self.setWindowTitle("XENO")
        self.setMinimumWidth(460)
        self.first = self._field("Passphrase")
        self.second = self._field("The same again")
        self.second.setVisible(creating)
        self.problem = label(problem, "bad")
        self.problem.setVisible(bool(problem))
        self.ok = button("&Create" if creating else "&Open", "primary")
        self.ok.setDefault(True)
        self.cancel = button("&Quit")
        words = (
            "Your conversations and versions are encrypted. This computer offers no keyring for "
            "the key, so choose a passphrase. It cannot be recovered when it is lost."
            if creating
            else "This profile is locked by your passphrase."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 22, 24, 20)
        layout.setSpacing(12)
        layout.addWidget(label("Choose a passphrase" if creating else "Passphrase", "heading"))
        layout.addWidget(label(words, "muted"))
        for part in (self.first, self.second, self.problem):
            layout.addWidget(part)
        layout.addLayout(row(None, self.cancel, self.ok))
        self.ok.clicked.connect(self.accept)
        self.cancel.clicked.connect(self.reject)
        self._gate()

    @property
    def text(self) -> str:
        """What was written."""
        return self.first.text()

    def _field(self, name: str) -> QLineEdit:
        field = QLineEdit()
        field.setEchoMode(QLineEdit.EchoMode.Password)
        field.setAccessibleName(name)
        field.setPlaceholderText(name)
        field.textChanged.connect(lambda _: self._gate())
        return field

    def _gate(self) -> None:
        if not hasattr(self, "cancel"):
            return
        reason = "" if self.text else "Write the passphrase first."
        if self._creating and self.text:
            if len(self.text) < SHORTEST:
                reason = f"At least {SHORTEST} characters."
            elif self.text != self.second.text():
                reason = "The two are not the same."
        allow(self.ok, reason)


class PassphraseAsker(QObject):
    """Lets a worker thread ask the user; `ask` waits there until the dialog is closed."""

    _wanted = pyqtSignal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.problem = ""
        self.cancelled = False
        self._answer: str | None = None
        self._wanted.connect(self._show, Qt.ConnectionType.BlockingQueuedConnection)

    def ask(self, creating: bool) -> str:
        """Called on a worker thread.

        Raises:
            LockedProfileError: the user closed the dialog.
        """
        self._wanted.emit(creating)
        if self._answer is None:
            self.cancelled = True
            raise LockedProfileError("The profile stays locked.", "No passphrase was given.")
        return self._answer

    def _show(self, creating: bool) -> None:
        dialog = PassphraseDialog(creating, self.problem)
        accepted = dialog.exec() == QDialog.DialogCode.Accepted
        self._answer = dialog.text if accepted else None
