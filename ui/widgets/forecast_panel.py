"""The forecast of the next run: what it learns from, needs, costs and leaves, and whether that
is fine, worth a look, or in the way."""

from __future__ import annotations

from collections.abc import Iterable

from PyQt6.QtWidgets import QLabel, QVBoxLayout, QWidget

from ui.forecasting import ForecastFeed
from ui.tasks import Explanation
from ui.widgets.basics import label
from ui.widgets.checks_list import ChecksList
from ui.widgets.flow import Flow
from ui.words import NONE, duration, size
from xeno.privacy.budget import strength
from xeno.training.checks import Check
from xeno.training.forecast import Forecast

_MEANINGS = {
    "Pairs": "Pairs to learn from, and pairs kept out of training to measure what was learned.",
    "Steps": "How often the model is changed.",
    "Time": "From start to version, by how fast this computer was before.",
    "Memory": "Most memory that training will need.",
    "Disk": "What the run writes into your profile.",
    "Noise": "Noise added to each step, as a multiple of the most that one pair can change.",
    "Expected accuracy": "Share of held-out pairs that the version will prefer rightly, if your "
    "pairs share one clear taste.",
    "Privacy of the run": "Epsilon: smaller is more private.",
    "Budget after it": "What all private versions together will have spent.",
}


class ForecastPanel(QWidget):
    """Follows a `ForecastFeed`.

    Args:
        figures: the names of the figures to show; all by default.
        good_checks: whether checks without a finding are listed as well.
    """

    def __init__(
        self,
        feed: ForecastFeed,
        figures: Iterable[str] = tuple(_MEANINGS),
        *,
        good_checks: bool = True,
    ) -> None:
        super().__init__()
        self.setAccessibleName("Forecast")
        self._good_checks = good_checks
        self.sentence = label("Looking at your pairs…")
        self.checks = ChecksList(feed.theme)
        self.figures: dict[str, QLabel] = {}
        flow = Flow(spacing=24)
        for name in figures:
            flow.addWidget(self._figure(name))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(self.sentence)
        layout.addLayout(flow)
        layout.addWidget(self.checks)
        feed.updated.connect(self.show_forecast)
        feed.failed.connect(self._show_error)
        if feed.latest is not None:
            self.show_forecast(feed.latest)

    def show_forecast(self, forecast: Forecast) -> None:
        """Show `forecast`."""
        self.sentence.setText(forecast.sentence)
        shown = [each for each in forecast.checks if self._good_checks or each.verdict != "green"]
        self.checks.show_checks(shown)
        values = _values(forecast)
        for name, value in self.figures.items():
            value.setText(values[name])

    def _figure(self, name: str) -> QWidget:
        value = self.figures[name] = label(NONE, "heading", wrap=False)
        value.setAccessibleName(name)
        value.setToolTip(_MEANINGS[name])
        box = QWidget()
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(label(name, "tiny", wrap=False))
        column.addWidget(value)
        return box

    def _show_error(self, error: BaseException) -> None:
        told = Explanation.of(error)
        self.sentence.setText(told.what)
        why = " ".join(filter(None, (told.why, told.todo)))
        self.checks.show_checks([Check("Plan", "red", why)] if why else [])
        for value in self.figures.values():
            value.setText(NONE)


def _values(forecast: Forecast) -> dict[str, str]:
    pairs = f"{forecast.pairs_training:,}"
    if forecast.pairs_heldout:
        pairs += f" + {forecast.pairs_heldout:,} held out"
    values = {
        "Pairs": pairs,
        "Steps": f"{forecast.steps:,}",
        "Time": NONE if forecast.seconds is None else f"about {duration(forecast.seconds)}",
        "Memory": NONE if forecast.memory_bytes is None else size(forecast.memory_bytes),
        "Disk": NONE if forecast.disk_bytes is None else size(forecast.disk_bytes),
        "Noise": "none",
        "Expected accuracy": NONE,
        "Privacy of the run": "not private",
        "Budget after it": "unchanged",
    }
    if forecast.private:
        noise, epsilon = forecast.noise_multiplier, forecast.epsilon_run
        values["Noise"] = NONE if noise is None else f"{noise:.2f}"
        values["Privacy of the run"] = (
            NONE if epsilon is None else f"ε {epsilon:.2f} ({strength(epsilon)})"
        )
        if (accuracy := forecast.accuracy) is not None:
            values["Expected accuracy"] = f"{accuracy.low:.0%} to {accuracy.high:.0%}"
        if forecast.epsilon_after is not None:
            values["Budget after it"] = f"{forecast.epsilon_after:.2f} of {forecast.budget:g}"
    return values
