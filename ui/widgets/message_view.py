"""The turns of the open conversation, one under the other, always at the newest."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from ui.theme import Theme
from ui.widgets.basics import button, label
from ui.widgets.bubbles import Bubble, ReplyBubble
from ui.widgets.reply_choice import ReplyChoice
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
        self._hidden = 0  # messages before those that are shown
        self._follow = True
        self.streamed: ReplyBubble | None = None
        self.earlier_reply: ReplyBubble | None = None  # what the last reply was regenerated from
        self.choice: ReplyChoice | None = None
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
        self._hidden = max(0, len(messages) - _FIRST_SHOWN)
        self._rebuild()
        self._to_end()

    def add_question(self, message: StoredMessage) -> None:
        """The user's message was sent."""
        self.invitation.hide()
        self.settle()
        self._messages += (message,)
        self._add(Bubble("user", message.content))
        self._to_end()

    def begin_reply(self, replaces: str | None = None) -> None:
        """A reply is on its way; `replaces` is the id of the one it takes the place of, which
        stays in sight until `settle`."""
        self.settle()
        for bubble in self.bubbles:
            if isinstance(bubble, ReplyBubble):
                bubble.set_last(False)
                if replaces is not None and bubble.message and bubble.message.id == replaces:
                    self.earlier_reply = bubble
                    bubble.set_earlier(True)
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
            self._messages += (message,)

    def drop_reply(self) -> None:
        """No reply came."""
        if self.streamed is not None:
            self._remove(self.streamed)
            self.streamed = None

    def offer_choice(self) -> ReplyChoice | None:
        """Ask under the last reply whether it is better than what it was regenerated from; None
        where there is no such reply, or it says the same."""
        earlier, last = self.earlier_reply, self.last_reply
        if earlier is None or last is None or self.streamed is not None or self.choice is not None:
            return None
        if earlier.text.text().strip() == last.text.text().strip():
            self.settle()
            return None
        self.choice = ReplyChoice()
        self._add(self.choice)
        self._to_end()
        return self.choice

    def settle(self, *, earlier: bool = False) -> None:
        """Show one of the two replies only: the last one, or the `earlier` one again."""
        if self.choice is not None:
            self._remove(self.choice)
            self.choice = None
        kept, gone = self.last_reply, self.earlier_reply
        self.earlier_reply = None
        if gone is None or kept is None:
            return
        if earlier:
            kept, gone = gone, kept
        kept.set_earlier(False)
        self._messages = tuple(m for m in self._messages if m is not gone.message)
        self._remove(gone)

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
        self.streamed = self.earlier_reply = None
        if self.choice is not None:
            self._remove(self.choice)
            self.choice = None
        for bubble in self.bubbles:
            self._remove(bubble)
        self.invitation.setVisible(not self._messages)
        shown = self._messages[self._hidden :]
        last = next((m.id for m in reversed(shown) if m.role == "assistant"), None)
        for message in shown:
            self._show(message, last=message.id == last)
        self.earlier.setVisible(self._hidden > 0)

    def _show_earlier(self) -> None:
        """More of the conversation, above what is shown."""
        self._follow = False
        shown_from = max(0, self._hidden - _STEP)
        first = self._column.indexOf(self.earlier) + 1
        for place, message in enumerate(self._messages[shown_from : self._hidden], start=first):
            self._show(message, last=False, place=place)
        self._hidden = shown_from
        self.earlier.setVisible(self._hidden > 0)

    def _show(self, message: StoredMessage, *, last: bool, place: int | None = None) -> None:
        if message.role == "user":
            self._add(Bubble("user", message.content), place)
            return
        bubble = ReplyBubble(self._theme)
        self._wire(bubble)
        self._add(bubble, place)
        feedback = self._feedback.get(message.id, [])
        bubble.keep(message, self._describe(message), feedback, last=last)

    def _add(self, widget: QWidget, place: int | None = None) -> None:
        """At `place` of the column, at its end by default."""
        self._column.insertWidget(self._column.count() - 1 if place is None else place, widget)

    def _remove(self, widget: QWidget) -> None:
        self._column.removeWidget(widget)
        widget.hide()
        widget.deleteLater()

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
