"""What all plots have in common: how they are loaded, made and coloured."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QFont
from PyQt6.QtWidgets import QGraphicsItem, QWidget

from ui.session import Session
from ui.theme import Colors


def make_plot(owner: QWidget, *, times: bool = False, shares: bool = False) -> Any:
    """A pyqtgraph plot without menus and mouse, for `owner`; call when pyqtgraph is loaded.

    Args:
        times: the horizontal axis shows Unix times as dates.
        shares: all values lie between 0 and 1.
    """
    import pyqtgraph

    axes = {"bottom": pyqtgraph.DateAxisItem()} if times else {}
    plot = pyqtgraph.PlotWidget(axisItems=axes, background=None, enableMenu=False)
    plot.setAccessibleName(owner.accessibleName())
    plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    menu = plot.getPlotItem().ctrlMenu  # made without a parent, so it would outlive the window
    owner.destroyed.connect(menu.deleteLater)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.getPlotItem().setContentsMargins(0, 4, 8, 0)
    for side in ("left", "bottom"):  # drawn again only when they change
        plot.getAxis(side).setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
    if shares:
        plot.setYRange(0.0, 1.0)
    return plot


def colour_plot(plot: Any, colors: Colors, font: QFont) -> None:
    """Give `plot` the colours and the font of the window."""
    import pyqtgraph

    plot.setBackground(colors.surface)
    for side in ("left", "bottom"):
        axis = plot.getAxis(side)
        axis.setPen(pyqtgraph.mkPen(colors.border))
        axis.setTextPen(pyqtgraph.mkPen(colors.muted))
        axis.setTickFont(font)
        axis.enableAutoSIPrefix(False)
        axis.setStyle(maxTickLevel=0)
    plot.getPlotItem().showGrid(x=False, y=True, alpha=0.15)
    legend = plot.getPlotItem().legend
    if legend is not None:
        legend.setLabelTextColor(colors.text)


def load_pyqtgraph(session: Session, then: Callable[[], None], owner: QWidget) -> None:
    """Load pyqtgraph on another thread (it takes a third of a second), then call `then`."""
    session.do(lambda: importlib.import_module("pyqtgraph"), lambda _: then(), owner=owner)
