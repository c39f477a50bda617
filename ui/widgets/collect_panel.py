"""Collecting examples from what the user has: it shows what it will read, then it reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PyQt6.QtCore import QStandardPaths, Qt, pyqtSignal
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.widgets.teacher_form import TeacherForm
from ui.words import count
from xeno.collect.collecting import Collector, CollectReport, Plan, collect, plan
from xeno.collect.documents import markdown, source
from xeno.collect.git import GitHistory
from xeno.collect.journal import journal
from xeno.data.importing import ImportReport, import_file
from xeno.data.shown import things

_SHOWN = 1000  # entries of a plan that are listed

_SOURCES = {
    "git": ("Git history", "Commit messages, each for its change."),
    "markdown": ("Markdown documents", "Sections of documents under their headings."),
    "source": ("Source files", "Documented functions and classes."),
    "journal": ("Journal", "Dated entries of journal text."),
    "teacher": ("Teacher", "Corrections and pairs from a larger model that you name."),
}
_FOLDERS: Mapping[str, Callable[[Path], Collector]] = {
    "markdown": markdown,
    "source": source,
    "journal": journal,
}


@dataclass(frozen=True)
class Collected:
    """What a run brought: to the file, and into the profile where that was wanted."""

    report: CollectReport
    imported: ImportReport | None


class CollectPanel(QWidget):
    """Choose a source, see what will be read, collect it. `imported` says that it was stored."""

    imported = pyqtSignal()
    _progressed = pyqtSignal(int, int)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._running = ""
        self._planned: tuple[Collector, Path, Plan] | None = None
        self._stop = threading.Event()
        self.source = QComboBox()
        self.source.setAccessibleName("What to collect from")
        for name, (title, about) in _SOURCES.items():
            self.source.addItem(title, name)
            self.source.setItemData(self.source.count() - 1, about, Qt.ItemDataRole.ToolTipRole)
        self.about = label("", "muted")
        self.place = QLineEdit()
        self.place.setAccessibleName("Folder or file to read")
        self.browse = button("Bro&wse…", name="Choose the folder to read")
        self.author = QLineEdit()
        self.author.setAccessibleName("Author of the commits")
        self.author.setPlaceholderText("Author (anyone)")
        self.teacher = TeacherForm(session)
        self.target = QLineEdit()
        self.target.setAccessibleName("File to write to")
        self.target.setToolTip("What is found is added to this JSONL file, a manifest beside it")
        self.bring = QCheckBox("Im&port it afterwards")
        self.bring.setAccessibleName("Import what was collected afterwards")
        self.bring.setChecked(True)
        self.show_plan = button("&Show what will be read", name="Show what will be read")
        self.start = button("&Collect", "primary", name="Read what is shown")
        self.cancel = button("Stop", name="Stop collecting")
        self.notice = Notice(session.theme)
        self.planned = label("")
        self.planned.setAccessibleName("What will be read")
        self.entries: RowsModel[tuple[str, int]] = RowsModel(
            [
                Column("What", lambda each: each[0]),
                Column("Size", lambda each: f"{each[1]:,}", lambda each: each[1], right=True),
            ],
            self,
        )
        self.table = Table("What will be read", "There is nothing new to read.")
        self.table.show_model(self.entries, stretch=0)
        self.table.setFixedHeight(190)
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Progress of collecting")
        self.progress.setTextVisible(False)
        self._lay_out()
        self._connect()
        self._choose_source()

    def _lay_out(self) -> None:
        head = row(self.source, self.about, spacing=12)
        head.setStretch(1, 1)
        self.where = QWidget()
        where = row(self.place, self.author, self.browse, spacing=8)
        where.setContentsMargins(0, 0, 0, 0)
        where.setStretch(0, 3)
        where.setStretch(1, 1)
        self.where.setLayout(where)
        to = row(label("Write to", "muted", wrap=False), self.target, self.bring, spacing=8)
        to.setStretch(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addLayout(head)
        layout.addWidget(self.where)
        layout.addWidget(self.teacher)
        layout.addLayout(to)
        layout.addWidget(self.notice)
        for part in (self.planned, self.table, self.progress):
            layout.addWidget(part)
        layout.addLayout(row(None, self.cancel, self.show_plan, self.start, spacing=8))

    def _connect(self) -> None:
        self.source.activated.connect(lambda _: self._choose_source())
        self.browse.clicked.connect(self._choose_place)
        self.place.returnPressed.connect(self._plan)
        self.teacher.changed.connect(self._forget)
        for edit in (self.place, self.author, self.target):
            edit.textChanged.connect(lambda _: self._forget())
        self.show_plan.clicked.connect(self._plan)
        self.start.clicked.connect(self._collect)
        self.cancel.clicked.connect(self._stop.set)
        self._progressed.connect(self._show_progress)
        enter = QShortcut(QKeySequence(Qt.Key.Key_Return), self.start)
        enter.setContext(Qt.ShortcutContext.WidgetShortcut)
        enter.activated.connect(self._collect)

    def _name(self) -> str:
        return str(self.source.currentData())

    def _choose_source(self) -> None:
        name = self._name()
        self.about.setText(_SOURCES[name][1])
        self.where.setVisible(name != "teacher")
        self.teacher.setVisible(name == "teacher")
        self.author.setVisible(name == "git")
        self.place.setPlaceholderText("Repository" if name == "git" else "A folder, or one file")
        self.target.setText(str(_documents() / f"{name}.jsonl"))
        if name == "teacher":
            self.teacher.reload()
        self._forget()

    def _choose_place(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Read this folder", self.place.text())
        if name:
            self.place.setText(name)

    def _forget(self) -> None:
        self._planned = None
        for part in (self.planned, self.table, self.progress):
            part.hide()
        self._gate()

    def _gate(self) -> None:
        reason = self._running
        for control in (self.source, self.place, self.author, self.browse, self.target):
            allow(control, reason)
        missing = ""
        if self._name() == "teacher":
            missing = self.teacher.missing()
        elif not self.place.text().strip():
            missing = "Choose what to read first."
        if not self.target.text().strip():
            missing = missing or "Name a file to write to."
        allow(self.show_plan, reason or missing)
        unseen = "" if self._planned else "Let it show first what it will read."
        if self._planned is not None and not self._planned[2].entries:
            unseen = "There is nothing new to read."
        allow(self.start, reason or unseen)
        self.cancel.setVisible(bool(reason) and self.progress.isVisible())

    # Planning -----------------------------------------------------------------------------

    def _maker(self) -> Callable[[], Collector]:
        """What makes the collector, on a task's thread: it looks at disks and repositories."""
        name, place = self._name(), Path(self.place.text().strip()).expanduser()
        author = self.author.text().strip() or None
        if name == "git":
            return lambda: GitHistory(place, author=author)
        if name == "teacher":
            return self.teacher.maker()
        return lambda: _FOLDERS[name](place)

    def _plan(self) -> None:
        if not self.show_plan.isEnabled():
            return
        make, target = self._maker(), Path(self.target.text().strip()).expanduser()
        self._running = "It is being looked at."
        self.notice.hide()
        self._gate()

        def work() -> tuple[Collector, Path, Plan]:
            collector = make()
            return collector, target, plan(collector, target)

        self._session.do(work, self._show_planned, owner=self, failed=self._failed)

    def _show_planned(self, found: tuple[Collector, Path, Plan]) -> None:
        self._running = ""
        self._planned = found
        planned = found[2]
        more = len(planned.entries) - _SHOWN
        left_out = [f"{n:,} left out: {why}" for why, n in planned.left_out.items()]
        told = [f"{planned.where}: {count(len(planned.entries), 'entry', 'entries')} to read"]
        if more > 0:
            told.append(f"the first {_SHOWN:,} are shown")
        self.planned.setText(", ".join(told) + ". " + ". ".join(left_out))
        self.entries.show([(each.name, each.size) for each in planned.entries[:_SHOWN]])
        # A commit has no size that would tell anything.
        self.table.setColumnHidden(1, all(each.size <= 1 for each in planned.entries))
        self.planned.show()
        self.table.show()
        self._gate()
        if self.start.isEnabled():
            self.start.setFocus()

    # Collecting ---------------------------------------------------------------------------

    def _collect(self) -> None:
        if self._planned is None or not self.start.isEnabled():
            return
        collector, target, _ = self._planned
        bring, profile = self.bring.isChecked(), self._session.profile
        self._running = "It is being read."
        self._stop.clear()
        self.notice.hide()
        self.progress.setRange(0, 0)
        self.progress.show()
        self._gate()

        def work() -> Collected:
            target.parent.mkdir(parents=True, exist_ok=True)
            report = collect(
                collector, target, progress=self._report, stop=self._stop.is_set
            )  # fmt: skip
            wanted = bring and report.total > 0
            return Collected(
                report,
                import_file(profile, report.path, stop=self._stop.is_set) if wanted else None,
            )

        self._session.do(work, self._finished, owner=self, failed=self._failed)

    def _report(self, done: int, total: int) -> None:
        """Called on the task's thread."""
        try:
            self._progressed.emit(done, total)
        except RuntimeError:  # the window is gone; what was written is whole
            self._stop.set()

    def _show_progress(self, done: int, total: int) -> None:
        self.progress.setRange(0, max(1, total))
        self.progress.setValue(done)

    def _failed(self, error: BaseException) -> None:
        self._running = ""
        self._forget()
        self.notice.explain(error)

    def _finished(self, done: Collected) -> None:
        self._running = ""
        self._forget()
        report, imported = done.report, done.imported
        skipped = [f"{n:,} gave none: {why}" for why, n in report.skipped.items()]
        told = f"{count(report.added, 'record')} added to {report.path}, {report.total:,} in all."
        if imported is not None:
            told += f" {things(imported.counts)} imported."
        self.notice.inform(told, ". ".join(skipped), kind="info")
        if imported is not None and imported.imported:
            if imported.counts.get("pair"):
                self._session.pairs_changed.emit()
            self.imported.emit()


def _documents() -> Path:
    location = QStandardPaths.StandardLocation.DocumentsLocation
    return Path(QStandardPaths.writableLocation(location) or Path.home()) / "XENO"
