"""The turns of a conversation: bubbles, with what a reply is and what can be said about it."""

from __future__ import annotations

from PyQt6.QtCore import QEvent, Qt, pyqtSignal
from PyQt6.QtGui import QKeyEvent, QResizeEvent
from PyQt6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from ui.theme import Theme
from ui.widgets.basics import Tool, button, label, row, set_kind
from ui.words import count
from xeno.feedback.recorder import Feedback
from xeno.store.conversations import StoredMessage

_SIDE = 14  # px between a bubble's edge and its text
_WIDEST = 0.9  # of the row


class Bubble(QWidget):
    """One turn: the user's at the right, the assistant's at the left."""

    def __init__(self, role: str, text: str = "") -> None:
        super().__init__()
        self.frame = QFrame()
        self.frame.setProperty("kind", role)
        self.text = label(text)
        self.text.setAccessibleName("Your message" if role == "user" else "Reply")
        self.text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.text.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        inner = QVBoxLayout(self.frame)
        inner.setContentsMargins(_SIDE, 9, _SIDE, 10)
        inner.addWidget(self.text)
        side = Qt.AlignmentFlag.AlignRight if role == "user" else Qt.AlignmentFlag.AlignLeft
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(3)
        self.column.addWidget(self.frame, 0, side)

    def set_text(self, text: str) -> None:
        """Show `text` in place of what is there."""
        self.text.setText(text)
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def _fit(self) -> None:
        """As wide as the longest line needs, but not wider than most of the row.

        The height is set as well: a wrapped label tells a layout its height too late, and the
        last line of a growing reply would be cut.
        """
        metrics = self.text.fontMetrics()
        lines = self.text.text().split("\n")
        natural = max(metrics.horizontalAdvance(line) for line in lines) + 2 * _SIDE + 6
        width = max(44, min(natural, round(self.width() * _WIDEST)))
        self.frame.setFixedWidth(width)
        self.text.setFixedHeight(max(0, self.text.heightForWidth(width - 2 * _SIDE)))


class ReplyBubble(Bubble):
    """A reply of the assistant's, on its way or kept."""

    thumbed = pyqtSignal(str, bool)
    rated = pyqtSignal(str, int)
    corrected = pyqtSignal(str, str)
    regenerate = pyqtSignal(str)

    def __init__(self, theme: Theme, text: str = "") -> None:
        super().__init__("assistant", text)
        self._theme = theme
        self.message: StoredMessage | None = None
        self.is_last = False
        self.action_bar: QWidget | None = None
        self.thumbs: dict[bool, Tool] = {}
        self.stars: list[Tool] = []
        self.editor: CorrectionEditor | None = None
        self._thumb: bool | None = None
        self._rating = 0
        self.role = label("The earlier reply", "tiny")
        self.role.hide()
        self.column.insertWidget(0, self.role)
        self.meta = label("", "tiny")
        self.meta.setAccessibleName("Which version answered, and how fast")
        self.said = label("", "tiny")
        self.said.setAccessibleName("What became of your feedback")
        self.said.hide()
        self.prompt = label("", "tiny")
        self.prompt.setAccessibleName("System prompt of this reply")
        self.prompt.hide()
        self.memories_button = button("", "link", tip="Show what this reply was told of you")
        self.memories_button.setCheckable(True)
        self.memories_button.hide()
        self.memories = label("", "tiny")
        self.memories.setAccessibleName("Memories this reply was told")
        self.memories.hide()
        self.memories_button.toggled.connect(self.memories.setVisible)
        for part in (self.meta, self.memories_button, self.memories, self.said, self.prompt):
            self.column.addWidget(part)

    def keep(
        self, message: StoredMessage, about: str, feedback: list[Feedback], *, last: bool
    ) -> None:
        """The reply is whole: show what it is and, on the last one, what can be done with it."""
        self.message = message
        self.set_text(message.content)
        self.meta.setText(about)
        self._show_memories(message)
        for each in feedback:
            if each.kind == "thumb":
                self._thumb = (each.value or 0) > 0
            elif each.kind == "rating":
                self._rating = int(each.value or 0)
        self.set_last(last)

    def _show_memories(self, message: StoredMessage) -> None:
        """A line that opens the list of the memories that the reply was told."""
        told = [str(each["text"]) for each in message.metadata.get("memories") or ()]
        number = count(len(told), "memory", "memories")
        self.memories_button.setText(f"Told {number}")
        self.memories_button.setAccessibleName(f"Show the {number} of this reply")
        self.memories_button.setVisible(bool(told))
        self.memories.setText("\n".join(f"• {text}" for text in told))

    def set_last(self, last: bool) -> None:
        """The last reply shows its actions always; the others while the pointer is on them."""
        self.is_last = last
        if last and self.message is not None:
            self._actions().show()
            self.regenerate_button.setVisible(last)
        elif self.action_bar is not None:
            self.action_bar.hide()

    def set_earlier(self, earlier: bool) -> None:
        """It was regenerated and stands here to be compared, or is the reply again."""
        self.role.setVisible(earlier)
        self.set_last(not earlier)
        set_kind(self.frame, "assistant-earlier" if earlier else "assistant")

    def tell(self, text: str) -> None:
        """Say under the reply what became of the feedback."""
        self.said.setText(text)
        self.said.setVisible(bool(text))

    def suggest(self) -> None:
        """Open the editor with the reply's text."""
        if self.message is None or self.editor is not None:
            return
        self.editor = CorrectionEditor(self.message.content)
        self.editor.saved.connect(self._save)
        self.editor.cancelled.connect(self.close_editor)
        self.column.addWidget(self.editor)
        self.editor.text.setFocus()

    def close_editor(self) -> None:
        """Take the editor away."""
        if self.editor is not None:
            self.editor.hide()
            self.editor.deleteLater()
            self.editor = None

    def _save(self, text: str) -> None:
        if self.message is not None:
            self.corrected.emit(self.message.id, text)

    def enterEvent(self, event: QEvent | None) -> None:  # noqa: N802
        super().enterEvent(event)  # type: ignore[arg-type]
        if self.message is not None:
            self._actions().show()
            self.regenerate_button.setVisible(self.is_last)

    def leaveEvent(self, event: QEvent | None) -> None:  # noqa: N802
        super().leaveEvent(event)
        if self.action_bar is not None and not self.is_last and self.editor is None:
            self.action_bar.hide()

    def _actions(self) -> QWidget:
        if self.action_bar is None:
            self.action_bar = self._build_actions()
            self.column.insertWidget(self.column.indexOf(self.said), self.action_bar)
            self._show_feedback()
        return self.action_bar

    def _build_actions(self) -> QWidget:
        theme = self._theme
        bar = QWidget()
        layout = QVBoxLayout(bar)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        line = QHBoxLayout()
        line.setSpacing(0)
        for up, name in ((True, "Good reply"), (False, "Bad reply")):
            thumb = Tool(theme, "thumb-up" if up else "thumb-down", name, checkable=True)
            thumb.clicked.connect(lambda _, up=up: self._thumb_clicked(up))
            self.thumbs[up] = thumb
            line.addWidget(thumb)
        line.addSpacing(8)
        for number in range(1, 6):
            star = Tool(theme, "star", f"Rate {number} of 5")
            star.clicked.connect(lambda _, number=number: self._rate_clicked(number))
            self.stars.append(star)
            line.addWidget(star)
        line.addStretch(1)
        self.prompt_button = Tool(
            theme, "eye", "Show the system prompt", tip="Show what was sent before your message",
            checkable=True,
        )  # fmt: skip
        self.prompt_button.toggled.connect(self._show_prompt)
        self.regenerate_button = Tool(theme, "refresh", "Regenerate", tip="Answer again (Ctrl+R)")
        self.regenerate_button.clicked.connect(self._regenerate_clicked)
        line.addWidget(self.prompt_button)
        line.addWidget(self.regenerate_button)
        self.suggest_button = button(
            "S&uggest improvement", "link",
            tip="Write the reply you would rather have read (Ctrl+E)", name="Suggest improvement",
        )  # fmt: skip
        self.suggest_button.clicked.connect(self.suggest)
        layout.addLayout(line)
        layout.addLayout(row(self.suggest_button, None))
        return bar

    def _thumb_clicked(self, up: bool) -> None:
        if self.message is not None:
            self._thumb = up
            self._show_feedback()
            self.thumbed.emit(self.message.id, up)

    def _rate_clicked(self, stars: int) -> None:
        if self.message is not None:
            self._rating = stars
            self._show_feedback()
            self.rated.emit(self.message.id, stars)

    def _regenerate_clicked(self) -> None:
        if self.message is not None:
            self.regenerate.emit(self.message.id)

    def _show_feedback(self) -> None:
        for up, thumb in self.thumbs.items():
            thumb.setChecked(self._thumb is up)
        for place, star in enumerate(self.stars, start=1):
            lit = place <= self._rating
            star.draw("star-full" if lit else "star", lit=lit)

    def _show_prompt(self, shown: bool) -> None:
        prompt = self.message.system_prompt if self.message else None
        self.prompt.setText(f"Sent before your message: {prompt or 'nothing.'}")
        self.prompt.setVisible(shown)


