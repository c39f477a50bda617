"""The turns of the open conversation, one under the other, always at the newest."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from ui.theme import Theme
from ui.widgets.basics import button, label
from ui.widgets.bubbles import Bubble, ReplyBubble
from xeno.feedback.recorder import Feedback
from xeno.store.conversations import StoredMessage

EXAMPLES = (
    "How do I bake bread at home?",
    "How do I choose a strong password?",
    "How do I make good coffee?",
)
_FIRST_SHOWN = 16
_STEP = 24


class MessageView(QScrollArea):
    """Bubbles, or an invitation while there are none.

    Args:
        theme: the look.
        describe: says of a reply which version it is from and how fast it came.
        wire: connects a new reply bubble's signals.
        ask: sends an example question.
    """

    def __init__(
        self,
        theme: Theme,
        describe: Callable[[StoredMessage], str],
        wire: Callable[[ReplyBubble], None],
        ask: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._theme = theme
        self._describe = describe
        self._wire = wire
        self._messages: tuple[StoredMessage, ...] = ()
        self._feedback: dict[str, list[Feedback]] = {}
        self._shown = _FIRST_SHOWN
        self._follow = True
        self.streamed: ReplyBubble | None = None
        self.setAccessibleName("Conversation")
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        content = QWidget()
        content.setProperty("kind", "page")
        self._column = QVBoxLayout(content)
        self._column.setContentsMargins(14, 14, 14, 14)
        self._column.setSpacing(14)
        self.invitation = self._invite(ask)
        self.earlier = button("Show earlier messages", "link")
        self.earlier.clicked.connect(self._show_earlier)
        self._column.addWidget(self.invitation, 1)
        self._column.addWidget(self.earlier)
        self._column.addStretch(1)
        self.setWidget(content)
        bar = self.verticalScrollBar()
        assert bar is not None
        bar.rangeChanged.connect(self._grown)
        bar.valueChanged.connect(self._moved)
        self.show_messages((), {})

    @property
    def bubbles(self) -> list[Bubble]:
        """The bubbles from top to bottom."""
        items = (self._column.itemAt(place) for place in range(self._column.count()))
        widgets = (item.widget() for item in items if item is not None)
        return [widget for widget in widgets if isinstance(widget, Bubble)]

    @property
    def last_reply(self) -> ReplyBubble | None:
        """The newest reply that is kept."""
        replies = [b for b in self.bubbles if isinstance(b, ReplyBubble) and b.message is not None]
        return replies[-1] if replies else None

    def show_messages(
        self, messages: tuple[StoredMessage, ...], feedback: dict[str, list[Feedback]]
    ) -> None:
        """Show a conversation from its end."""
        self._messages, self._feedback = messages, feedback
        self._shown = _FIRST_SHOWN
        self._rebuild()
        self._to_end()

    def add_question(self, message: StoredMessage) -> None:
        """The user's message was sent."""
        self.invitation.hide()
        self._add(Bubble("user", message.content))
        self._to_end()

    def begin_reply(self, replaces: str | None = None) -> None:
        """A reply is on its way; `replaces` is the id of the one it takes the place of."""
        for bubble in self.bubbles:
            if isinstance(bubble, ReplyBubble):
                bubble.set_last(False)
                if replaces is not None and bubble.message and bubble.message.id == replaces:
                    self._remove(bubble)
        self.streamed = ReplyBubble(self._theme, "…")
        self._wire(self.streamed)
        self._add(self.streamed)
        self._to_end()

    def grow_reply(self, text: str) -> None:
        """The next piece of the reply's text."""
        if self.streamed is not None:
            before = self.streamed.text.text()
            self.streamed.set_text(("" if before == "…" else before) + text)

    def end_reply(self, message: StoredMessage) -> None:
        """The reply is whole and kept."""
        if self.streamed is not None:
            self.streamed.keep(message, self._describe(message), [], last=True)
            self.streamed = None

    def drop_reply(self) -> None:
        """No reply came."""
        if self.streamed is not None:
            self._remove(self.streamed)
            self.streamed = None

    def describe_again(self) -> None:
        """The names of versions changed."""
        for bubble in self.bubbles:
            if isinstance(bubble, ReplyBubble) and bubble.message is not None:
                bubble.meta.setText(self._describe(bubble.message))

    def _invite(self, ask: Callable[[str], None]) -> QWidget:
        box = QWidget()
        layout = QVBoxLayout(box)
        layout.setSpacing(10)
        layout.addStretch(1)
        layout.addWidget(label("What would you like to know?", "title"))
        words = (
            "The assistant runs on this computer. Correct a reply and it learns what you prefer. "
            "Try one of these:"
        )
        layout.addWidget(label(words, "muted"))
        for example in EXAMPLES:
            suggestion = button(example, "suggestion")
            suggestion.setSizePolicy(
                suggestion.sizePolicy().horizontalPolicy().Expanding,
                suggestion.sizePolicy().verticalPolicy(),
            )
            suggestion.clicked.connect(lambda _, text=example: ask(text))
            layout.addWidget(suggestion)
        layout.addStretch(2)
        return box

    def _rebuild(self) -> None:
        self.streamed = None
        for bubble in self.bubbles:
            self._remove(bubble)
        shown = self._messages[-self._shown :]
        self.invitation.setVisible(not self._messages)
        self.earlier.setVisible(len(shown) < len(self._messages))
        last = next((m.id for m in reversed(shown) if m.role == "assistant"), None)
        for message in shown:
            if message.role == "user":
                self._add(Bubble("user", message.content))
                continue
            bubble = ReplyBubble(self._theme)
            self._wire(bubble)
            self._add(bubble)
            bubble.keep(
                message,
                self._describe(message),
                self._feedback.get(message.id, []),
                last=message.id == last,
            )

    def _show_earlier(self) -> None:
        self._shown += _STEP
        self._follow = False
        self._rebuild()

    def _add(self, bubble: Bubble) -> None:
        self._column.insertWidget(self._column.count() - 1, bubble)

    def _remove(self, bubble: Bubble) -> None:
        self._column.removeWidget(bubble)
        bubble.hide()
        bubble.deleteLater()

    def _to_end(self) -> None:
        self._follow = True
        QTimer.singleShot(0, self._scroll)

    def _scroll(self) -> None:
        bar = self.verticalScrollBar()
        if bar is not None and self._follow:
            bar.setValue(bar.maximum())

    def _grown(self) -> None:
        self._scroll()

    def _moved(self, value: int) -> None:
        bar = self.verticalScrollBar()
        if bar is not None:
            self._follow = value >= bar.maximum() - 40
