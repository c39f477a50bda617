"""The forecast of the next run in words and figures: what it learns from, costs, and leaves."""

from __future__ import annotations

from PyQt6.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from ui.forecasting import ForecastFeed
from ui.tasks import Explanation
from ui.widgets.basics import label, set_kind
from ui.words import NONE
from xeno.privacy.budget import strength
from xeno.training.forecast import Forecast

_FIGURES = ("Pairs", "Steps", "Noise", "Privacy of the run", "Budget after it")

_MEANINGS = {
    "Pairs": "Pairs to learn from, and pairs kept out of training to measure what was learned.",
    "Steps": "How often the model is changed.",
    "Noise": "Noise added to each step, as a multiple of the most that one pair can change.",
    "Privacy of the run": "Epsilon: smaller is more private.",
    "Budget after it": "What all private versions together will have spent.",
}


class ForecastPanel(QWidget):
    """Follows a `ForecastFeed`."""

    def __init__(self, feed: ForecastFeed, columns: int = len(_FIGURES)) -> None:
        super().__init__()
        self.setAccessibleName("Forecast")
        self.sentence = label("Looking at your pairs…")
        self.blockers = label("", "bad")
        self.warnings = label("", "warning")
        self.figures: dict[str, QLabel] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(22)
        grid.setVerticalSpacing(0)
        for place, name in enumerate(_FIGURES):
            line, column = divmod(place, columns)
            value = label(NONE, "heading", wrap=False)
            value.setAccessibleName(name)
            value.setToolTip(_MEANINGS[name])
            grid.addWidget(label(name, "tiny", wrap=False), 3 * line, column)
            grid.addWidget(value, 3 * line + 1, column)
            grid.setRowMinimumHeight(3 * line + 2, 8)
            self.figures[name] = value
        grid.setColumnStretch(columns, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(self.sentence)
        layout.addLayout(grid)
        layout.addWidget(self.blockers)
        layout.addWidget(self.warnings)
        self.blockers.hide()
        self.warnings.hide()
        feed.updated.connect(self.show_forecast)
        feed.failed.connect(self._show_error)
        if feed.latest is not None:
            self.show_forecast(feed.latest)

    def show_forecast(self, forecast: Forecast) -> None:
        """Show `forecast`."""
        self.sentence.setText(forecast.sentence)
        self._list(self.blockers, forecast.blockers)
        self._list(self.warnings, forecast.warnings)
        trained = f"{forecast.pairs_training:,}"
        if forecast.pairs_heldout:
            trained += f" + {forecast.pairs_heldout:,} held out"
        values = [trained, f"{forecast.steps:,}", "none", "not private", "unchanged"]
        if forecast.private:
            values[2] = _noise(forecast)
            values[3] = _epsilon(forecast)
            if forecast.epsilon_after is not None:
                values[4] = f"{forecast.epsilon_after:.2f} of {forecast.budget:g}"
        for name, value in zip(_FIGURES, values, strict=True):
            self.figures[name].setText(value)

    def _show_error(self, error: BaseException) -> None:
        told = Explanation.of(error)
        self.sentence.setText(told.what)
        self._list(self.blockers, (" ".join(filter(None, (told.why, told.todo))),))
        self._list(self.warnings, ())
        for value in self.figures.values():
            value.setText(NONE)

    @staticmethod
    def _list(target: QLabel, sentences: tuple[str, ...]) -> None:
        target.setText("\n".join(sentences))
        target.setVisible(any(sentences))
        set_kind(target, str(target.property("kind")))


def _noise(forecast: Forecast) -> str:
    if forecast.noise_multiplier is None:
        return NONE
    return f"{forecast.noise_multiplier:.2f}"


def _epsilon(forecast: Forecast) -> str:
    if forecast.epsilon_run is None:
        return NONE
    return f"ε {forecast.epsilon_run:.2f} ({strength(forecast.epsilon_run)})"
