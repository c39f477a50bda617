"""Performance: how fast and how well liked the replies of each version are."""

from __future__ import annotations

from typing import Any

from PyQt6.QtWidgets import QComboBox, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, button, label, row
from ui.widgets.plots import LinePlot
from ui.widgets.table import Table
from ui.words import figure, privacy, share
from xeno.performance.metrics import PerformanceTracker

METRICS = {
    "Tokens per second": "tokens_per_second",
    "Seconds to the first token": "first_token_seconds",
    "Rating": "rating",
    "Accepted (1 yes, 0 no)": "accepted",
    "Memory (bytes)": "memory_bytes",
}
_SHOWN = 2000  # newest values per version in the plot

Row = dict[str, Any]


class PerformanceTab(QWidget):
    """One row per version, and one metric over time."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._tracker = PerformanceTracker(session.profile.name, profile=session.profile)
        self._rows: list[Row] = []
        self.refresh = button("&Refresh", tip="Read the measurements again (F5)")
        self.model: RowsModel[Row] = RowsModel(
            [
                Column("Version", _name),
                Column(
                    "Replies", lambda each: f"{each['replies']:,}", lambda each: each["replies"]
                ),
                _number("First token", "first_token_seconds", 2, "s", "Median time"),
                _number("Speed", "tokens_per_second", 1, "tokens/s", "Median speed"),
                _number("Rating", "rating", 1, "", "Mean of your 1 to 5"),
                Column(
                    "Accepted",
                    lambda each: share(each["acceptance"]),
                    lambda each: _order(each["acceptance"]),
                    "Share of replies neither thumbed down, corrected nor regenerated",
                ),
            ],
            self,
        )
        self.table = Table("Measurements per version", "No replies yet. Chat a little first.")
        self.table.show_model(self.model)
        self.table.widths(16, 8, 10, 13, 8, 9)
        self.metric_choice = QComboBox()
        self.metric_choice.setAccessibleName("Metric in the plot")
        for title, name in METRICS.items():
            self.metric_choice.addItem(title, name)
        self.plot = LinePlot(session, "Over time", times=True, dots=True)
        above = Card("By version")
        above.body.insertLayout(
            1, row(label("What was measured on this computer.", "muted"), self.refresh)
        )
        above.add(self.table, 1)
        below = Card()
        heading = label("&Metric", wrap=False)
        heading.setBuddy(self.metric_choice)
        below.add(row(heading, self.metric_choice, None))
        below.add(self.plot, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 20)
        layout.setSpacing(16)
        layout.addWidget(above, 1)
        layout.addWidget(below, 1)
        self.refresh.clicked.connect(self.reload)
        self.metric_choice.currentIndexChanged.connect(lambda _: self._draw())
        session.replies_changed.connect(self._changed)
        session.versions_changed.connect(self._changed)

    def reload(self) -> None:
        """Read all measurements again."""

        self._session.do(self._tracker.table, self._show, owner=self, key="performance")

    def _changed(self) -> None:
        if self.isVisible():
            self.reload()

    def _show(self, rows: list[Row]) -> None:
        self._rows = rows
        self.model.show(rows)
        self._draw()

    def _draw(self) -> None:
        metric, rows = str(self.metric_choice.currentData()), list(self._rows)

        def read() -> dict[str, list[tuple[float, float]]]:
            lines = {
                _name(each): self._tracker.series(each["model"], metric, _SHOWN) for each in rows
            }
            return {name: points for name, points in lines.items() if points}

        self._session.do(read, self.plot.show_lines, owner=self, key="performance plot")
        self.plot.title.setText(self.metric_choice.currentText())

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _name(row_of_model: Row) -> str:
    label_of_model = str(row_of_model["label"])
    if label_of_model == "base":
        return "Base model"
    if row_of_model["private"] is None:
        return f"{label_of_model[:12]} (deleted)"
    return f"{label_of_model} · {privacy(row_of_model['private'], row_of_model['epsilon'])}"


def _number(title: str, key: str, digits: int, unit: str, tip: str) -> Column[Row]:
    return Column(
        title,
        lambda each: figure(each[key], digits, unit),
        lambda each: _order(each[key]),
        tip,
    )


def _order(value: float | None) -> float:
    return -1.0 if value is None else value
