"""The runs so far, newest first, and what can be done with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QAbstractItemView, QFileDialog, QMessageBox, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import allow, button, label
from ui.widgets.flow import Flow
from ui.widgets.run_dialog import RunDialog
from ui.widgets.table import Table
from ui.words import NONE, count, duration, moment, share
from xeno.store.files import write_atomic
from xeno.store.runs import Run, Runs
from xeno.training.record import LEFT_OUT, record

PAGE = 50  # runs that are shown at first, and more with each press of the button
_ONE = "Choose one run in the table first."
_NOTHING_KEPT = "Only a run that was interrupted, and has a checkpoint, can go on."
_TWO = "Choose two runs in the table first (Ctrl and a click, or Shift and an arrow key)."


@dataclass(frozen=True)
class _Read:
    """What is shown, and of how many. `resumable` has the steps that are kept, by run."""

    runs: list[Run]
    resumable: dict[str, int]
    total: int


class RunsPanel(QWidget):
    """When each run was, how it ended, and why if it did not; compare, repeat, export."""

    again = pyqtSignal(Run)  # the user wants the same settings once more
    resume = pyqtSignal(Run)  # the user wants to go on with it from its last checkpoint

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._runs = Runs(session.profile.db)
        self._busy = ""
        self._resumable: dict[str, int] = {}  # the steps that are kept, by run
        self._most = PAGE
        self.model: RowsModel[Run] = RowsModel(
            [
                Column("Created", lambda run: moment(run.created), lambda run: run.created),
                Column("Status", lambda run: run.status),
                Column("Took", _took, lambda run: (run.finished or 0.0) - (run.started or 0.0)),
                Column("Privacy", _privacy),
                Column(
                    "Accuracy",
                    lambda run: share(run.metrics.get("heldout_preference_accuracy")),
                    lambda run: run.metrics.get("heldout_preference_accuracy") or -1.0,
                    "Preference accuracy on held-out pairs at the end",
                ),
                Column("Outcome", self._outcome),
            ],
            self,
        )
        self.table = Table("Earlier runs", "No runs yet.")
        self.table.show_model(self.model, stretch=5)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.table.widths(15, 10, 11, 11, 9)
        self.table.setMinimumHeight(170)
        self.how_many = label("", "muted", wrap=False)
        self.more = button("Show mo&re", "link", name="Show more of the earlier runs")
        self.more.clicked.connect(self.show_more)
        self.show_button = button("Sh&ow…", name="Show the run")
        self.compare = button("Co&mpare…", name="Compare two runs")
        self.repeat = button(
            "Start again &with these settings", name="Start again with the settings of this run"
        )
        self.go_on = button("Res&ume", name="Go on with the run from its last checkpoint")
        self.give_up = button("Gi&ve up…", "danger", name="Give the run up")
        self.export = button("&Export record…", name="Export the record of the run")
        self.export.setToolTip(
            "Plan, hashes, environment and measurements as JSON, without text; of a private run "
            "nothing that was measured on its pairs"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(Flow(self.how_many, self.more))
        self.buttons = Flow(
            self.show_button, self.compare, self.go_on, self.repeat, self.export, self.give_up
        )
        layout.addLayout(self.buttons)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._gate())
        self.model.modelReset.connect(self._gate)
        self.table.doubleClicked.connect(lambda _: self._show())
        self.show_button.clicked.connect(self._show)
        self.compare.clicked.connect(self.open_comparison)
        self.repeat.clicked.connect(lambda: self.again.emit(self.chosen()[0]))
        self.go_on.clicked.connect(lambda: self.resume.emit(self.chosen()[0]))
        self.give_up.clicked.connect(self._ask_give_up)
        self.export.clicked.connect(self._export)
        self._gate()

    def reload(self) -> None:
        """Read the runs again."""

        most = self._most

        def read() -> _Read:
            resumable = {each.run.id: each.step for each in self._runs.resumable()}
            return _Read(self._runs.all(most), resumable, self._runs.count())

        self._session.do(read, self._took_over, owner=self, key="runs")

    def show_more(self) -> None:
        """Show earlier runs, too."""
        self._most += PAGE
        self.reload()

    def chosen(self) -> list[Run]:
        """The selected runs, the earlier one first."""
        found = [self.model.records[place] for place in self.table.chosen_rows()]
        return sorted(found, key=lambda run: run.created)

    def allow_runs(self, busy: str = "") -> None:
        """Let a run be started from here, or not, with the reason."""
        self._busy = busy
        self._gate()

    def open_comparison(self) -> RunDialog:
        """Show the two chosen runs beside each other."""
        dialog = RunDialog(self._session, self.chosen(), self)
        dialog.open()
        return dialog

    def export_to(self, path: Path) -> None:
        """Write the chosen run's record to `path`."""
        run = self.chosen()[0]

        def work() -> None:
            found = record(run, self._runs.events(run.id))
            write_atomic(path, (found.model_dump_json(indent=1) + "\n").encode())

        done = f"The record of the run {run.id[:8]} is exported."
        if run.plan.private:
            done = f"{done} {LEFT_OUT}"
        self._session.do(work, lambda _: self._session.told.emit(done, str(path)), owner=self)

    def discard(self) -> None:
        """Give the chosen run up: its checkpoints cannot be opened any more."""
        run = self.chosen()[0]
        self._session.do(lambda: self._runs.discard(run.id), lambda _: self.reload(), owner=self)

    def _ask_give_up(self) -> None:
        answer = QMessageBox.question(
            self,
            "Give the run up",
            "Give this run up? What it had learned can then not be used any more. Your pairs and "
            "versions stay as they are.",
        )
        if answer == QMessageBox.StandardButton.Yes:
            self.discard()

    def _took_over(self, found: _Read) -> None:
        self._resumable = found.resumable
        chosen = {run.id for run in self.chosen()}
        self.model.show(found.runs)
        self.table.choose_rows([n for n, run in enumerate(found.runs) if run.id in chosen])
        shown, below = {run.id for run in found.runs}, len(found.runs) < found.total
        words = f"{len(found.runs):,} of {count(found.total, 'run')}."
        if hidden := len(found.resumable.keys() - shown):
            words += f" Of the others {hidden:,} can be resumed."
        self.how_many.setText(words)
        for part in (self.how_many, self.more):
            part.setVisible(below)

    def _outcome(self, run: Run) -> str:
        if run.id in self._resumable:
            return (
                f"{count(self._resumable[run.id], 'step is', 'steps are')} kept; it can be resumed"
            )
        if run.failure is not None:
            return f"{run.failure.what} {run.failure.why}".strip()
        return f"version {run.version[:12]}" if run.version else NONE

    def _show(self) -> None:
        if len(self.chosen()) == 1:
            RunDialog(self._session, self.chosen(), self).open()

    def _export(self) -> None:
        run = self.chosen()[0]
        name, _ = QFileDialog.getSaveFileName(
            self, "Export the record of the run", f"run-{run.id[:8]}.json", "JSON (*.json)"
        )
        if name:
            self.export_to(Path(name))

    def _gate(self) -> None:
        chosen = len(self.chosen())
        one = "" if chosen == 1 else _ONE
        allow(self.show_button, one)
        allow(self.export, one)
        allow(self.repeat, one or self._busy)
        gone = "" if one or self.chosen()[0].id in self._resumable else _NOTHING_KEPT
        allow(self.go_on, one or gone or self._busy)
        allow(self.give_up, one or gone or self._busy)
        allow(self.compare, "" if chosen == 2 else _TWO)


def _took(run: Run) -> str:
    if run.started is None or run.finished is None:
        return NONE
    return duration(run.finished - run.started)


def _privacy(run: Run) -> str:
    return f"ε ≤ {run.plan.epsilon:g}" if run.plan.private else "not private"
