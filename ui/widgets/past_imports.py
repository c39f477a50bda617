"""The imports so far, and taking one back."""

from __future__ import annotations

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QMessageBox, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import allow, button, row
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.words import count, moment
from xeno.data.imports import Import, Imports, Undone
from xeno.data.shown import things


class PastImports(QWidget):
    """A table of the imports; one that stands can be undone."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._imports = Imports(session.profile.db)
        self.notice = Notice(session.theme)
        self.rows: RowsModel[Import] = RowsModel(
            [
                Column("When", lambda each: moment(each.created), lambda each: each.created),
                Column("File", lambda each: each.file),
                Column("Format", lambda each: each.format),
                Column("Added", lambda each: things(each.counts)),
                Column("Known", lambda each: f"{each.duplicates:,}", right=True),
                Column("Left out", lambda each: f"{each.rejected:,}", right=True),
                Column("State", lambda each: "undone" if each.undone else "stands"),
            ],
            self,
        )
        self.table = Table("Imports so far", "Nothing was imported yet.")
        self.table.show_model(self.rows, stretch=3)
        self.table.widths(15, 16, 9, 14, 6, 7, 7)
        self.table.hide_when_narrow(640, 2, 4, 5)
        self.table.setFixedHeight(180)
        self.undo = button(
            "&Undo import…", tip="Remove what it added (Del)", name="Undo the selected import"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(self.table)
        layout.addWidget(self.notice)
        layout.addLayout(row(self.undo, None))
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._gate())
        self.rows.modelReset.connect(self._gate)
        self.undo.clicked.connect(self._undo)
        key = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.table)
        key.setContext(Qt.ShortcutContext.WidgetShortcut)
        key.activated.connect(self._undo)
        self._gate()

    def reload(self) -> None:
        """Read the imports again."""
        self._session.do(self._imports.all, self.rows.show, owner=self, key="imports")

    def _gate(self) -> None:
        chosen = self.table.chosen_row()
        if chosen < 0:
            allow(self.undo, "Select an import in the table first.")
        else:
            undone = self.rows.records[chosen].undone is not None
            allow(self.undo, "This import is undone already." if undone else "")

    def _undo(self) -> None:
        if not self.undo.isEnabled():
            return
        chosen = self.rows.records[self.table.chosen_row()]
        answer = QMessageBox.question(
            self,
            "Undo this import?",
            f"What {chosen.file} added is removed: {things(chosen.counts)}. Pairs that a version "
            "learned from are left out of training instead.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._session.tasks.run(
                lambda: self._imports.undo(chosen.id),
                self._undone,
                self.notice.explain,
                owner=self,
                in_order=True,
            )

    def _undone(self, done: Undone) -> None:
        more = [f"{count(done.removed, 'row')} removed"]
        if done.deactivated:
            more.append(f"{count(done.deactivated, 'pair')} left out of training instead")
        if done.kept:
            more.append(f"{count(done.kept, 'conversation')} went on since and stay")
        self.notice.inform("The import is undone.", ", ".join(more) + ".")
        self._session.pairs_changed.emit()
        self._session.preferences_changed.emit()
        self.reload()
