"""The earlier conversations: search, open, delete."""

from __future__ import annotations

from PyQt6.QtCore import Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QLineEdit, QListView, QMessageBox, QVBoxLayout, QWidget

from ui.conversations_model import ConversationsModel
from ui.session import Session
from ui.widgets.basics import Tool, allow, label, row
from xeno.store.conversations import Conversation, Conversations

_SEARCH_DELAY = 250  # ms


class ConversationList(QWidget):
    """Emits `chosen` with a conversation's id, `deleted` with that of one that is gone."""

    chosen = pyqtSignal(str)
    deleted = pyqtSignal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._store = Conversations(session.profile.db)
        self.model = ConversationsModel()
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search conversations")
        self.search.setAccessibleName("Search conversations")
        self.search.setClearButtonEnabled(True)
        self.list = QListView()
        self.list.setAccessibleName("Conversations")
        self.list.setModel(self.model)
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.list.setFixedHeight(190)
        self.nothing = label("", "muted")
        self.delete = Tool(session.theme, "trash", "Delete the selected conversation")
        self._wait = QTimer(self, singleShot=True, interval=_SEARCH_DELAY)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 8, 14, 8)
        layout.setSpacing(8)
        layout.addLayout(row(self.search, self.delete, spacing=6))
        layout.addWidget(self.list)
        layout.addWidget(self.nothing)
        self.search.textChanged.connect(lambda _: self._wait.start())
        self._wait.timeout.connect(self.reload)
        self.list.clicked.connect(lambda index: self._open(index.row()))
        self.list.activated.connect(lambda index: self._open(index.row()))
        self.delete.clicked.connect(self._delete)
        key = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.list)
        key.setContext(Qt.ShortcutContext.WidgetShortcut)
        key.activated.connect(self._delete)
        selection = self.list.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._gate())
        self._gate()

    def reload(self) -> None:
        """Read the conversations again."""
        search = self.search.text().strip() or None
        self._session.do(
            lambda: self._store.all(search=search), self._show, owner=self, key="conversations"
        )

    def _show(self, conversations: list[Conversation]) -> None:
        self.model.show(conversations)
        searched = bool(self.search.text().strip())
        self.nothing.setText("Nothing found." if searched else "No conversations yet.")
        self.nothing.setVisible(not conversations)
        self.list.setVisible(bool(conversations))
        self._gate()

    def _selected(self) -> Conversation | None:
        index = self.list.currentIndex()
        return self.model.conversations[index.row()] if index.isValid() else None

    def _gate(self) -> None:
        allow(self.delete, "" if self._selected() else "Select a conversation first.")

    def _open(self, place: int) -> None:
        self.chosen.emit(self.model.conversations[place].id)

    def _delete(self) -> None:
        conversation = self._selected()
        if conversation is None:
            return
        answer = QMessageBox.question(
            self,
            "Delete this conversation?",
            f"“{conversation.title}” is deleted for good. Pairs made from it are kept.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer != QMessageBox.StandardButton.Yes:
            return

        def done(_: object) -> None:
            self.deleted.emit(conversation.id)
            self.reload()

        self._session.do(lambda: self._store.delete(conversation.id), done, owner=self)

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()
