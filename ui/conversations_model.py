"""The list of conversations as an item model."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import QAbstractListModel, QModelIndex, Qt

from ui.words import moment
from xeno.store.conversations import Conversation


class ConversationsModel(QAbstractListModel):
    """Titles, newest first as the store orders them."""

    def __init__(self) -> None:
        super().__init__()
        self.conversations: list[Conversation] = []

    def show(self, conversations: list[Conversation]) -> None:
        """Replace what is shown."""
        self.beginResetModel()
        self.conversations = list(conversations)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self.conversations)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        conversation = self.conversations[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return conversation.title
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{conversation.title}\n{moment(conversation.updated)}"
        return None
