"""The runs so far, newest first."""

from __future__ import annotations

from PyQt6.QtWidgets import QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.table import Table
from ui.words import NONE, duration, moment
from xeno.store.runs import Run, Runs


class RunsTable(QWidget):
    """When each run was, how it ended, and why if it did not."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._runs = Runs(session.profile.db)
        self.model: RowsModel[Run] = RowsModel(
            [
                Column("Created", lambda run: moment(run.created), lambda run: run.created),
                Column("Status", lambda run: run.status),
                Column("Took", _took, lambda run: (run.finished or 0.0) - (run.started or 0.0)),
                Column("Privacy", _privacy),
                Column("Outcome", _outcome),
            ],
            self,
        )
        self.table = Table("Earlier runs", "No runs yet.")
        self.table.show_model(self.model, stretch=4)
        self.table.widths(15, 10, 11, 11)
        self.table.setMinimumHeight(150)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)

    def reload(self) -> None:
        """Read the runs again."""
        self._session.do(lambda: self._runs.all(), self.model.show, owner=self, key="runs")


def _took(run: Run) -> str:
    if run.started is None or run.finished is None:
        return NONE
    return duration(run.finished - run.started)


def _privacy(run: Run) -> str:
    return f"ε ≤ {run.plan.epsilon:g}" if run.plan.private else "not private"


def _outcome(run: Run) -> str:
    if run.failure is not None:
        return f"{run.failure.what} {run.failure.why}".strip()
    return f"version {run.version[:12]}" if run.version else NONE
