"""Import of a file: what it is and what would be stored is shown first, then it is stored."""

from __future__ import annotations

import threading
from pathlib import Path

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.words import count, share
from xeno.data.importing import (
    ImportPreview,
    ImportReport,
    PreviewRow,
    RejectedLine,
    import_file,
    preview,
)
from xeno.data.mapping import FIELDS
from xeno.data.shown import KIND_NAMES, texts, things

_LISTED = 500  # rejected lines that are shown
_FILES = "Data (*.jsonl *.json *.csv *.tsv *.parquet *.txt *.gz *.zst *.zip);;All files (*)"


class ImportPanel(QWidget):
    """Choose a file, look at it, import it; the window stays usable meanwhile.

    `imported` is emitted after something was stored.
    """

    imported = pyqtSignal()
    settled = pyqtSignal()  # something was looked at or imported, or could not be
    _progressed = pyqtSignal(int, int)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._running = ""
        self._seen: ImportPreview | None = None
        self._stop = threading.Event()
        self.path = QLineEdit()
        self.path.setAccessibleName("File to import")
        self.path.setPlaceholderText("JSON, JSONL, CSV or Parquet, packed or not; a chat export")
        self.browse = button("&Browse…", name="Choose a file")
        self.look = button("&Look", tip="See what would be imported (Enter)", name="Look at it")
        self.notice = Notice(session.theme)
        self.about = label("")
        self.about.setAccessibleName("What the file is")
        self.rows: RowsModel[PreviewRow] = RowsModel(_columns(), self)
        self.table = Table("What would be stored", "Nothing in it can be stored.")
        self.table.show_model(self.rows, stretch=2)
        self.table.widths(6, 13, 20, 20, 20, 6)
        header = self.table.horizontalHeader()
        assert header is not None
        for column in (2, 3, 4):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        self.table.setFixedHeight(220)
        self.columns_button = button("Colum&ns", name="Say which column is which")
        self.columns_button.setCheckable(True)
        self.columns = QWidget()
        self.fields: dict[str, QComboBox] = {}
        self.left_out = QPlainTextEdit(readOnly=True)
        self.left_out.setAccessibleName("Lines that are not imported")
        self.left_out.setFixedHeight(100)
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Import progress")
        self.progress.setTextVisible(False)
        self.outcome = label("", "heading")
        self.cancel = button("S&top", name="Stop the import")
        self.start = button("&Import", "primary", name="Import what is shown")
        self._lay_out()
        self._connect()
        self._forget()

    def _lay_out(self) -> None:
        grid = QGridLayout(self.columns)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(6)
        for place, field in enumerate(FIELDS):
            combo = QComboBox()
            combo.setAccessibleName(f"Column for {field}")
            combo.setMinimumContentsLength(8)
            combo.activated.connect(lambda _: self._look())
            title = label(field.capitalize(), "muted", wrap=False)
            title.setBuddy(combo)
            line, side = divmod(place, 2)
            grid.addWidget(title, line, 2 * side)
            grid.addWidget(combo, line, 2 * side + 1)
            grid.setColumnStretch(2 * side + 1, 1)
            self.fields[field] = combo
        choose = row(self.path, self.browse, self.look, spacing=8)
        choose.setStretch(0, 1)
        about = row(self.about, self.columns_button, spacing=8)
        about.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addLayout(choose)
        layout.addWidget(self.notice)
        layout.addLayout(about)
        for part in (self.columns, self.table, self.progress, self.outcome, self.left_out):
            layout.addWidget(part)
        self.foot = row(None, self.cancel, self.start, spacing=8)
        layout.addLayout(self.foot)

    def _connect(self) -> None:
        self.path.textChanged.connect(lambda _: self._forget())
        self.path.returnPressed.connect(self._look)
        self.browse.clicked.connect(self._choose)
        self.look.clicked.connect(self._look)
        self.columns_button.toggled.connect(self.columns.setVisible)
        self.start.clicked.connect(self._import)
        self.cancel.clicked.connect(self._stop.set)
        self._progressed.connect(self._show_progress)
        enter = QShortcut(QKeySequence(Qt.Key.Key_Return), self.start)
        enter.setContext(Qt.ShortcutContext.WidgetShortcut)
        enter.activated.connect(self._import)

    def _gate(self) -> None:
        reason, named = self._running, bool(self.path.text().strip())
        for control in (self.path, self.browse, *self.fields.values()):
            allow(control, reason)
        allow(self.look, reason or ("" if named else "Choose a file first."))
        seen = self._seen
        unseen = "Look at the file first." if seen is None else ""
        if seen is not None and not seen.rows and seen.complete:
            unseen = "Nothing in the file can be stored."
        allow(self.start, reason or unseen)
        self.cancel.setVisible(self.progress.isVisible() and bool(reason))

    def _forget(self) -> None:
        """Another file: what was seen of the one before says nothing of it."""
        self._seen = None
        for combo in self.fields.values():
            combo.clear()
        for part in (self.about, self.table, self.left_out, self.progress, self.outcome):
            part.hide()
        self.columns_button.setChecked(False)
        self.columns_button.hide()
        self.columns.hide()
        self._gate()

    def _choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Import", self.path.text(), _FILES)
        if name:
            self.path.setText(name)
            self._look()

    def open(self, path: Path) -> None:
        """Look at the file `path`."""
        self.path.setText(str(path))
        self._look()

    # Looking ------------------------------------------------------------------------------

    def _mapping(self) -> dict[str, str] | None:
        """What the user said of the columns; None where nothing was said."""
        said = {field: combo.currentData() for field, combo in self.fields.items()}
        return {field: column for field, column in said.items() if column} or None

    def _look(self) -> None:
        if self._running or not self.path.text().strip():
            return
        path, profile = Path(self.path.text().strip()).expanduser(), self._session.profile
        mapping = self._mapping() if self._seen is not None else None
        self._running = "The file is being looked at."
        self.notice.hide()
        self.outcome.hide()
        self._gate()
        self._session.do(
            lambda: preview(profile, path, mapping=mapping),
            self._show,
            owner=self,
            failed=self._failed,
        )

    def _show(self, seen: ImportPreview) -> None:
        self._running = ""
        first = self._seen is None
        self._seen = seen
        found = ", ".join(f"{n:,} as {form}" for form, n in seen.forms.items())
        looked = count(seen.records, "record")
        told = f"{seen.format}, {looked if seen.complete else 'the first ' + looked}"
        told += f": {found}." if found else ", of no known form."
        if seen.rejected_count:
            told += f" {count(seen.rejected_count, 'record')} cannot be stored, see below."
        if seen.guessed:
            told += " The columns are guessed from their names."
        self.about.setText(told)
        self.rows.show(seen.rows)
        self._show_columns(seen, opened=first and (seen.guessed or not seen.rows))
        self._show_left_out(seen.rejected, seen.rejected_count)
        self.about.show()
        self.table.setVisible(bool(seen.rows))
        self._gate()
        if self.start.isEnabled() and first:
            self.start.setFocus()
        elif not self.start.isEnabled():
            self.notice.inform(
                "Nothing in this file can be stored as it is.",
                "Say which column is which, if it has other names." if seen.columns else "",
                kind="warning",
            )
        self.settled.emit()

    def _show_columns(self, seen: ImportPreview, *, opened: bool) -> None:
        for field, combo in self.fields.items():
            combo.clear()
            combo.addItem("none", "")
            for column in seen.columns:
                combo.addItem(column, column)
            combo.setCurrentIndex(max(0, combo.findData(seen.mapping.get(field, ""))))
        self.columns_button.setVisible(bool(seen.columns))
        if opened and seen.columns:
            self.columns_button.setChecked(True)

    def _show_left_out(self, rejected: tuple[RejectedLine, ...], total: int) -> None:
        lines = [f"Line {each.line}: {each.reason}" for each in rejected[:_LISTED]]
        if total > len(lines):
            lines.append(f"… and {total - len(lines):,} more.")
        self.left_out.setPlainText("\n".join(lines))
        self.left_out.setVisible(bool(lines))

    # Importing ----------------------------------------------------------------------------

    def _import(self) -> None:
        if not self.start.isEnabled():
            return
        path, profile = Path(self.path.text().strip()).expanduser(), self._session.profile
        mapping = self._mapping()
        self._running = "The file is being read."
        self._stop.clear()
        self.notice.hide()
        self.progress.setRange(0, 0)
        self.progress.show()
        self._gate()
        self._session.do(
            lambda: import_file(
                profile, path, mapping=mapping, progress=self._report, stop=self._stop.is_set
            ),
            self._finished,
            owner=self,
            failed=self._failed,
        )

    def _report(self, done: int, total: int) -> None:
        """Called on the task's thread."""
        try:
            self._progressed.emit(done, total)
        except RuntimeError:  # the dialog was closed; the import goes on to its end
            return

    def _show_progress(self, done: int, total: int) -> None:
        # A progress bar counts to 2^31 at most; files may be larger.
        self.progress.setRange(0, 1000)
        self.progress.setValue(round(1000 * done / total) if total else 0)

    @property
    def running(self) -> bool:
        """Whether a file is being looked at or read."""
        return bool(self._running)

    def _ended(self) -> None:
        self._running = ""
        self.progress.hide()
        self._gate()

    def _failed(self, error: BaseException) -> None:
        self._ended()
        self.notice.explain(error)
        self.settled.emit()

    def _finished(self, report: ImportReport) -> None:
        self._seen = None
        self._ended()
        self.table.hide()
        self.columns_button.setChecked(False)
        self.columns_button.hide()
        self.about.hide()
        words = [f"{things(report.counts)} imported"]
        if report.duplicates:
            words.append(f"{report.duplicates:,} already known")
        if report.rejected_count:
            words.append(f"{count(report.rejected_count, 'line')} not imported")
        self.outcome.setText(", ".join(words) + ".")
        self.outcome.show()
        self._show_left_out(report.rejected, report.rejected_count)
        if report.counts.get("pair"):
            self.notice.inform(
                f"{count(report.groups, 'conversation')}; the chosen reply is the longer one in "
                f"{share(report.longer_chosen)} of the pairs."
            )
            self._session.pairs_changed.emit()
        if report.counts.get("preference"):
            self._session.preferences_changed.emit()
        if report.counts.get("conversation"):
            self._session.replies_changed.emit()
        if report.imported:
            self.imported.emit()
        self.settled.emit()


def _columns() -> list[Column[PreviewRow]]:
    return [
        Column("Line", lambda each: f"{each.line:,}", lambda each: each.line, right=True),
        Column("Kind", lambda each: KIND_NAMES.get(each.kind, (each.kind,))[0]),
        Column("Asked", lambda each: texts(each.stored)[0]),
        Column("Reply", lambda each: texts(each.stored)[1]),
        Column("Beside it", lambda each: texts(each.stored)[2]),
        Column(
            "Known",
            lambda each: "yes" if each.known else "no",
            tip="Stored already: it would not be stored again",
        ),
    ]
