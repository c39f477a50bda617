"""The conversation that is open: sends, streams, stops, regenerates. No widgets.

The model host calls back on a thread of its own; its pieces of text are gathered here and
handed on a few times a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtCore import QObject, QTimer, pyqtSignal

from ui.session import Session
from xeno.assistant import PendingReply, Reply
from xeno.feedback.recorder import Feedback, FeedbackRecorder
from xeno.store.conversations import Conversations, StoredMessage

_DRAIN_EVERY = 40  # ms


@dataclass(frozen=True)
class Opened:
    """A conversation as it was read. `feedback` by message id."""

    conversation_id: str
    messages: tuple[StoredMessage, ...]
    feedback: dict[str, list[Feedback]]


class Chat(QObject):
    """One conversation at a time, one reply at a time."""

    opened = pyqtSignal(object)  # Opened, or None for a conversation that has yet to begin
    asked = pyqtSignal(StoredMessage)  # the user's message is kept
    streaming = pyqtSignal()  # a reply begins
    grew = pyqtSignal(str)  # the next piece of its text
    replied = pyqtSignal(Reply)
    failed = pyqtSignal(object)  # no reply came; `retry` asks again
    busy_changed = pyqtSignal(bool)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._conversations = Conversations(session.profile.db)
        self._recorder = FeedbackRecorder(session.profile)
        self.conversation_id: str | None = None
        self.busy = False
        self._pending: PendingReply | None = None
        self._stop_wanted = False
        self._new_question = False
        self._again: Callable[[], object] | None = None
        self._pieces: deque[str] = deque()
        self._drain = QTimer(self, interval=_DRAIN_EVERY)
        self._drain.timeout.connect(self._hand_on)

    # The conversation ---------------------------------------------------------------------

    def new(self) -> None:
        """Begin a conversation; it is kept from its first message on."""
        self.stop()
        self.conversation_id = None
        self.opened.emit(None)

    def open(self, conversation_id: str) -> None:
        """Show a conversation that was kept."""
        self.stop()
        self.conversation_id = conversation_id
        self._session.do(
            lambda: self._read(conversation_id), self._show, owner=self, key="conversation"
        )

    def _read(self, conversation_id: str) -> Opened:
        messages = tuple(self._conversations.messages(conversation_id))
        replies = [each.id for each in messages if each.role == "assistant"]
        return Opened(
            conversation_id, messages, {each: self._recorder.feedback_of(each) for each in replies}
        )

    def _show(self, found: Opened) -> None:
        if found.conversation_id == self.conversation_id:
            self.opened.emit(found)

    # Replies ------------------------------------------------------------------------------

    def send(self, text: str) -> bool:
        """Send the user's message. False while a reply is on its way, or for an empty text."""
        if self.busy or not text.strip():
            return False
        assistant, conversation = self._session.assistant, self.conversation_id
        self._begin(
            lambda: assistant.begin(conversation, text, self._pieces.append), new_question=True
        )
        self._again = lambda: self.send(text)
        return True

    def regenerate(self, message_id: str) -> None:
        """Answer again; the earlier reply is kept, but no longer shown."""
        if not self.busy:
            assistant = self._session.assistant
            self._begin(lambda: assistant.begin_regenerate(message_id, self._pieces.append))
            self._again = lambda: self.regenerate(message_id)

    def retry(self) -> None:
        """Ask again for the reply that failed."""
        if self.busy:
            return
        if self._again is not None:  # it failed before the message was kept
            self._again()
        elif self.conversation_id is not None:
            assistant, conversation = self._session.assistant, self.conversation_id
            self._begin(lambda: assistant.begin_retry(conversation, self._pieces.append))

    def stop(self) -> None:
        """End the reply after the token it is at; what was written is kept."""
        if not self.busy:
            return
        self._stop_wanted = True
        if self._pending is not None:
            self._pending.handle.stop()

    def _begin(self, begin: Callable[[], PendingReply], *, new_question: bool = False) -> None:
        self._set_busy(True)
        self._new_question = new_question
        self._stop_wanted = False
        self._pieces.clear()
        self._session.do(begin, self._begun, owner=self, failed=self._not_begun)

    def _begun(self, pending: PendingReply) -> None:
        self._pending = pending
        shown = self.conversation_id in (None, pending.conversation_id)
        if shown:
            self.conversation_id = pending.conversation_id
            if self._new_question:
                self.asked.emit(pending.question)
                self._again = None  # the message is kept: from here on only its reply is missing
            self.streaming.emit()
            self._drain.start()
        if self._stop_wanted:
            pending.handle.stop()
        self._session.do(
            lambda: self._session.assistant.complete(pending),
            self._completed,
            owner=self,
            failed=lambda error: self._not_completed(error, pending),
        )

    def _completed(self, reply: Reply) -> None:
        self._end()
        self._again = None
        self._session.replies_changed.emit()
        for news in reply.news:
            self._session.tell(news)
        if reply.message.conversation_id == self.conversation_id:
            self.replied.emit(reply)

    def _not_begun(self, error: BaseException) -> None:
        self._end()
        self.failed.emit(error)

    def _not_completed(self, error: BaseException, pending: PendingReply) -> None:
        self._end()
        if pending.conversation_id == self.conversation_id:
            self.failed.emit(error)

    def _end(self) -> None:
        self._hand_on()
        self._drain.stop()
        self._pending = None
        self._set_busy(False)

    def _hand_on(self) -> None:
        pieces = []
        while self._pieces:
            pieces.append(self._pieces.popleft())
        if pieces:
            self.grew.emit("".join(pieces))

    def _set_busy(self, busy: bool) -> None:
        self.busy = busy
        self.busy_changed.emit(busy)
