"""Changing the texts of one pair."""

from __future__ import annotations

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QDialog, QPlainTextEdit, QVBoxLayout, QWidget

from ui.pairs_model import question
from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from xeno.events import ChatMessage
from xeno.feedback.editing import PairEditor
from xeno.store.pairs import Pair


class PairDialog(QDialog):
    """The question and both replies in editors; `saved` is emitted when the change is kept."""

    saved = pyqtSignal()

    def __init__(self, session: Session, pair: Pair, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._pair = pair
        self.setWindowTitle("Edit the pair")
        self.setAccessibleName("Edit the pair")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(640, 560)
        self.notice = Notice(session.theme)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(8)
        layout.addWidget(self.notice)
        self.question = self._editor("&Asked", question(pair), layout, 1)
        self.chosen = self._editor("&Chosen reply", pair.chosen, layout, 2)
        self.rejected = self._editor("&Rejected reply", pair.rejected, layout, 2)
        self.cancel = button("Cancel", name="Close without saving")
        self.save = button("&Save", "primary", tip="Save (Ctrl+Enter)", name="Save the pair")
        layout.addLayout(row(label("It can be undone.", "muted"), None, self.cancel, self.save))
        self.cancel.clicked.connect(self.close)
        self.save.clicked.connect(self._save)
        for keys in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(QKeySequence(keys), self).activated.connect(self._save)
        self._gate()
        self.chosen.setFocus()

    def _editor(self, title: str, text: str, layout: QVBoxLayout, share: int) -> QPlainTextEdit:
        edit = QPlainTextEdit(text)
        edit.setAccessibleName(title.replace("&", ""))
        edit.setTabChangesFocus(True)
        edit.textChanged.connect(self._gate)
        head = label(title, "muted")
        head.setTextFormat(Qt.TextFormat.AutoText)
        head.setBuddy(edit)
        layout.addWidget(head)
        layout.addWidget(edit, share)
        return edit

    def _gate(self) -> None:
        pair = self._pair
        texts = (self.question, self.chosen, self.rejected)
        same = [e.toPlainText() for e in texts] == [question(pair), pair.chosen, pair.rejected]
        allow(self.save, "Nothing is changed." if same else "")

    def _save(self) -> None:
        if not self.save.isEnabled():
            return
        pair, asked = self._pair, self.question.toPlainText().strip()
        chosen, rejected = self.chosen.toPlainText(), self.rejected.toPlainText()
        editor = PairEditor(self._session.profile.db)
        prompt = list(pair.prompt)
        for place in range(len(prompt) - 1, -1, -1):
            if prompt[place].role == "user":
                if asked != question(pair).strip():
                    prompt[place] = ChatMessage(role="user", content=asked)
                break

        def done(_: Pair) -> None:
            self.saved.emit()
            self.close()

        allow(self.save, "The pair is being saved.")
        self._session.do(
            lambda: editor.edit(pair.id, prompt=prompt, chosen=chosen, rejected=rejected),
            done,
            owner=self,
            failed=self._refused,
        )

    def _refused(self, error: BaseException) -> None:
        self._gate()
        self.notice.explain(error)
