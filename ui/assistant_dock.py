"""The assistant: the conversation at the right of the window."""

from __future__ import annotations

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QKeyEvent
from PyQt6.QtWidgets import QDockWidget, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from ui.chat import Chat, Opened
from ui.reply_feedback import ReplyFeedback
from ui.session import Session
from ui.version_names import VersionNames
from ui.widgets.basics import ElidedLabel, Tool, allow, row, set_kind
from ui.widgets.bubbles import ReplyBubble
from ui.widgets.comparison import Comparison
from ui.widgets.conversation_list import ConversationList
from ui.widgets.message_view import MessageView
from ui.widgets.notice import Notice
from ui.words import count
from xeno.assistant import Reply
from xeno.store.conversations import StoredMessage

NARROWEST = 360  # px


class ChatInput(QPlainTextEdit):
    """Grows with its text. Enter sends, Shift+Enter begins a line."""

    submitted = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Message to the assistant")
        self.setPlaceholderText("Write a message. Enter sends it, Shift+Enter begins a line.")
        self.setTabChangesFocus(True)
        self.textChanged.connect(self._fit)
        self._fit()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        if event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self.insertPlainText("\n")
            else:
                self.submitted.emit()
            return
        super().keyPressEvent(event)

    def _fit(self) -> None:
        document = self.document()
        lines = 2 if document is None else round(document.size().height())
        shown = min(8, max(2, lines))
        self.setFixedHeight(self.fontMetrics().lineSpacing() * shown + 20)


