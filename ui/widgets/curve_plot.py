"""One chart of a run: the values as they came, faint, and over them their moving average.

Made for tens of thousands of points: only new points are averaged, what is finer than a pixel
is left out before drawing, and drawing is up to a `Redraws`, so that several plots that change
at once do not hold the window up.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PyQt6 import sip
from PyQt6.QtCore import QObject, QTimer
from PyQt6.QtGui import QColor
from PyQt6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import label
from ui.widgets.plot_look import colour_plot, load_pyqtgraph, make_plot
from ui.widgets.swatches import Swatches
from ui.words import short
from xeno.training.curves import Chart, Curve, Smoothing

REDRAW_EVERY = 0.2  # seconds between two drawings of one plot: 5 Hz
_TURN = 40  # ms between the drawings of two plots
_FAINT = 70  # opacity of the raw values under their average, of 255


@dataclass(frozen=True)
class Line:
    """A curve in a plot. `color` counts through the theme's colours. A curve of few points is
    drawn with `dots` and never smoothed."""

    name: str
    curve: Curve
    color: int = 0
    dots: bool = False


class Redraws(QObject):
    """Draws plots that have changed: one at a time, and each at most five times a second."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._changed: dict[CurvePlot, float] = {}  # when it may be drawn again
        self._drawn: dict[CurvePlot, float] = {}
        self._timer = QTimer(self, interval=_TURN)
        self._timer.timeout.connect(self._turn)

    def ask(self, plot: CurvePlot) -> None:
        """Draw `plot` soon."""
        self._changed.setdefault(plot, self._drawn.get(plot, 0.0) + REDRAW_EVERY)
        if not self._timer.isActive():
            self._timer.start()

    def _turn(self) -> None:
        now = time.monotonic()
        for plot, earliest in list(self._changed.items()):
            if now >= earliest:
                del self._changed[plot]
                self._drawn[plot] = now
                plot.draw()
                break
        if not self._changed:
            self._timer.stop()


class CurvePlot(QWidget):
    """The lines of one chart over the steps of a run.

    Args:
        session: for the look, and to load pyqtgraph.
        redraws: says when this plot is drawn.
    """

    def __init__(self, session: Session, chart: Chart, redraws: Redraws) -> None:
        super().__init__()
        self.chart = chart
        self.setAccessibleName(chart.title)
        self.setToolTip(chart.meaning)
        self._session = session
        self._redraws = redraws
        self._lines: tuple[Line, ...] = ()
        self._averages: list[_Average] = []
        self._weight = 0.0
        self._end = 0.0
        self._plot: Any = None
        self._asked = False
        self._items: list[tuple[Any, Any]] = []
        self.last = Swatches(f"Last values of {chart.title}")
        head = QHBoxLayout()
        head.addWidget(label(chart.title, wrap=False))
        head.addWidget(self.last, 1)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addLayout(head)
        self.setFixedHeight(190)
        session.theme.changed.connect(self._recolour)

    @property
    def lines(self) -> int:
        """How many lines it shows."""
        return len(self._lines)

    def show_lines(self, lines: Sequence[Line], end: float = 0.0) -> None:
        """Show `lines`; with `end` the horizontal axis goes from 0 to it. Curves that grow are
        drawn again after `refresh`."""
        same = [line.curve for line in lines] == [line.curve for line in self._lines]
        self._lines, self._end = tuple(lines), end
        if not same or len(self._averages) != len(self._lines):
            self._average()
            self._clear_items()
        self.refresh()

    def smooth(self, weight: float) -> None:
        """Average with this weight of what was before, 0 for none."""
        if weight != self._weight:
            self._weight = weight
            self._average()
            self._clear_items()
            self.refresh()

    def refresh(self) -> None:
        """The curves have grown."""
        if self._plot is not None and self.isVisible():
            self._redraws.ask(self)

    def points(self, name: str) -> list[tuple[float, float]]:
        """The points of the line `name`, without averaging."""
        for line in self._lines:
            if line.name == name:
                return list(zip(line.curve.steps, line.curve.values, strict=True))
        return []

    def averages(self, name: str) -> list[float]:
        """The averaged values of the line `name`, as they were last drawn."""
        for line, average in zip(self._lines, self._averages, strict=True):
            if line.name == name:
                return list(average.values)
        return []

    # Drawing ------------------------------------------------------------------------------

    def draw(self) -> None:
        """Draw what has changed; called by the `Redraws`."""
        if self._plot is None or sip.isdeleted(self):
            return
        import numpy

        if not self._items:
            self._make_items()
        for line, average, (raw, smooth) in zip(
            self._lines, self._averages, self._items, strict=True
        ):
            steps, values = numpy.array(line.curve.steps), numpy.array(line.curve.values)
            raw.setData(steps, values)
            if smooth is not None:
                average.catch_up()
                smooth.setData(steps, numpy.array(average.values))
        if self._end:
            self._plot.setXRange(0.0, self._end, padding=0.01)
        self._show_last()

    def _show_last(self) -> None:
        colors, parts, spoken = self._session.theme.colors.lines, [], []
        for line in self._lines:
            if (value := line.curve.last()) is not None:
                unit = f" {self.chart.unit}" if self.chart.unit else ""
                words = short(value, self.chart.share) + unit
                parts.append((colors[line.color % len(colors)], words))
                spoken.append(f"{line.name} {words}")
        self.last.show_parts(parts, ", ".join(spoken))

    def _average(self) -> None:
        self._averages = [_Average(line.curve, self._weight) for line in self._lines]

    def _make_items(self) -> None:
        import pyqtgraph

        colors = self._session.theme.colors.lines
        for line in self._lines:
            color = QColor(colors[line.color % len(colors)])
            faint = QColor(color)
            smoothed = self._weight and self.chart.noisy and not line.dots
            faint.setAlpha(_FAINT if smoothed else 255)
            dots = {"symbol": "o", "symbolSize": 6, "symbolBrush": color, "symbolPen": None}
            raw = self._plot.plot(pen=pyqtgraph.mkPen(faint), **(dots if line.dots else {}))
            smooth = None
            if smoothed:
                smooth = self._plot.plot(pen=pyqtgraph.mkPen(color))
            self._items.append((raw, smooth))

    def _clear_items(self) -> None:
        for raw, smooth in self._items:
            self._plot.removeItem(raw)
            if smooth is not None:
                self._plot.removeItem(smooth)
        self._items.clear()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        if not self._asked:
            self._asked = True
            load_pyqtgraph(self._session, self._build, self)
        else:
            self.refresh()

    def _build(self) -> None:
        if sip.isdeleted(self):
            return
        self._plot = make_plot(self, shares=self.chart.share)
        item = self._plot.getPlotItem()
        item.setDownsampling(auto=True, mode="peak")
        item.setClipToView(True)
        self._column.addWidget(self._plot, 1)
        self._recolour()

    def _recolour(self) -> None:
        if self._plot is not None:
            colour_plot(self._plot, self._session.theme.colors, self.font())
            self._clear_items()
            self.refresh()


class _Average:
    """The moving average of a growing curve."""

    def __init__(self, curve: Curve, weight: float) -> None:
        self._curve = curve
        self._smoothing = Smoothing(weight)
        self.values: array[float] = array("d")

    def catch_up(self) -> None:
        """Average the points that came since the last time."""
        push = self._smoothing.push
        self.values.extend(push(value) for value in self._curve.values[len(self.values) :])
