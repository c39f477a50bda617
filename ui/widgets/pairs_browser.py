"""The collected preference pairs: find, read, change, and take the change back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PyQt6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, Qt
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import (
    QAbstractItemView,
    QDoubleSpinBox,
    QHeaderView,
    QMenu,
    QMessageBox,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from ui.pair_dialog import PairDialog
from ui.pairs_model import PairsModel
from ui.session import Session
from ui.widgets.basics import SideBySide, allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.pair_filters import PairFilters
from ui.widgets.pair_reader import PairReader
from ui.widgets.table import Table
from ui.words import count
from xeno.feedback.editing import PERSONAL_DATA, Edit, PairEditor, Redaction
from xeno.store.pair_browsing import ListedPair
from xeno.store.pairs import Pairs
from xeno.versions.registry import Registry

_CHOOSE_FIRST = "Select a pair in the table first."
_NO_PERSONAL_DATA = "The doctor found no secret or personal data in what is selected."
_HEAVIEST = 99.0
_DONE = {
    "activate": "used again",
    "deactivate": "left out",
    "weight": "weighed",
    "edit": "edited",
    "redact": "redacted",
    "keep": "kept as they are",
    "delete": "deleted",
}


class PairsBrowser(QWidget):
    """The table of pairs with filters, a reader, and what can be done to one, some or all."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._store = Pairs(session.profile.db)
        self._editor = PairEditor(session.profile.db)
        self._names: list[tuple[str, str]] = []
        self._kept: tuple[list[str], int, int] = ([], -1, 0)  # selected ids, row, scrolled
        self._counts = (0, 0)  # all pairs, those that are learned from
        self.model = PairsModel(session)
        self.filters = PairFilters()
        self.search = self.filters.search
        self.notice = Notice(session.theme, "What was done to pairs")
        self.total = label("Pairs", "heading", wrap=False)
        self.total.setAccessibleName("How many pairs")
        self.table = _table(self.model)
        self.reader = PairReader(session)
        self.edit = button("&Edit…", tip="Change the texts (F2 or Enter)", name="Edit the pair")
        self.use = button("&Leave out", name="Use or leave out the selected pairs")
        self.redact = button(
            "Reda&ct",
            tip="Put [email], [phone], [secret] in place of what was found",
            name="Redact the selected pairs",
        )
        self.keep = button(
            "&Keep as is",
            tip="The findings stay listed and cost nothing any more",
            name="Keep the selected pairs as they are",
        )
        self.delete = button(
            "&Delete", "danger", tip="Delete (Del)", name="Delete the selected pairs"
        )
        self.weight = QDoubleSpinBox()
        self.weight.setRange(0.0, _HEAVIEST)
        self.weight.setSingleStep(0.5)
        self.weight.setDecimals(2)
        self.weight.setPrefix("Weight ")
        self.weight.setAccessibleName("Weight of the selected pairs in training")
        self.weight.setToolTip("How much it counts in training; 1 is usual, 0 is not at all")
        self.weight.setKeyboardTracking(False)
        self.all = button("&All found", name="Do something to all pairs that are found")
        self.undo = button("&Undo", tip="Ctrl+Z", name="Undo the last edit of pairs")
        self.redo = button("Red&o", tip="Ctrl+Shift+Z", name="Redo the edit of pairs")
        self._lay_out()
        self._connect()
        self._selected()
        self._show_history([])

    def reload(self) -> None:
        """Read the pairs again."""
        self._remember()
        self.model.reload()
        self._session.do(
            lambda: (self._store.count(), self._store.count(active=True)),
            self._count,
            owner=self,
            key="count pairs",
        )
        self._session.do(
            self._editor.history, self._show_history, owner=self, key="pair edits"
        )  # fmt: skip
        registry = Registry(self._session.profile)
        self._session.do(
            lambda: [(each.label, each.address) for each in registry.all()],
            self._show_versions,
            owner=self,
            key="pair versions",
        )

    def select(self, row_number: int) -> None:
        """Select the pair in `row_number`."""
        self.table.setCurrentIndex(self.model.index(row_number, 0))

    # Building -----------------------------------------------------------------------------

    def _lay_out(self) -> None:
        menu = QMenu(self.all)
        for text, do in (
            ("&Use in training", lambda: self._switch_all(True)),
            ("&Leave out of training", lambda: self._switch_all(False)),
            ("&Redact secrets and personal data", self._redact_all),
            ("&Keep as they are", self._keep_all),
            ("&Delete…", self._delete_all),
        ):
            action = menu.addAction(text)
            assert action is not None
            action.triggered.connect(lambda _=False, do=do: do())
        self.all.setMenu(menu)
        upper = QWidget()
        above = QVBoxLayout(upper)
        above.setContentsMargins(0, 0, 0, 0)
        above.setSpacing(8)
        above.addWidget(self.table, 1)
        changes, others = QWidget(), QWidget()
        changes.setLayout(row(self.edit, self.use, self.redact, self.keep, None, spacing=8))
        others.setLayout(row(self.weight, None, self.delete, spacing=8))
        above.addWidget(SideBySide((changes, 1), (others, 0), spacing=8))
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(10)
        split.addWidget(upper)
        split.addWidget(self.reader)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        self.head = row(self.total, None, self.undo, self.redo, self.all, spacing=8)
        layout.addLayout(self.head)
        layout.addWidget(self.filters)
        layout.addWidget(self.notice)
        layout.addWidget(split, 1)

    def _connect(self) -> None:
        self._session.pairs_changed.connect(self._pairs_changed)
        self.filters.changed.connect(self._filter)
        self.filters.order.activated.connect(lambda _: self._order())
        selection = self.table.selectionModel()
        header = self.table.horizontalHeader()
        assert selection is not None
        assert header is not None
        selection.selectionChanged.connect(lambda *_: self._selected())
        header.sortIndicatorChanged.connect(self._header_sorted)
        self.model.modelReset.connect(self._restore)
        self.model.settled.connect(self._say_found)
        self.table.doubleClicked.connect(lambda _: self._edit())
        for control, do in (
            (self.edit, self._edit),
            (self.use, self._toggle),
            (self.redact, self._redact),
            (self.keep, self._keep_as_is),
            (self.delete, self._delete),
            (self.undo, self._undo),
            (self.redo, self._redo),
        ):
            control.clicked.connect(lambda _=False, do=do: do())
        self.weight.valueChanged.connect(self._weigh)
        for keys, do in (
            (Qt.Key.Key_Delete, self._delete),
            (Qt.Key.Key_F2, self._edit),
            (Qt.Key.Key_Return, self._edit),
        ):
            shortcut = QShortcut(QKeySequence(keys), self.table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(do)
        for text, do in (("Ctrl+Z", self._undo), ("Ctrl+Shift+Z", self._redo)):
            shortcut = QShortcut(QKeySequence(text), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(do)

    # What is shown ------------------------------------------------------------------------

    def _pairs_changed(self) -> None:
        if self.isVisible():
            self.reload()

    def _filter(self) -> None:
        self._kept = ([], -1, 0)
        self.model.show(self.filters.filter())

    def _order(self) -> None:
        column, downwards = self.filters.order.currentData()
        order = Qt.SortOrder.DescendingOrder if downwards else Qt.SortOrder.AscendingOrder
        self.table.sortByColumn(column, order)

    def _header_sorted(self, column: int, order: Qt.SortOrder) -> None:
        """Let the list of orders say what a click on a header chose."""
        downwards = order == Qt.SortOrder.DescendingOrder
        orders = self.filters.order
        for place in range(orders.count()):
            if orders.itemData(place) == (column, downwards):
                orders.setCurrentIndex(place)

    def _count(self, counts: tuple[int, int]) -> None:
        self._counts = counts
        self._say_found()

    def _say_found(self) -> None:
        total, active = self._counts
        left_out = f", {total - active:,} left out" if active < total else ""
        found = f" · {self.model.found:,} found" if self.model.found != total else ""
        self.total.setText(count(total, "pair") + left_out + found)
        allow(self.all, "" if self.model.found else "No pair is found.")

    def _show_versions(self, names: list[tuple[str, str]]) -> None:
        self._names = names
        self.filters.show_versions(names)

    def _show_history(self, edits: list[Edit]) -> None:
        undoable = next((each for each in edits if not each.undone), None)
        undone = [each for each in edits if each.undone]
        for control, edit, nothing in (
            (self.undo, undoable, "No edit can be taken back."),
            (self.redo, undone[-1] if undone else None, "No edit was taken back."),
        ):
            keys = "Ctrl+Z" if control is self.undo else "Ctrl+Shift+Z"
            allow(control, "" if edit else nothing)
            if edit is not None:
                control.setToolTip(f"{_said(edit)} ({keys})")

    def _remember(self) -> None:
        bar = self.table.verticalScrollBar()
        rows = [each.row() for each in self._rows()]
        ids = [self.model.listed[each].pair.id for each in rows if each < len(self.model.listed)]
        self._kept = (ids, min(rows, default=-1), bar.value() if bar else 0)

    def _restore(self) -> None:
        """After the model was read again: the same pairs are selected, the same rows in sight."""
        ids, place, scrolled = self._kept
        self._kept = ([], -1, 0)
        wanted = set(ids)
        rows = [i for i, each in enumerate(self.model.listed) if each.pair.id in wanted]
        if not rows and 0 <= place < len(self.model.listed):
            rows = [place]  # what was there is gone: its neighbour
        selection = self.table.selectionModel()
        if rows and selection is not None:
            chosen = QItemSelection()
            for each in rows:
                chosen.select(self.model.index(each, 0), self.model.index(each, 0))
            flags = QItemSelectionModel.SelectionFlag
            selection.setCurrentIndex(self.model.index(rows[0], 0), flags.NoUpdate)
            selection.select(chosen, flags.ClearAndSelect | flags.Rows)
        bar = self.table.verticalScrollBar()
        if bar is not None:
            bar.setValue(scrolled)
        self._selected()

    def _rows(self) -> list[QModelIndex]:
        selection = self.table.selectionModel()
        return selection.selectedRows() if selection is not None else []

    def _chosen(self) -> list[ListedPair]:
        rows = sorted(each.row() for each in self._rows())
        return [self.model.listed[each] for each in rows if each < len(self.model.listed)]

    def _selected(self) -> None:
        chosen = self._chosen()
        none = "" if chosen else _CHOOSE_FIRST
        for control in (self.use, self.weight, self.delete):
            allow(control, none)
        one = "" if len(chosen) < 2 else "Select a single pair to edit it."
        allow(self.edit, none or one)
        kinds = {finding.kind for each in chosen for finding in each.findings}
        personal = "" if kinds.intersection(PERSONAL_DATA) else _NO_PERSONAL_DATA
        allow(self.redact, none or personal)
        allow(self.keep, none or ("" if kinds else "The doctor found nothing in what is selected."))
        active = any(each.pair.active for each in chosen) or not chosen
        self.use.setText("&Leave out" if active else "Use a&gain")
        self.weight.blockSignals(True)
        self.weight.setValue(chosen[0].pair.weight if chosen else 1.0)
        self.weight.blockSignals(False)
        self.reader.show_pair(chosen[0] if chosen else None, self._names)

    # What is done -------------------------------------------------------------------------

    def _change(self, work: Callable[[], object], done: Callable[[object], None]) -> None:
        """Edit pairs off this thread, one edit after the other; then everyone reads again."""

        def finished(result: object) -> None:
            done(result)
            self._session.pairs_changed.emit()

        self._session.tasks.run(
            work, finished, self.notice.explain, owner=self, in_order=True
        )  # fmt: skip

    def _tell(self, action: str) -> Callable[[object], None]:
        def tell(changed: object) -> None:
            if isinstance(changed, int) and changed > 1:
                self._offer_undo(f"{count(changed, 'pair')} {_DONE[action]}.")

        return tell

    def _offer_undo(self, text: str, detail: str = "") -> None:
        self.notice.inform(text, detail, action="&Undo", do=self._undo)

    def _ids(self) -> list[str]:
        return [each.pair.id for each in self._chosen()]

    def _these(self) -> Callable[[], list[str]]:
        """The selected pairs, whatever is selected by the time it is called."""
        ids = self._ids()
        return lambda: ids

    def _edit(self) -> None:
        if self.edit.isEnabled():
            dialog = PairDialog(self._session, self._chosen()[0].pair, self)
            dialog.saved.connect(self._session.pairs_changed)
            dialog.open()

    def _toggle(self) -> None:
        chosen = self._chosen()
        if chosen:
            wanted = not any(each.pair.active for each in chosen)
            self._switch(self._these(), wanted)

    def _switch(self, ids: Callable[[], Sequence[str]], active: bool) -> None:
        self._change(
            lambda: self._editor.set_active(ids(), active),
            self._tell("activate" if active else "deactivate"),
        )

    def _switch_all(self, active: bool) -> None:
        self._switch(self.model.ids, active)

    def _weigh(self, weight: float) -> None:
        ids = self._ids()
        if ids:
            self._change(lambda: self._editor.set_weight(ids, weight), self._tell("weight"))

    def _redact(self) -> None:
        if self.redact.isEnabled():
            self._redact_these(self._these())

    def _redact_all(self) -> None:
        self._redact_these(self.model.ids)

    def _redact_these(self, ids: Callable[[], Sequence[str]]) -> None:
        profile = self._session.profile

        def work() -> Redaction:
            from xeno.feedback.doctor import REGION_SETTING  # brings numpy: not on this thread

            return self._editor.redact(ids(), profile.setting(REGION_SETTING))

        def done(result: object) -> None:
            assert isinstance(result, Redaction)
            told = f"{count(len(result.redacted), 'pair')} redacted"
            if result.off:
                told += f", {len(result.off):,} left out: nothing to learn would remain"
            if result.clean:
                told += f", {len(result.clean):,} held nothing to redact"
            self._offer_undo(
                told + ".", "The earlier texts are kept for undoing, in the encrypted database."
            )

        self._change(work, done)

    def _keep_as_is(self) -> None:
        if self.keep.isEnabled():
            chosen = self._chosen()
            kinds = sorted({finding.kind for each in chosen for finding in each.findings})
            self._keep_these(self._these(), tuple(kinds))

    def _keep_all(self) -> None:
        finding = self.model.filter.finding
        kinds = PERSONAL_DATA if finding in (None, "any") else (str(finding),)
        self._keep_these(self.model.ids, kinds)

    def _keep_these(self, ids: Callable[[], Sequence[str]], kinds: tuple[str, ...]) -> None:
        self._change(
            lambda: self._editor.keep(ids(), kinds),
            lambda changed: self._offer_undo(
                f"{count(int(str(changed)), 'pair')} kept.",
                "The doctor scores them anew when it examines the pairs again.",
            ),
        )

    def _delete(self) -> None:
        ids = self._ids()
        if ids and self.delete.isEnabled():
            self._change(
                lambda: self._editor.delete(ids),
                lambda done: self._offer_undo(
                    f"{count(int(str(done)), 'pair')} deleted.",
                    "Versions that learned from it keep what they learned.",
                ),
            )

    def _delete_all(self) -> None:
        answer = QMessageBox.question(
            self,
            "Delete all pairs that are found?",
            f"{count(self.model.found, 'pair')} will be deleted. It can be undone. Versions that "
            "learned from them keep what they learned.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._change(lambda: self._editor.delete(self.model.ids()), self._tell("delete"))

    def _undo(self) -> None:
        self._travel(self._editor.undo, "Undone")

    def _redo(self) -> None:
        self._travel(self._editor.redo, "Done again")

    def _travel(self, way: Callable[[], Edit | None], word: str) -> None:
        def done(edit: object) -> None:
            if isinstance(edit, Edit):
                self.notice.inform(f"{word}: {_said(edit)}.")

        self._change(way, done)

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _said(edit: Edit) -> str:
    return f"{count(edit.pairs, 'pair')} {_DONE[edit.action]}"


def _table(model: PairsModel) -> Table:
    table = Table(
        "Preference pairs",
        "No pairs here. Improve a reply in the chat, or import a file of preferences.",
        sortable=False,
    )
    table.setMinimumHeight(210)
    table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
    table.show_model(model, stretch=0)
    table.widths(12, 14, 14, 9, 5, 6, 10, 4)
    table.hide_when_narrow(620, 5, 6)  # weight and time; one can still sort by them
    header = table.horizontalHeader()
    assert header is not None
    header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
    for column in range(3):
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
    header.setSortIndicator(6, Qt.SortOrder.DescendingOrder)
    header.setSectionsClickable(True)
    header.setSortIndicatorShown(True)
    table.setSortingEnabled(True)
    return table
