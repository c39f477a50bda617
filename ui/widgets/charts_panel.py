"""The charts of a run, in as many columns as there is room for, with one smoothing for all."""

from __future__ import annotations

from collections.abc import Mapping

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QResizeEvent
from PyQt6.QtWidgets import QGridLayout, QSlider, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import label, row
from ui.widgets.curve_plot import CurvePlot, Line, Redraws
from ui.widgets.fold import Fold
from ui.widgets.swatches import Swatches
from xeno.events import Event
from xeno.training.curves import CHARTS, HELD_OUT, TRAINING, Curves

SMOOTHING = "ui.smoothing"
_FIRST = ("loss", "reward_margin", "preference_accuracy")  # shown without asking for more
_NARROWEST = 230  # pixels of a column
_MOST_COLUMNS = 3
_HIGHEST = 99  # percent


class ChartsPanel(QWidget):
    """Follows one run (`begin`, then `add` for each event), or shows several that have ended."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._curves = Curves()
        self._end = 0.0
        self._columns = 0
        self._legend: tuple[str, ...] = ()
        redraws = Redraws(self)
        self.plots = {chart.name: CurvePlot(session, chart, redraws) for chart in CHARTS}
        for plot in self.plots.values():
            plot.setParent(self)
        self.smoothing = QSlider(Qt.Orientation.Horizontal)
        self.smoothing.setRange(0, _HIGHEST)
        self.smoothing.setPageStep(10)
        self.smoothing.setMinimumWidth(50)
        self.smoothing.setMaximumWidth(150)
        self.smoothing.setAccessibleName("Smoothing of the curves, in percent")
        self.smoothing.setToolTip("Weight of what was before in the moving average. Arrow keys.")
        self.smoothing_value = label("", "muted", wrap=False)
        self.smoothing_value.setFixedWidth(self.fontMetrics().horizontalAdvance("off  ") + 8)
        self.more = Fold(session.theme, "More &charts", "Show more charts")
        title = label("S&moothing", "muted", wrap=False)
        title.setTextFormat(Qt.TextFormat.AutoText)
        title.setBuddy(self.smoothing)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(18)
        self._grid.setVerticalSpacing(14)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        self.legend = Swatches("Lines of the charts", whole=True)
        line = row(title, self.smoothing, self.smoothing_value, self.legend, self.more, spacing=12)
        line.setStretch(1, 1)
        line.setStretch(3, 2)
        layout.addLayout(line)
        layout.addLayout(self._grid)
        layout.addStretch(1)
        session.theme.changed.connect(self._show_legend)
        self.smoothing.valueChanged.connect(self._smooth)
        self.more.toggled.connect(lambda _: self._arrange())
        stored = session.setting(SMOOTHING, 60)
        self.smoothing.setValue(int(stored) if isinstance(stored, int) else 60)
        self._smooth(self.smoothing.value())
        self._arrange()

    def begin(self, steps: int = 0) -> None:
        """A run of so many steps begins: all curves are empty."""
        self._curves, self._end = Curves(), float(steps)
        self._legend = (TRAINING, HELD_OUT)
        self._show_legend()
        for name in self.plots:
            self._show(name)

    def add(self, event: Event) -> None:
        """Take over what `event` measures."""
        before = self._curves.begun
        for name in self._curves.add(event):
            if self._curves.begun == before:
                self.plots[name].refresh()
            else:
                self._show(name)
        if self._curves.begun != before:
            self._arrange()

    def compare(self, runs: Mapping[str, Curves]) -> None:
        """Show the curves of several runs over each other, each under its name."""
        self._end = 0.0
        self._legend = tuple(runs)
        self._show_legend()
        for name, plot in self.plots.items():
            lines = [
                Line(_named(run, line), curve, color, dots=line == HELD_OUT)
                for color, (run, curves) in enumerate(runs.items())
                for line, curve in curves.lines(name).items()
            ]
            plot.show_lines(lines)
        self._arrange()

    def _show_legend(self) -> None:
        colors = self._session.theme.colors.lines
        self.legend.show_parts(list(zip(colors, self._legend, strict=False)))

    def _show(self, name: str) -> None:
        lines = [
            Line(line, curve, int(line == HELD_OUT), dots=line == HELD_OUT)
            for line, curve in self._curves.lines(name).items()
        ]
        self.plots[name].show_lines(lines, self._end)

    def _smooth(self, percent: int) -> None:
        self.smoothing_value.setText(f"{percent} %" if percent else "off")
        for plot in self.plots.values():
            plot.smooth(percent / 100)
        self._session.set(SMOOTHING, percent)

    # Columns ------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        super().resizeEvent(event)
        if self._wanted_columns() != self._columns:
            self._arrange()

    def _wanted_columns(self) -> int:
        return max(1, min(_MOST_COLUMNS, self.width() // _NARROWEST))

    def _arrange(self) -> None:
        """Put the plots that are wanted and have something to show into the grid."""
        self._columns = self._wanted_columns()
        while self._grid.count():
            self._grid.takeAt(0)
        place = 0
        for name, plot in self.plots.items():
            wanted = name in _FIRST or (self.more.isChecked() and plot.lines > 0)
            if wanted:
                self._grid.addWidget(plot, *divmod(place, self._columns))
                place += 1
            plot.setVisible(wanted)
        for column in range(_MOST_COLUMNS):
            self._grid.setColumnStretch(column, 1 if column < self._columns else 0)


def _named(run: str, line: str) -> str:
    return run if line == TRAINING else f"{run}, {line}"
