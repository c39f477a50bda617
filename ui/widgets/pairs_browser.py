"""The collected preference pairs: search, read one whole, leave one out, delete one."""

from __future__ import annotations

from dataclasses import replace

from PyQt6.QtCore import QModelIndex, Qt, QTimer
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QLineEdit, QMessageBox, QTextBrowser, QVBoxLayout, QWidget

from ui.pairs_model import PairsModel, question
from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.table import Table
from ui.words import count
from xeno.store.pairs import Pair, Pairs

_SEARCH_DELAY = 250  # ms
_CHOOSE_FIRST = "Select a pair in the table first."


class PairsBrowser(QWidget):
    """The table of pairs with what can be done to one."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._store = Pairs(session.profile.db)
        self.model = PairsModel(session)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search in prompts and replies")
        self.search.setAccessibleName("Search pairs")
        self.search.setClearButtonEnabled(True)
        self.total = label("", "muted", wrap=False)
        self.table = Table(
            "Preference pairs",
            "No pairs yet. Improve a reply in the chat, or import a file of preferences.",
            sortable=False,
        )
        self.table.setMinimumHeight(230)
        self.table.show_model(self.model, stretch=0)
        self.table.widths(12, 13, 13, 9, 6, 15, 4)
        self.reader = QTextBrowser()
        self.reader.setAccessibleName("The selected pair")
        self.reader.setMinimumHeight(150)
        self.reader.hide()
        self.use = button("&Leave out of training", name="Use or leave out the selected pair")
        self.delete = button("&Delete…", "danger", name="Delete the selected pair")
        self._wait = QTimer(self, singleShot=True, interval=_SEARCH_DELAY)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addLayout(row(self.search, self.total))
        layout.addWidget(self.table, 1)
        layout.addWidget(self.reader)
        layout.addLayout(row(self.use, self.delete, None))
        self._connect()
        self._selected()

    def reload(self) -> None:
        """Read the pairs again."""
        self.model.reload()
        self._session.do(
            lambda: (self._store.count(), self._store.count(active=True)),
            self._count,
            owner=self,
            key="count pairs",
        )

    def _connect(self) -> None:
        self._session.pairs_changed.connect(self._pairs_changed)
        self.search.textChanged.connect(lambda _: self._wait.start())
        self._wait.timeout.connect(lambda: self.model.search(self.search.text()))
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._selected())
        self.model.modelReset.connect(self._selected)
        self.model.dataChanged.connect(lambda *_: self._selected())
        self.use.clicked.connect(self._toggle)
        self.delete.clicked.connect(self._delete)
        key = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.table)
        key.setContext(Qt.ShortcutContext.WidgetShortcut)
        key.activated.connect(self._delete)

    def _pairs_changed(self) -> None:
        if self.isVisible():
            self.reload()

    def _count(self, counts: tuple[int, int]) -> None:
        total, active = counts
        left_out = f", {total - active} left out" if active < total else ""
        self.total.setText(count(total, "pair") + left_out)

    def _pair(self) -> tuple[int, Pair] | None:
        chosen = self.table.chosen_row()
        return (chosen, self.model.pairs[chosen]) if 0 <= chosen < len(self.model.pairs) else None

    def _selected(self) -> None:
        found = self._pair()
        for control in (self.use, self.delete):
            allow(control, "" if found else _CHOOSE_FIRST)
        self.reader.setVisible(found is not None)
        if found is None:
            return
        pair = found[1]
        self.use.setText("&Leave out of training" if pair.active else "&Use in training")
        self.reader.setPlainText(
            f"Asked\n{question(pair)}\n\nChosen\n{pair.chosen}\n\nRejected\n{pair.rejected}\n\n"
            f"Quality {pair.quality:.2f}, confidence {pair.confidence:.2f}. "
            + " ".join(pair.quality_notes)
        )

    def _toggle(self) -> None:
        found = self._pair()
        if found is None:
            return
        chosen, pair = found
        wanted = not pair.active

        def done(_: object) -> None:
            if chosen < len(self.model.pairs) and self.model.pairs[chosen].id == pair.id:
                self.model.changed(chosen, replace(pair, active=wanted))
            self._session.pairs_changed.emit()

        self._session.do(lambda: self._store.set_active(pair.id, wanted), done, owner=self)

    def _delete(self) -> None:
        found = self._pair()
        if found is None:
            return
        pair = found[1]
        answer = QMessageBox.question(
            self,
            "Delete this pair?",
            "The pair is deleted for good. Versions trained on it keep what they learned.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._session.do(
                lambda: self._store.delete(pair.id),
                lambda _: self._session.pairs_changed.emit(),
                owner=self,
            )

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()

    def select(self, row_number: int) -> None:
        """Select the pair in `row_number`."""
        index: QModelIndex = self.model.index(row_number, 0)
        self.table.setCurrentIndex(index)
