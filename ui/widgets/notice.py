"""Messages to the user inside the window: one road for errors and for what went well."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout

from ui.tasks import Explanation, report_bug
from ui.theme import Theme
from ui.widgets.basics import Tool, button, label, set_kind

_READ = 12_000  # ms


class Notice(QFrame):
    """A bar that says what happened, why, and what to do; with one action at most."""

    def __init__(self, theme: Theme, name: str = "Message") -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._action: Callable[[], None] | None = None
        self.what = label("")
        self.more = label("", "muted")
        for part in (self.what, self.more):
            part.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.action = button("", name="Action")
        self.action.clicked.connect(self._act)
        self.dismiss = Tool(theme, "cross", "Dismiss this message")
        self.dismiss.clicked.connect(self.hide)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.what)
        words.addWidget(self.more)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(14, 9, 8, 9)
        layout.addLayout(words, 1)
        layout.addWidget(self.action, 0, Qt.AlignmentFlag.AlignVCenter)
        layout.addWidget(self.dismiss, 0, Qt.AlignmentFlag.AlignTop)
        self._fade = QTimer(self, singleShot=True, interval=_READ)
        self._fade.timeout.connect(self.hide)
        self.hide()

    def inform(
        self,
        text: str,
        detail: str = "",
        *,
        kind: str = "info",
        action: str = "",
        do: Callable[[], None] | None = None,
        stays: bool = False,
    ) -> None:
        """Show `text`; `kind` is "info", "warning" or "error". `stays`: until it is dismissed."""
        set_kind(self, f"notice-{kind}")
        self.what.setText(text)
        self.more.setText(detail)
        self.more.setVisible(bool(detail))
        self._action = do
        self.action.setText(action)
        self.action.setAccessibleName(action.replace("&", ""))
        self.action.setVisible(bool(action))
        self.setAccessibleDescription(f"{text} {detail}".strip())
        self.show()
        # Good news goes by itself; a warning or an error stays until it is read.
        if kind == "info" and not action and not stays:
            self._fade.start()
        else:
            self._fade.stop()

    def explain(
        self,
        error: BaseException,
        *,
        action: str = "",
        do: Callable[[], None] | None = None,
    ) -> None:
        """Show an error; one that is our own mistake goes to the crash report as well."""
        told = Explanation.of(error)
        self.inform(
            told.what,
            " ".join(filter(None, (told.why, told.todo))),
            kind="error",
            action=action,
            do=do,
        )
        if told.is_bug:
            report_bug(error)

    def _act(self) -> None:
        self.hide()
        if self._action is not None:
            self._action()