class AssistantDock(QDockWidget):
    """Chat with the local model; feedback becomes preference pairs.

    Args:
        session: the open profile.
        names: what the versions are called.
    """

    def __init__(self, session: Session, names: VersionNames) -> None:
        super().__init__("Assistant")
        self.setObjectName("assistant")
        self.setAccessibleName("Assistant")
        self._session = session
        self._names = names
        self._feedback = ReplyFeedback(session)
        self._replaced: str | None = None  # the reply that is being regenerated
        self.chat = Chat(session)
        self.title = ElidedLabel("New conversation")
        set_kind(self.title, "heading")
        theme = session.theme
        self.list_button = Tool(
            theme,
            "list",
            "Show conversations",
            tip="Earlier conversations (Ctrl+H)",
            checkable=True,
        )
        self.new_button = Tool(theme, "plus", "New conversation", tip="New conversation (Ctrl+N)")
        self.float_button = Tool(theme, "float", "Float or dock the assistant")
        self.close_button = Tool(theme, "cross", "Hide the assistant", tip="Hide (Ctrl+B)")
        self.conversations = ConversationList(session)
        self.conversations.hide()
        self.view = MessageView(theme, self._describe, self._wire, self.ask)
        self.notice = Notice(theme, "Message from the assistant")
        self.comparison = Comparison(session)
        self.input = ChatInput()
        self.send_button = Tool(theme, "send", "Send", tip="Send the message (Enter)")
        self.stop_button = Tool(theme, "stop", "Stop", tip="Stop the reply (Esc)")
        self._lay_out()
        self._connect()
        self._gate()

    def _lay_out(self) -> None:
        content = QWidget()
        content.setProperty("kind", "dock")
        content.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        content.setMinimumWidth(NARROWEST)
        head = row(
            self.list_button, self.title, self.new_button, self.float_button, self.close_button,
            spacing=4,
        )  # fmt: skip
        head.setStretch(1, 1)
        head.setContentsMargins(10, 7, 8, 7)
        title_bar = QWidget()
        title_bar.setProperty("kind", "dock-title")
        title_bar.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        title_bar.setToolTip("Drag to move the assistant")
        title_bar.setLayout(head)
        self.setTitleBarWidget(title_bar)
        foot = QHBoxLayout()
        foot.setContentsMargins(14, 8, 14, 14)
        foot.setSpacing(6)
        foot.addWidget(self.input, 1)
        foot.addWidget(self.send_button, 0, Qt.AlignmentFlag.AlignBottom)
        foot.addWidget(self.stop_button, 0, Qt.AlignmentFlag.AlignBottom)
        told = QVBoxLayout()
        told.setContentsMargins(14, 0, 14, 0)
        told.addWidget(self.notice)
        told.addWidget(self.comparison)
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.conversations)
        layout.addWidget(self.view, 1)
        layout.addLayout(told)
        layout.addLayout(foot)
        self.setWidget(content)

    def _connect(self) -> None:
        self.list_button.toggled.connect(self.conversations.setVisible)
        self.float_button.clicked.connect(lambda: self.setFloating(not self.isFloating()))
        self.close_button.clicked.connect(self.close)
        self.new_button.clicked.connect(self.new_conversation)
        self.conversations.chosen.connect(self._open)
        self.conversations.deleted.connect(self._deleted)
        self.input.submitted.connect(self._send)
        self.input.textChanged.connect(self._gate)
        self.send_button.clicked.connect(self._send)
        self.stop_button.clicked.connect(self.chat.stop)
        self.chat.opened.connect(self._opened)
        self.chat.asked.connect(self._asked)
        self.chat.streaming.connect(self._streaming)
        self.chat.grew.connect(self.view.grow_reply)
        self.chat.replied.connect(self._replied)
        self.chat.failed.connect(self._failed)
        self.chat.busy_changed.connect(lambda _: self._gate())
        self.chat.busy_changed.connect(self.comparison.set_busy)
        self._feedback.chosen.connect(self._chosen)
        self._session.host_state.connect(self._host_state)
        self._names.changed.connect(self.view.describe_again)

    # What the user does -------------------------------------------------------------------

    def ask(self, text: str) -> None:
        """Send `text`."""
        self.notice.hide()
        if self.chat.send(text):
            self.input.clear()

    def new_conversation(self) -> None:
        """Leave the open conversation and begin another."""
        self.chat.new()
        self.list_button.setChecked(False)
        self.input.setFocus()

    def regenerate(self) -> None:
        """Answer the last message again."""
        bubble = self.view.last_reply
        if bubble is not None and bubble.message is not None:
            self._regenerate(bubble.message.id)

    def suggest_improvement(self) -> None:
        """Open the editor on the last reply."""
        bubble = self.view.last_reply
        if bubble is not None:
            bubble.suggest()

    def _send(self) -> None:
        if self.chat.busy:
            return
        self.ask(self.input.toPlainText())

    def _open(self, conversation_id: str) -> None:
        self.list_button.setChecked(False)
        self.chat.open(conversation_id)
        self.input.setFocus()

    def _deleted(self, conversation_id: str) -> None:
        if conversation_id == self.chat.conversation_id:
            self.chat.new()

    def _gate(self) -> None:
        busy, empty = self.chat.busy, not self.input.toPlainText().strip()
        waiting = "A reply is on its way; stop it first." if busy else ""
        allow(self.send_button, waiting or ("Write a message first." if empty else ""))
        allow(self.stop_button, "" if busy else "No reply is on its way.")
        self.stop_button.setVisible(busy)
        self.send_button.setVisible(not busy)
        bubble = self.view.last_reply
        if bubble is not None and bubble.action_bar is not None:
            allow(bubble.regenerate_button, waiting)

    # What the conversation does -----------------------------------------------------------

    def _opened(self, found: Opened | None) -> None:
        self.notice.hide()
        messages = found.messages if found else ()
        self.view.show_messages(messages, found.feedback if found else {})
        first = next((m.content for m in messages if m.role == "user"), "New conversation")
        self._show_title(first)
        if messages and messages[-1].role == "user" and not self.chat.busy:
            self.notice.inform(
                "The last message has no reply.", kind="warning", action="Try &again",
                do=self.chat.retry,
            )  # fmt: skip
        self._gate()

    def _asked(self, message: StoredMessage) -> None:
        if not self.view.bubbles:
            self._show_title(message.content)
        self.view.add_question(message)

    def _streaming(self) -> None:
        self.notice.hide()
        self.view.begin_reply(self._replaced)
        self._replaced = None
        self._gate()

    def _regenerate(self, message_id: str) -> None:
        if not self.chat.busy:
            self._replaced = message_id
            self.chat.regenerate(message_id)

    def _replied(self, reply: Reply) -> None:
        self.view.end_reply(reply.message)
        if reply.finished.fallback:
            self.notice.inform(
                "Another model answered than the one that is deployed.",
                reply.finished.fallback,
                kind="warning",
            )
        elif reply.finished.dropped_turns:
            dropped = count(reply.finished.dropped_turns, "turn was", "turns were")
            self.notice.inform(
                "The conversation is longer than the model can read.",
                f"The first {dropped} left out.",
            )
        elif reply.finished.cut_tokens:
            self.notice.inform(
                "The message is longer than the model can read.",
                f"{count(reply.finished.cut_tokens, 'token was', 'tokens were')} cut from its "
                "beginning.",
            )
        if self.view.earlier_reply is None:
            self.comparison.replied()
        else:
            self.comparison.tell_on(self._offer_choice)
        self._gate()

    def _failed(self, error: BaseException) -> None:
        self._replaced = None
        self.view.drop_reply()
        if self.chat.conversation_id is not None:
            self.chat.open(self.chat.conversation_id)
        self.notice.explain(error, action="Try &again", do=self.chat.retry)
        self._gate()

    def _host_state(self, state: str, sentence: str) -> None:
        if state == "failed" and not self.chat.busy:
            self.notice.inform(
                "The assistant could not be started.", sentence, kind="error",
                action="Try &again", do=self._session.warm_host,
            )  # fmt: skip

    def _show_title(self, text: str) -> None:
        line = " ".join(text.split())
        self.title.setText(line)
        self.title.setToolTip(line)

    def _describe(self, message: StoredMessage) -> str:
        about = [self._names.of(message)]
        speed = message.metadata.get("tokens_per_second")
        first = message.metadata.get("first_token_seconds")
        if speed:
            about.append(f"{speed:.0f} tokens/s")
        if first is not None:
            about.append(f"first after {1000 * first:.0f} ms")
        if message.metadata.get("reason") == "stopped":
            about.append("stopped")
        elif message.metadata.get("reason") == "length":
            about.append("cut at the longest allowed length")
        return " · ".join(about)

    def _wire(self, bubble: ReplyBubble) -> None:
        bubble.regenerate.connect(self._regenerate)
        self._feedback.wire(bubble)

    def _offer_choice(self, on: bool) -> None:
        """After a regeneration, if comparisons are wanted; one question at a time."""
        if on and self.comparison.asking is None:
            self._feedback.offer_choice(self.view)
        else:
            self.view.settle()

    def _chosen(self) -> None:
        self.input.setFocus()
        self._gate()
