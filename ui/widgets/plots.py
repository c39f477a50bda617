"""Plots in the colours of the window.

Built when first shown, and pyqtgraph is loaded on another thread: it takes a third of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PyQt6 import sip
from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import label
from ui.widgets.plot_look import colour_plot, load_pyqtgraph, make_plot

_DRAW_EVERY = 400  # ms
_SHORTEST_SPAN = 300.0  # seconds on a time axis
_DRAWN_POINTS = 600  # more are not seen, and cost the window time

Points = Sequence[tuple[float, float]]


class LinePlot(QWidget):
    """Lines and points over a number or a time axis; data may be given before it is shown.

    Args:
        session: for the look, and to load pyqtgraph.
        name: what the plot shows; also what a screen reader says.
        times: the horizontal axis shows Unix times as dates.
        dots: mark the single points as well.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        *,
        times: bool = False,
        dots: bool = False,
    ) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._session = session
        self._theme = session.theme
        self._asked = False
        self._times = times
        self._dots = dots
        self._lines: dict[str, list[tuple[float, float]]] = {}
        self._plot: Any = None
        self._curves: dict[str, Any] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self.title = label(name, "muted", wrap=False)
        self._column.addWidget(self.title)
        self.setMinimumHeight(170)
        self._soon = QTimer(self, singleShot=True, interval=_DRAW_EVERY)
        self._soon.timeout.connect(self._draw)
        session.theme.changed.connect(self._recolour)

    def show_lines(self, lines: dict[str, Points]) -> None:
        """Replace all lines."""
        self._lines = {name: list(points) for name, points in lines.items()}
        self._refresh()

    def points(self, line: str) -> list[tuple[float, float]]:
        """What `line` shows."""
        return list(self._lines.get(line, []))

    def _refresh(self) -> None:
        if self._plot is not None and not self._soon.isActive():
            self._soon.start()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.prepare()

    def prepare(self) -> None:
        """Build the plot soon; what is added meanwhile is shown then."""
        if self._asked:
            return
        self._asked = True
        load_pyqtgraph(self._session, self._build, self)

    def _build(self) -> None:
        if sip.isdeleted(self):
            return
        plot = make_plot(self, times=self._times)
        self._plot = plot
        self._column.addWidget(plot, 1)
        self._recolour()
        self._draw()

    def _recolour(self) -> None:
        if self._plot is None:
            return
        colour_plot(self._plot, self._theme.colors, self.font())
        for curve in self._curves.values():
            self._plot.removeItem(curve)
        self._curves.clear()
        self._draw()

    def _draw(self) -> None:
        if self._plot is None:
            return
        if len(self._lines) > 1 and self._plot.getPlotItem().legend is None:
            self._plot.addLegend(offset=(-6, 6), labelTextColor=self._theme.colors.text)
        for name in [each for each in self._curves if each not in self._lines]:
            self._plot.removeItem(self._curves.pop(name))
        for place, (name, points) in enumerate(self._lines.items()):
            curve = self._curves.get(name) or self._curve(name, place)
            drawn = _thinned(points)
            curve.setData([x for x, _ in drawn], [y for _, y in drawn])
        self._widen_short_times()
        self.setAccessibleDescription(
            "; ".join(f"{name}: {points[-1][1]:.3g}" for name, points in self._lines.items())
        )

    def _widen_short_times(self) -> None:
        """A few seconds of measurements would make an axis that nobody can read."""
        times = [x for points in self._lines.values() for x, _ in points]
        if not self._times or not times:
            return
        if max(times) - min(times) < _SHORTEST_SPAN:
            middle = (max(times) + min(times)) / 2
            self._plot.setXRange(middle - _SHORTEST_SPAN / 2, middle + _SHORTEST_SPAN / 2)
        else:
            self._plot.enableAutoRange("x")

    def _curve(self, name: str, place: int) -> Any:
        import pyqtgraph

        colors = self._theme.colors.lines
        color = colors[place % len(colors)]
        dots = {"symbol": "o", "symbolSize": 6, "symbolBrush": color, "symbolPen": None}
        curve = self._plot.plot(
            pen=pyqtgraph.mkPen(color, width=1.6),
            antialias=True,
            name=name,
            **(dots if self._dots else {}),
        )
        self._curves[name] = curve
        return curve


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_DRAWN_POINTS` of the points, evenly, the last one always."""
    step = -(-len(points) // _DRAWN_POINTS)
    if step <= 1:
        return points
    return [*points[:-1:step], points[-1]]
