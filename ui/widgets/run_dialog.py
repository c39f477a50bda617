"""One run by itself, or two beside each other: settings, results, and their curves."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Page, label
from ui.widgets.charts_panel import ChartsPanel
from ui.widgets.sample_panel import SamplePanel
from ui.widgets.table import Table
from ui.words import NONE, count, duration, moment, size
from xeno.events import Event, SampleReplies
from xeno.store.runs import Run, Runs
from xeno.training.curves import Curves
from xeno.training.plan import TrainingPlan
from xeno.training.record import Difference, compare
from xeno.training.settings.values import shown


class RunDialog(QDialog):
    """Shows one or two `runs`; their events are read off the window's thread."""

    def __init__(self, session: Session, runs: list[Run], parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._runs = runs
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Run" if len(runs) == 1 else "Two runs compared")
        self.setMinimumSize(560, 420)
        self.resize(920, 760)
        self.settings = Table("Settings", "Both have the same settings.", sortable=False)
        self.results = Table("Results", "Nothing was measured.", sortable=False)
        self.samples = SamplePanel()
        self.charts = ChartsPanel(session)
        self.charts.more.setChecked(True)
        page = Page()
        page.setAccessibleName("The run" if len(runs) == 1 else "The two runs")
        for each in runs:
            page.add(label(_about(each)))
        if len(runs) == 1:
            self._show_one(runs[0])
            page.add(label("Settings that are not the defaults", "heading"))
        else:
            self._show_two(*runs)
            page.add(label("Where their settings and circumstances differ", "heading"))
        page.add(self.settings)
        page.add(label("Results", "heading"))
        page.add(self.results)
        page.add(label("Curves", "heading"))
        page.add(self.charts)
        if len(runs) == 1:
            page.add(label("Sample replies", "heading"))
            page.add(self.samples)
        page.column.addStretch(1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 12)
        layout.addWidget(page, 1)
        layout.addWidget(buttons)
        buttons.setContentsMargins(0, 0, 16, 0)
        store = Runs(session.profile.db)
        session.do(lambda: [store.events(run.id) for run in runs], self._draw, owner=self)

    def _show_one(self, run: Run) -> None:
        fields = TrainingPlan.model_fields
        settings = [
            Difference(name, field.title or name, getattr(run.plan, name), None)
            for name, field in fields.items()
            if getattr(run.plan, name) != field.default
        ]
        results = [*compare(run, run).metrics]
        self.settings.empty = "All settings have their defaults."
        heads = ("Value",)
        _fill(self.settings, "Setting", heads, settings)
        _fill(self.results, "Result", heads, results)

    def _show_two(self, first: Run, second: Run) -> None:
        found = compare(first, second)
        heads = (_name(first), _name(second))
        _fill(self.settings, "Setting", heads, [*found.settings, *found.facts])
        _fill(self.results, "Result", heads, list(found.metrics))

    def _draw(self, events: list[list[Event]]) -> None:
        self.charts.compare(
            {_name(run): Curves(each) for run, each in zip(self._runs, events, strict=True)}
        )
        for event in events[0] if len(events) == 1 else ():
            if isinstance(event, SampleReplies):
                self.samples.add(event)


def _fill(table: Table, title: str, heads: tuple[str, ...], rows: list[Difference]) -> None:
    def value(place: int) -> Any:
        return lambda row: _cell(row.name, (row.first, row.second)[place])

    columns = [Column[Difference](title, lambda row: row.title)]
    columns += [Column(head, value(place)) for place, head in enumerate(heads)]
    model = RowsModel(columns, table)
    model.show(rows)
    table.show_model(model, stretch=len(heads))
    table.widths(34, *(26 for _ in heads[:-1]))
    height = table.verticalHeader().defaultSectionSize()  # type: ignore[union-attr]
    table.setFixedHeight(height * (min(12, max(1, len(rows))) + 1) + 14)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "automatic" if name in TrainingPlan.model_fields else NONE
    if name == "seconds":
        return duration(value)
    if name == "peak_memory_bytes":
        return size(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if name.endswith("_hash"):
        return str(value)[:12]
    return str(shown(value)) if name in TrainingPlan.model_fields else str(value)


def _name(run: Run) -> str:
    return f"{moment(run.created)} ({run.id[:4]})"


def _about(run: Run) -> str:
    words = f"Run {run.id[:8]} of {moment(run.created)}: {run.status}"
    if run.version:
        words += f", version {run.version[:12]}"
    pairs = run.metrics.get("pairs_training")
    return (
        f"{words}, {count(pairs, 'pair')} learned from." if isinstance(pairs, int) else f"{words}."
    )
