"""Measurements: one line of figures for each version, one metric of all over time, warnings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QComboBox, QFileDialog, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.plots import LinePlot
from ui.widgets.table import Table
from ui.words import NONE, count, figure, privacy, share, short, size
from xeno.performance import summary
from xeno.performance.alerts import Alert, Alerts
from xeno.performance.exporting import export
from xeno.performance.summary import Summary

TITLES = {
    "first_token_seconds": "Seconds to the first token",
    "tokens_per_second": "Tokens per second",
    "response_seconds": "Seconds per reply",
    "error": "Errors (1 yes, 0 no)",
    "fallback": "Another model answered (1 yes, 0 no)",
    "rating": "Rating",
    "accepted": "Accepted (1 yes, 0 no)",
    "memory_bytes": "Memory (bytes)",
    "cache_hit": "Adapter in memory already (1 yes, 0 no)",
}
_PERIODS = {"the last hour": 3600.0, "the last day": 86400.0, "the last 30 days": 30 * 86400.0}
_ALWAYS = "all time"
_SOON = 1000  # ms until what has changed is read again
_NARROW = 760  # px of the table, below which less important columns go
_LOWEST = 110  # px of the plot
_NO_ROWS = "Nothing was measured yet."

Lines = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class _Read:
    rows: list[Summary]
    metrics: list[str]
    alerts: list[Alert]


class MeasurementsPage(QWidget):
    """Live: what is shown is read again, on another thread, soon after a reply."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.notice = Notice(session.theme, "Metrics that got worse")
        self.refresh = button("&Refresh", tip="Read the measurements again (F5)")
        self.save = button("E&xport…", name="Export all measurements to a file")
        self.model: RowsModel[Summary] = RowsModel(_columns(), self)
        self.table = Table("Measurements per version", "No replies yet. Chat a little first.")
        self.table.show_model(self.model)
        self.table.widths(14, 6, 9, 7, 5, 5, 7, 8, 6)
        self.table.hide_when_narrow(_NARROW, 1, 7, 8)
        self.metric = QComboBox()
        self.metric.setAccessibleName("Metric in the plot")
        self.metric.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.period = QComboBox()
        self.period.setAccessibleName("Period in the plot")
        for words in (*_PERIODS, _ALWAYS):
            self.period.addItem(words)
        self.period.setCurrentText(_ALWAYS)
        self.plot = LinePlot(session, "Over time", times=True, dots=True)
        self.plot.title.hide()  # the choices above it say what it shows
        self.plot.setMinimumHeight(_LOWEST)
        self._soon = QTimer(self, singleShot=True, interval=_SOON)
        self._soon.timeout.connect(self.reload)
        self._lay_out()
        self._connect()
        self._show(_Read([], [], []))

    def _lay_out(self) -> None:
        above, below = Card(), Card()
        told = label("By version", "heading")
        told.setToolTip("Measured on this computer. Times and memory are medians.")
        head = row(told, self.save, self.refresh)
        head.setStretch(0, 1)
        above.add(head)
        above.add(self.table, 1)
        heading = label("&Metric", wrap=False)
        heading.setBuddy(self.metric)
        below.add(row(heading, self.metric, self.period, None))
        below.add(self.plot, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 12, 20, 16)
        layout.setSpacing(12)
        layout.addWidget(self.notice)
        layout.addWidget(above, 1)
        layout.addWidget(below, 1)

    def _connect(self) -> None:
        self.refresh.clicked.connect(self.reload)
        self.save.clicked.connect(self._ask_where)
        self.metric.currentIndexChanged.connect(lambda _: self._draw())
        self.period.currentIndexChanged.connect(lambda _: self._draw())
        self._session.replies_changed.connect(self._changed)
        self._session.versions_changed.connect(self._changed)

    def reload(self) -> None:
        """Read all measurements again."""
        profile = self._session.profile

        def read() -> _Read:
            alerts = Alerts(profile).all(unseen=True)
            return _Read(summary.summaries(profile), summary.metrics(profile), alerts)

        self._session.do(read, self._show, owner=self, key="performance")

    def _changed(self) -> None:
        if self.isVisible() and not self._soon.isActive():
            self._soon.start()

    def _show(self, found: _Read) -> None:
        self.model.show(found.rows)
        self._offer(found.metrics)
        none = "" if found.rows else _NO_ROWS
        for control in (self.save, self.metric, self.period):
            allow(control, none)
        self._warn(found.alerts)
        self._draw()

    def _offer(self, metrics: list[str]) -> None:
        names = [*(each for each in TITLES if each in metrics), *sorted({*metrics} - {*TITLES})]
        if names == [self.metric.itemData(place) for place in range(self.metric.count())]:
            return
        chosen = self.metric.currentData()
        self.metric.blockSignals(True)
        self.metric.clear()
        for name in names:
            self.metric.addItem(TITLES.get(name, name), name)
        self.metric.setCurrentIndex(max(0, self.metric.findData(chosen)))
        self.metric.blockSignals(False)

    def _warn(self, alerts: list[Alert]) -> None:
        if not alerts:
            self.notice.hide()
            return
        labels = {each.model: _name(each) for each in self.model.records}
        said = [
            f"{labels.get(each.model, each.model)}: {TITLES.get(each.metric, each.metric).lower()} "
            f"{short(each.before)} before, {short(each.after)} now."
            for each in alerts[:3]
        ]
        self.notice.inform(
            f"{count(len(alerts), 'metric')} got worse.",
            " ".join(said),
            kind="warning",
            action="&Seen",
            do=self._dismiss,
        )

    def _dismiss(self) -> None:
        alerts = Alerts(self._session.profile)
        self._session.tasks.run(alerts.dismiss, in_order=True)

    def _draw(self) -> None:
        metric, rows = self.metric.currentData(), list(self.model.records)
        profile, period = self._session.profile, _PERIODS.get(self.period.currentText())
        since = 0.0 if period is None else time.time() - period

        def read() -> Lines:
            if metric is None:
                return {}
            lines = {_name(each): summary.line(profile, each.model, metric, since) for each in rows}
            return {name: points for name, points in lines.items() if points}

        self._session.do(read, self.plot.show_lines, owner=self, key="performance plot")
        self.plot.setAccessibleName(f"{self.metric.currentText()}, {self.period.currentText()}")

    # Export -------------------------------------------------------------------------------

    def _ask_where(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Export all measurements", "xeno-measurements.csv", "CSV (*.csv);;JSON (*.json)"
        )
        if name:
            self.export_to(Path(name))

    def export_to(self, path: Path) -> None:
        """Write all measurements to `path`, which ends in .csv or .json."""
        profile, session = self._session.profile, self._session

        def told(written: int) -> None:
            session.told.emit(f"{count(written, 'measurement')} exported.", str(path))

        session.do(lambda: export(profile, path), told, owner=self)

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _columns() -> list[Column[Summary]]:
    return [
        Column("Version", _name),
        Column("Replies", lambda each: f"{each.replies:,}", lambda each: each.replies),
        _column("First token", lambda each: each.first_token_seconds, 2, "s", "Median time"),
        _column("Tokens/s", lambda each: each.tokens_per_second, 1, "", "Median speed"),
        _share("Errors", lambda each: each.error_rate, "Share of requests that brought no reply"),
        _column("Rating", lambda each: each.rating, 1, "", "Mean of your 1 to 5"),
        _share(
            "Accepted",
            lambda each: each.acceptance,
            "Share of replies neither thumbed down, corrected nor regenerated",
        ),
        Column(
            "Memory",
            lambda each: NONE if each.memory_bytes is None else size(each.memory_bytes),
            lambda each: _order(each.memory_bytes),
            "Median of what the model host held",
        ),
        _share(
            "Cached",
            lambda each: each.cache_hit_rate,
            "Share of replies whose adapter was in memory already",
        ),
    ]


Number = Callable[[Summary], float | None]


def _column(title: str, read: Number, digits: int, unit: str, tip: str) -> Column[Summary]:
    return Column(
        title,
        lambda each: figure(read(each), digits, unit),
        lambda each: _order(read(each)),
        tip,
    )


def _share(title: str, read: Number, tip: str) -> Column[Summary]:
    return Column(title, lambda each: share(read(each)), lambda each: _order(read(each)), tip)


def _name(each: Summary) -> str:
    if each.label == summary.BASE:
        return "Base model"
    if each.private is None:
        return each.label[:12] + (" (deleted)" if len(each.label) == 64 else "")
    return f"{each.label} · {privacy(each.private, each.epsilon)}"


def _order(value: float | None) -> float:
    return -1.0 if value is None else value