class CorrectionText(QPlainTextEdit):
    """Ctrl+Enter submits, Esc leaves; here Esc does not mean to stop a reply."""

    submitted = pyqtSignal()
    left = pyqtSignal()

    def event(self, event: QEvent | None) -> bool:
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and event.key() == Qt.Key.Key_Escape
        ):
            event.accept()  # it is ours, not the window's shortcut
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        assert event is not None
        control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        elif control and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.submitted.emit()
        else:
            super().keyPressEvent(event)


class CorrectionEditor(QWidget):
    """The reply's text, to be changed into what the user would rather have read."""

    saved = pyqtSignal(str)
    cancelled = pyqtSignal()

    def __init__(self, text: str) -> None:
        super().__init__()
        self._before = text
        self.text = CorrectionText(text)
        self.text.setAccessibleName("Improved reply")
        self.text.setTabChangesFocus(True)
        lines = min(14, max(5, len(text) // 42 + text.count("\n") + 2))
        self.text.setFixedHeight(self.text.fontMetrics().lineSpacing() * lines + 22)
        self.problem: QLabel = label("", "bad")
        self.problem.hide()
        self.save = button("&Save", "primary", tip="Ctrl+Enter", name="Save the improved reply")
        self.cancel = button("&Cancel", tip="Esc", name="Cancel the improvement")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        layout.addWidget(label("Write the reply you would rather have read:", "tiny"))
        layout.addWidget(self.text)
        layout.addWidget(self.problem)
        layout.addLayout(row(self.save, self.cancel, None))
        self.save.clicked.connect(self._save)
        self.cancel.clicked.connect(self.cancelled)
        self.text.submitted.connect(self._save)
        self.text.left.connect(self.cancelled)

    def refuse(self, why: str) -> None:
        """Say why the text was not taken."""
        self.problem.setText(why)
        self.problem.show()
        self.text.setFocus()

    def _save(self) -> None:
        text = self.text.toPlainText().strip()
        if not text:
            self.refuse("An empty reply is no improvement.")
        elif text == self._before.strip():
            self.refuse("Nothing is changed yet.")
        else:
            self.saved.emit(text)
