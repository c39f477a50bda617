"""Performance: what was measured of each version, and the versions that are being tried."""

from __future__ import annotations

from ui.pages.measurements_page import MeasurementsPage
from ui.session import Session
from ui.widgets.pages import Pages


class PerformanceTab(Pages):
    """How fast and how well liked the replies of each version are."""

    def __init__(self, session: Session) -> None:
        self.measurements = MeasurementsPage(session)
        super().__init__(
            "Pages of Performance",
            {"Measurements": lambda: self.measurements, "Trials": lambda: _trials(session)},
        )

    def reload(self) -> None:
        """Read again what the open page shows."""
        self.stack.currentWidget().reload()  # type: ignore[union-attr]


def _trials(session: Session) -> object:
    from ui.pages.trials_page import TrialsPage

    return TrialsPage(session)
