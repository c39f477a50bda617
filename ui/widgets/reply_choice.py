"""The line under a regenerated reply that asks which of the two is better.

Both replies stand above it in the conversation. It takes no focus by itself, and goes away
unanswered when the conversation goes on.
"""

from __future__ import annotations

from functools import partial

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QFrame, QVBoxLayout

from ui.widgets.basics import allow, button, label, on_key, row, set_kind

EARLIER, THIS, NEITHER = "earlier", "this", "neither"


class ReplyChoice(QFrame):
    """Offers the choice; `chosen` says EARLIER, THIS or NEITHER.

    Keys, while it has the focus: 1, 2 and 0. From anywhere: Alt with 1, 2 and 0.
    """

    chosen = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Choice between the earlier reply and this one")
        set_kind(self, "notice-info")
        self.earlier = button("&1  Earlier", name="The earlier reply is better")
        self.this = button("&2  This one", name="This reply is better")
        self.neither = button("&0  Neither", "link", name="Neither reply is better")
        self._buttons = {"1": self.earlier, "2": self.this, "0": self.neither}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 10, 8)
        layout.setSpacing(6)
        layout.addWidget(label("Which reply is better? Your choice is kept as a pair.", "muted"))
        layout.addLayout(row(*self._buttons.values(), None, spacing=6))
        for (key, control), answer in zip(
            self._buttons.items(), (EARLIER, THIS, NEITHER), strict=True
        ):
            control.clicked.connect(partial(self._say, answer))
            on_key(self, key, control.click)

    def wait(self, reason: str = "") -> None:
        """Take no answer meanwhile, or, without a reason, take one again."""
        for control in self._buttons.values():
            allow(control, reason)

    def _say(self, answer: str, _checked: bool = False) -> None:
        self.chosen.emit(answer)
