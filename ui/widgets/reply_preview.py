"""The same question under two system prompts, side by side: what a preference changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QComboBox, QGridLayout, QLineEdit, QPlainTextEdit

from ui.session import Session
from ui.widgets.basics import Card, allow, button, label, row
from ui.widgets.message_view import EXAMPLES
from ui.widgets.notice import Notice
from xeno.events import ChatMessage, Sampling
from xeno.workers.host_client import ReplyHandle

_DRAIN_EVERY = 40  # ms
_SAMPLING = Sampling(max_tokens=200)  # greedy: what differs comes from the prompt


class ReplyPreview(Card):
    """Asks the assistant twice; nothing of it is kept or learned from.

    Args:
        session: the open profile.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(
            "How a reply changes", "The same question under both prompts. Nothing of it is kept."
        )
        self._session = session
        self._now = ""
        self._handles: list[ReplyHandle] = []
        self._pieces: tuple[deque[str], deque[str]] = (deque(), deque())
        self._running = self._stop_wanted = False
        self.question = QLineEdit(EXAMPLES[0])
        self.question.setAccessibleName("Example question")
        self.question.setClearButtonEnabled(True)
        self.other = QComboBox()
        self.other.setAccessibleName("Compare with")
        self.other.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.other.setPlaceholderText("Nothing differs yet")
        self.other.setMinimumContentsLength(18)
        self.ask = button("&Compare", "primary", name="Compare the two replies")
        self.stop = button("&Stop", name="Stop the comparison")
        self.notice = Notice(session.theme, "Message about the comparison")
        self.texts = (QPlainTextEdit(readOnly=True), QPlainTextEdit(readOnly=True))
        self.before_title = label("", "muted")
        now_title = label("Your preferences now", "muted")
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        for column, (title, text) in enumerate(
            zip((self.before_title, now_title), self.texts, strict=True)
        ):
            text.setAccessibleName(
                "Reply with your preferences now" if column else "Reply to compare with"
            )
            text.setTabChangesFocus(True)
            text.setFixedHeight(self.fontMetrics().lineSpacing() * 9 + 20)
            grid.addWidget(title, 0, column)
            grid.addWidget(text, 1, column)
            grid.setColumnStretch(column, 1)
        self.add(self.question)
        self.add(row(self.other, None, self.stop, self.ask, spacing=8))
        self.add(self.notice)
        self.add(grid)
        self._drain = QTimer(self, interval=_DRAIN_EVERY)
        self._drain.timeout.connect(self._hand_on)
        self.question.textChanged.connect(lambda _: self._gate())
        self.question.returnPressed.connect(self._ask)
        self.other.currentIndexChanged.connect(lambda _: self._gate())
        self.ask.clicked.connect(self._ask)
        self.stop.clicked.connect(self._stop)
        self._gate()

    def show_prompts(self, now: str, others: Sequence[tuple[str, str]]) -> None:
        """What is sent now, and (name, prompt) of what it can be compared with."""
        self._now = now
        chosen = self.other.currentText()
        different = [(name, prompt) for name, prompt in others if prompt != now]
        places = range(self.other.count())
        before = [self.other.itemText(place) for place in places]
        self.other.clear()
        for name, prompt in different:
            self.other.addItem(name, prompt)
        same = before == [name for name, _ in different]
        self.other.setCurrentIndex(self.other.findText(chosen) if same else 0)
        self._gate()

    def _gate(self) -> None:
        waiting = "The replies are on their way." if self._running else ""
        same = "" if self.other.count() else "Nothing differs from the defaults yet."
        empty = "" if self.question.text().strip() else "Write a question first."
        allow(self.other, waiting or same)
        allow(self.ask, waiting or same or empty)
        allow(self.stop, "" if self._running else "No reply is on its way.")
        self.stop.setVisible(self._running)
        if not self._running:
            self.before_title.setText(self.other.currentText() or "Before")

    def _ask(self) -> None:
        if not self.ask.isEnabled():
            return
        question = ChatMessage(role="user", content=self.question.text().strip())
        prompts = (str(self.other.currentData()), self._now)
        host, handles, pieces = self._session.host, self._handles, self._pieces
        handles.clear()
        for text, piece in zip(self.texts, pieces, strict=True):
            text.clear()
            piece.clear()
        self.notice.hide()
        self._running, self._stop_wanted = True, False
        self._drain.start()
        self._gate()

        def work() -> None:
            for prompt, piece in zip(prompts, pieces, strict=True):
                messages = (ChatMessage(role="system", content=prompt), question)
                handles.append(host.generate(messages, _SAMPLING, on_delta=piece.append))
            for handle in tuple(handles):
                if self._stop_wanted:
                    handle.stop()
                handle.result()

        self._session.do(work, lambda _: self._ended(), owner=self, failed=self._failed)

    def _stop(self) -> None:
        self._stop_wanted = True
        for handle in tuple(self._handles):
            handle.stop()

    def _hand_on(self) -> None:
        for text, pieces in zip(self.texts, self._pieces, strict=True):
            grown = []
            while pieces:
                grown.append(pieces.popleft())
            if grown:
                text.setPlainText(text.toPlainText() + "".join(grown))

    def _ended(self) -> None:
        self._hand_on()
        self._drain.stop()
        self._running = False
        self._gate()

    def _failed(self, error: BaseException) -> None:
        self._ended()
        self.notice.explain(error, action="Try &again", do=self._ask)
